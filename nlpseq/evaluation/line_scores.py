"""The probability of each line of a text: alone, or in a stream.

A line alone is read from the initial state, after a newline; its loss counts its tokens and the newline that ends it.
Lines of similar length run side by side, longest first, and each group runs in its own thread. Lines that have ended
leave their group, so padding is computed only within a stretch of STEPS. A line of more than LONG tokens runs alone, as
`perplexity.text_loss` runs a text. So memory is bounded by the stretch, not by the line.

On a device, lines run from end to end in batches up to a budget of tokens. The losses of a batch are summed there and
fetched once; the cost is some padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.device import in_halves
from nlpseq.evaluation.reader import Reader, sums_by_text
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.models.model_file import Model, Origin, load_again
from nlpseq.models.state_file import save_state
from nlpseq.native.extension import threads
from nlpseq.native.layer import workers
from nlpseq.text.lines import OK, TOO_LONG
from nlpseq.text.padding import Ids, side_by_side, together
from nlpseq.text.tokenisers import NEWLINE, to_utf8
from nlpseq.workers import in_order

SIDE_BY_SIDE = 48  # lines in a group
STEPS = 64  # tokens of each line that are read at once
LONG = 1 << 14  # tokens; a longer line runs alone
TOKENS_AT_ONCE = 1 << 17  # in a batch on a device, padding included


class LineScore(NamedTuple):
    """The loss of a line."""

    nats: float
    tokens: int  # its newline included
    bytes: int  # its newline included

    @property
    def log_probability(self) -> float:
        """The log-probability of the line in nats."""
        return -self.nats

    @property
    def perplexity(self) -> float:
        """The perplexity per token."""
        mean = self.nats / self.tokens
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte, which are comparable between tokenisers."""
        return self.nats / math.log(2) / self.bytes


SCORE_FIELDS = ("log_probability", "tokens", "perplexity", "bits_per_byte")


def score_fields(score: LineScore | None) -> dict[str, float | int | None]:
    """The numbers of a line's score by name; all None if it has no score."""
    return {name: None if score is None else getattr(score, name) for name in SCORE_FIELDS}


def score_status(score: LineScore | None) -> str:
    """The status of a line: TOO_LONG if it, or its source, is too long to be scored."""
    return OK if score is not None else TOO_LONG


