"""The probability of each line of a text given its source, by a translator.

Pairs of similar length run side by side. A group of them is also what a worker process gets at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.errors import CorpusError
from nlpseq.evaluation.line_scores import LineScore, line_score
from nlpseq.evaluation.reader import PairReader
from nlpseq.models import translator
from nlpseq.models.model_file import Model, Origin, load_again
from nlpseq.models.translator import LONGEST, SIDE_BY_SIDE, TranslatorOptions
from nlpseq.workers import portions_in_order

Pairs = list[tuple[np.ndarray, np.ndarray]]  # the ids of sources and targets
Join = Callable[[Sequence[Sequence[float]]], list[LineScore | None]]


class PairScorer:
    """Scores lines with a translator, each given the source line of the same number."""

    def __init__(self, model: Model, options: TranslatorOptions, name: str, sources: Iterator[str]) -> None:
        """`name` is the name of the sources' file, for messages."""
        self.model = model
        self.options = options
        self.name = name
        self.sources = sources
        self.lines = 0
        self.reader: PairReader | None = None  # of this process, if it reads pairs at all

    def score_lines(self, lines: Sequence[str | None]) -> list[LineScore | None]:
        """The scores of the next lines, in order; None if the line or its source is too long, or if the line is None.

        Raises CorpusError if there are fewer sources than lines.
        """
        groups, join = self.divide(lines)
        self.reader = self.reader or PairReader(self.model.weights, self.options)
        return join([group_losses(self.reader, group) for group in groups])

    def divide(self, lines: Sequence[str | None]) -> tuple[list[Pairs], Join]:
        """The next lines and their sources in groups, and the function from the groups' losses to the lines' scores.

        There is always a group, though it may be empty. Raises CorpusError as `score_lines`.
        """
        tokeniser = self.model.tokeniser
        pairs = []
        for line in lines:
            source = next(self.sources, None)
            if source is None:
                raise CorpusError(self.name, f"it has fewer lines than the input: {self.lines:,}")
            self.lines += 1
            pairs.append((translator.line_ids(tokeniser, source), translator.line_ids(tokeniser, line or "")))
        short = [index for index, pair in enumerate(pairs) if max(map(len, pair)) <= LONGEST]
        short.sort(key=lambda index: max(map(len, pairs[index])))
        size = SIDE_BY_SIDE if arrays.is_numpy(self.model.weights["embedding.weight"]) else max(1, len(short))
        groups = [[pairs[index] for index in short[start : start + size]] for start in range(0, len(short), size)]

        def join(losses: Sequence[Sequence[float]]) -> list[LineScore | None]:
            scores: list[LineScore | None] = [None] * len(lines)
            for index, nats in zip(short, chain(*losses), strict=True):
                if (line := lines[index]) is not None:
                    scores[index] = line_score(nats, pairs[index][1], line)
            return scores

        return groups or [[]], join

    def by_workers(self, portions: Iterable[Any], processes: int) -> Generator[list[LineScore | None], None, None]:
        """As `score_lines` for one portion of lines after another, by worker processes: see `portions_in_order`."""
        function = f"{__name__}:load_group_losses"
        return portions_in_order(function, self.model.origin, portions, self.divide, processes)

    def finish(self) -> None:
        """Raises CorpusError if there are more sources than lines."""
        if next(self.sources, None) is not None:
            raise CorpusError(self.name, f"it has more lines than the input, which has {self.lines:,}")


def load_group_losses(origin: Origin) -> Callable[[Pairs], list[float]]:
    """In a worker process: `group_losses` by a model. Raises ModelFileError as `load_again`."""
    model, options = load_again(translator.load, origin)
    return partial(group_losses, PairReader(model.weights, options))


def group_losses(reader: PairReader, group: Pairs) -> list[float]:
    """The loss of each target of a group, in nats."""
    return reader.losses([source for source, _ in group], [target for _, target in group])
