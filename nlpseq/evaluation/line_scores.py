"""How likely each line of a text is, for itself or as part of one stream.

A line for itself is read from a fresh state, after a newline; its tokens and the newline that closes it are
counted. Lines of about one length run side by side, longest first, each group on a thread of its own, and those that
have ended leave it, so that nothing is computed for padding but within a stretch of STEPS. A line beyond LONG tokens is
one long chain for itself: it is run as `perplexity.text_loss` runs a text, in columns that agree in the end. Either way
memory is bounded by the stretch, not by the line. On a device lines run as whole columns, as many as hold a budget of
tokens, and each batch's losses are summed there and fetched once; the cost is some padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.errors import CorpusError
from nlpseq.evaluation.reader import Reader, column_sums, given_source_losses
from nlpseq.models import language_model, translator
from nlpseq.models.device import in_halves
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.models.model_file import Model
from nlpseq.models.translator import LONGEST, TranslatorOptions
from nlpseq.native.extension import threads
from nlpseq.native.layer import workers
from nlpseq.text.padding import Ids, side_by_side, together
from nlpseq.text.tokenisers import NEWLINE, to_utf8

SIDE_BY_SIDE = 48  # lines, of a thread
STEPS = 64  # that are read together
LONG = 1 << 14  # tokens
TOKENS_AT_ONCE = 1 << 17  # of lines on a device, padding included


class LineScore(NamedTuple):
    """What a line costs."""

    nats: float
    tokens: int  # its newline among them
    bytes: int  # its newline among them

    @property
    def perplexity(self) -> float:
        """Of a token."""
        mean = self.nats / self.tokens
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Comparable whatever the tokens are."""
        return self.nats / math.log(2) / self.bytes