class LineScorer:
    """Scores lines with a language model."""

    def __init__(self, model: Model, options: LanguageModelOptions) -> None:
        self.model = model
        self.options = options
        self.reader = Reader(model.weights, options)

    def score_lines(self, lines: Sequence[str | None]) -> list[LineScore | None]:
        """As `score`; None for a line that is None."""
        scores = iter(self.score([line for line in lines if line is not None]))
        return [None if line is None else next(scores) for line in lines]

    def by_workers(self, portions: Iterable[Any], processes: int) -> Generator[list[LineScore | None], None, None]:
        """As `score_lines` for one portion of lines after another, by worker processes: see `in_order`."""
        return in_order(f"{__name__}:load_line_scorer", self.model.origin, portions, processes)

    def finish(self) -> None:
        """As `Scorer.finish`; any number of lines is right."""

    def score(self, lines: Sequence[str]) -> list[LineScore]:
        """The scores of the lines, in order, each alone."""
        encoded = [self._encode(line) for line in lines]
        nats = np.zeros(len(lines))
        lengths = np.array([len(tokens) for tokens in encoded], np.int64)
        short = np.flatnonzero(lengths <= LONG)
        self._score_short(encoded, short, lengths[short], nats)
        for index in np.flatnonzero(lengths > LONG):
            nats[index] = self.reader.text_loss(encoded[index])
        return [line_score(*scored) for scored in zip(nats, encoded, lines, strict=True)]

    def _score_short(self, encoded: Sequence[np.ndarray], short: Ids, lengths: Ids, nats: np.ndarray) -> None:
        """Write the losses of the lines at the indices `short` into `nats`."""
        on_host = self.reader.on_host
        loss = self._side_by_side if on_host else self._whole_lines
        size = min(SIDE_BY_SIDE, -(-len(short) // threads())) if on_host else None
        batches = together(lengths, None if on_host else TOKENS_AT_ONCE, size)
        groups = [short[batch[::-1]].tolist() for batch in batches]

        def run(group: Sequence[int]) -> None:
            nats[group] = loss([encoded[index] for index in group])

        if on_host and len(groups) > 1:
            list(workers().map(run, groups[::-1]))
        else:
            for group in reversed(groups):
                in_halves(run, group)

    def _encode(self, line: str) -> np.ndarray:
        return self.model.tokeniser.encode(line + "\n", exact=False)

    def _side_by_side(self, lines: Sequence[np.ndarray]) -> list[float]:
        """The losses of lines in nats; lines are token ids [T] each, longest first."""
        targets, lengths = side_by_side(lines)
        inputs = np.concatenate([np.full((1, len(lines)), NEWLINE), targets[:-1]])
        losses = np.zeros((len(lines), len(inputs)))
        state = self.reader.begin(len(lines))
        for start in range(0, len(inputs), STEPS):
            left = (lengths - start).clip(0, STEPS)
            rows = int((left > 0).sum())
            stretch, left = (slice(start, start + STEPS), slice(0, rows)), left[:rows]
            features, state = self.reader.read(inputs[stretch], first_texts(state, rows), left)
            real = np.arange(len(features)) < left[:, None]
            losses[:rows, stretch[0]][real] = self.reader.losses(
                features.swapaxes(0, 1)[real], targets[stretch].T[real]
            )
        return [float(row[:length].sum()) for row, length in zip(losses, lengths, strict=True)]

    def _whole_lines(self, lines: Sequence[np.ndarray]) -> np.ndarray:
        """As `_side_by_side`, but each line is read at once from its first token to its last."""
        targets, lengths = side_by_side(lines)
        inputs = np.concatenate([np.full((1, len(lines)), NEWLINE), targets[:-1]])
        features, _ = self.reader.read(inputs, self.reader.begin(len(lines)), lengths)
        losses = self.reader.losses(features.reshape(-1, features.shape[-1]), self.reader.place(targets).reshape(-1))
        return sums_by_text(losses.reshape(targets.shape), self.reader.place(lengths))


class StreamScorer(LineScorer):
    """Scores lines as a stream: each line starts from the state after the line before it."""

    def __init__(self, model: Model, options: LanguageModelOptions, state: LanguageModelState | None = None) -> None:
        """Start from a state on the device of the weights, or else after a newline, as every text starts."""
        super().__init__(model, options)
        self.state = language_model.begin(model.weights, options, 1) if state is None else state
        if state is None:
            self._read(np.array([NEWLINE]))

    def score(self, lines: Sequence[str]) -> list[LineScore]:
        """The scores of the lines, in order, each given all lines before it."""
        scores = []
        for line in lines:
            ids = self._encode(line)
            nats = sum(self._read(ids[start : start + STEPS]) for start in range(0, len(ids), STEPS))
            scores.append(line_score(nats, ids, line))
        return scores

    def save(self, path: Path) -> None:
        """Write the state after the lines so far. Raises RunError if the file cannot be written."""
        save_state(path, self.model, language_model.map_state(arrays.to_numpy, self.state), NEWLINE)

    def _read(self, ids: np.ndarray) -> float:
        """Read ids [T] and return their loss in nats, each predicted from all ids before it."""
        known = language_model.output_features(self.reader.weights, self.state.layers[-1][0].hidden)
        features, self.state = self.reader.read(ids[:, None], self.state)
        before = arrays.concatenate([known, features[:-1, 0]], 0)
        return float(self.reader.losses(before, self.reader.place(ids)).sum())


def first_texts(state: LanguageModelState, count: int) -> LanguageModelState:
    """The state of the first `count` texts of a batch."""
    return language_model.take_texts(state, slice(count))


def line_score(nats: float, ids: np.ndarray, line: str) -> LineScore:
    """The score of a line with a loss in nats, its newline included."""
    return LineScore(float(nats), len(ids), len(to_utf8(line)) + 1)


def load_line_scorer(origin: Origin) -> Callable[[Sequence[str | None]], list[LineScore | None]]:
    """In a worker process: `score_lines` of a model. Raises ModelFileError as `load_again`."""
    return LineScorer(*load_again(language_model.load, origin)).score_lines