class LineScorer:
    """Scores lines with a language model."""

    def __init__(self, model: Model, options: LanguageModelOptions) -> None:
        self.model = model
        self.options = options
        self.reader = Reader(model.weights, options)

    def score(self, lines: Sequence[str]) -> list[LineScore]:
        """Each line for itself, in order."""
        encoded = [self._encode(line) for line in lines]
        nats = np.zeros(len(lines))
        lengths = np.array([len(one) for one in encoded], np.int64)
        short = np.flatnonzero(lengths <= LONG)
        self._score_short(encoded, short, lengths[short], nats)
        for place in np.flatnonzero(lengths > LONG):
            nats[place] = self.reader.text_loss(encoded[place])
        return [_line_score(*each) for each in zip(nats, encoded, lines, strict=True)]

    def _score_short(self, encoded: Sequence[np.ndarray], short: Ids, lengths: Ids, nats: np.ndarray) -> None:
        """Find the nats of some lines, at the places `short`."""
        on_host = self.reader.on_host
        cost = self._side_by_side if on_host else self._whole_columns
        beside = min(SIDE_BY_SIDE, -(-len(short) // threads())) if on_host else None
        places = together(lengths, None if on_host else TOKENS_AT_ONCE, beside)
        groups = [short[some[::-1]].tolist() for some in places]

        def run(group: Sequence[int]) -> None:
            nats[group] = cost([encoded[place] for place in group])

        if on_host and len(groups) > 1:
            list(workers().map(run, groups[::-1]))
        else:
            for group in reversed(groups):
                in_halves(run, group)

    def _encode(self, line: str) -> np.ndarray:
        return self.model.tokeniser.encode(line + "\n", exact=False)

    def _side_by_side(self, lines: Sequence[np.ndarray]) -> list[float]:
        """Nats of lines of tokens, longest first."""
        targets, lengths = side_by_side(lines)
        inputs = np.concatenate([np.full((1, len(lines)), NEWLINE), targets[:-1]])
        losses = np.zeros((len(lines), len(inputs)))
        state = self.reader.begin(len(lines))
        for start in range(0, len(inputs), STEPS):
            left = (lengths - start).clip(0, STEPS)
            rows = int((left > 0).sum())
            part, left = (slice(start, start + STEPS), slice(0, rows)), left[:rows]
            features, state = self.reader.read(inputs[part], first_texts(state, rows), left)
            real = np.arange(len(features)) < left[:, None]
            found = self.reader.losses(features.swapaxes(0, 1)[real], targets[part].T[real])
            losses[:rows, part[0]][real] = found
        return [float(one[:length].sum()) for one, length in zip(losses, lengths, strict=True)]

    def _whole_columns(self, lines: Sequence[np.ndarray]) -> np.ndarray:
        """As `_side_by_side`, each line from its begin to its end at once."""
        targets, lengths = side_by_side(lines)
        inputs = np.concatenate([np.full((1, len(lines)), NEWLINE), targets[:-1]])
        features, _ = self.reader.read(inputs, self.reader.begin(len(lines)), lengths)
        losses = self.reader.losses(features.reshape(-1, features.shape[-1]), self.reader.place(targets).reshape(-1))
        return column_sums(losses.reshape(targets.shape), self.reader.place(lengths))


class StreamScorer(LineScorer):
    """Scores lines as one stream: each line's state goes on from the line before it."""

    def __init__(self, model: Model, options: LanguageModelOptions, state: LanguageModelState | None = None) -> None:
        """Start from a state that is where the weights are, or else as every text starts: after a newline."""
        super().__init__(model, options)
        self.state = language_model.begin(model.weights, options, 1) if state is None else state
        if state is None:
            self._read(np.array([NEWLINE]))

    def score(self, lines: Sequence[str]) -> list[LineScore]:
        """Each line, in order, given all lines so far."""
        scores = []
        for line in lines:
            ids = self._encode(line)
            nats = sum(self._read(ids[start : start + STEPS]) for start in range(0, len(ids), STEPS))
            scores.append(_line_score(nats, ids, line))
        return scores

    def _read(self, ids: np.ndarray) -> float:
        """Go on by ids [T]: what they cost, each predicted from all before it."""
        known = language_model.output_features(self.reader.weights, self.state.layers[-1][0].hidden)
        features, self.state = self.reader.read(ids[:, None], self.state)
        before = arrays.concatenate([known, features[:-1, 0]], 0)
        return float(self.reader.losses(before, self.reader.place(ids)).sum())


class PairScorer:
    """Scores lines with a translator, each given the source that stands in the same place."""

    def __init__(self, model: Model, options: TranslatorOptions, name: str, sources: Iterator[str]) -> None:
        """`name` is where the sources are from."""
        self.model = model
        self.options = options
        self.name = name
        self.sources = sources
        self.lines = 0

    def score(self, lines: Sequence[str]) -> list[LineScore | None]:
        """The next lines, in order; None where line or source is too long. CorpusError where the sources have ended."""
        tokeniser = self.model.tokeniser
        pairs = []
        for line in lines:
            source = next(self.sources, None)
            if source is None:
                raise CorpusError(self.name, f"it has fewer lines than standard input: {self.lines:,}")
            self.lines += 1
            pairs.append((translator.line_ids(tokeniser, source), translator.line_ids(tokeniser, line)))
        places = [place for place, pair in enumerate(pairs) if max(map(len, pair)) <= LONGEST]
        sources, targets = ([pairs[place][side] for place in places] for side in range(2))
        nats = given_source_losses(self.model.weights, self.options, sources, targets)
        found: list[LineScore | None] = [None] * len(lines)
        for place, one in zip(places, nats, strict=True):
            found[place] = _line_score(one, pairs[place][1], lines[place])
        return found

    def finish(self) -> None:
        """Raises CorpusError where the sources go on."""
        if next(self.sources, None) is not None:
            raise CorpusError(self.name, f"it has more lines than standard input, which has {self.lines:,}")


def first_texts(state: LanguageModelState, count: int) -> LanguageModelState:
    """The state of the first `count` texts of a batch."""
    return language_model.take_texts(state, slice(count))


def _line_score(nats: float, ids: np.ndarray, line: str) -> LineScore:
    return LineScore(float(nats), len(ids), len(to_utf8(line)) + 1)
