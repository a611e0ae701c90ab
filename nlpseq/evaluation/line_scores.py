"""How likely each line of a text is, for itself or as part of one stream.

A line for itself is read from a fresh state, after a newline; its tokens and the newline that closes it are
counted. Lines of a batch run side by side, longest first, and those that have ended leave the batch, so that
nothing is computed for padding but within a stretch of STEPS. A line beyond LONG tokens is one long chain for
itself: it is run as `perplexity.text_loss` runs a text, in columns that agree in the end. Either way memory is
bounded by the stretch, not by the line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nlpseq.errors import CorpusError
from nlpseq.evaluation.perplexity import text_loss
from nlpseq.models import language_model, translator
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.models.model_file import Model
from nlpseq.models.translator import LONGEST, TranslatorOptions
from nlpseq.text.tokenisers import NEWLINE, to_utf8

SIDE_BY_SIDE = 64  # lines
STEPS = 64
LONG = 1 << 14  # tokens


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

    def score(self, lines: Sequence[str]) -> list[LineScore]:
        """Each line for itself, in order."""
        encoded = [self._encode(line) for line in lines]
        nats = np.zeros(len(lines))
        order = sorted(range(len(lines)), key=lambda place: -len(encoded[place]))
        for place in order:
            if len(encoded[place]) > LONG:
                nats[place] = text_loss(self.model.weights, self.options, encoded[place])
        short = [place for place in order if len(encoded[place]) <= LONG]
        for first in range(0, len(short), SIDE_BY_SIDE):
            group = short[first : first + SIDE_BY_SIDE]
            nats[group] = self._side_by_side([encoded[place] for place in group])
        return [_line_score(*each) for each in zip(nats, encoded, lines, strict=True)]

    def _encode(self, line: str) -> np.ndarray:
        return self.model.tokeniser.encode(line + "\n", exact=False)

    def _side_by_side(self, lines: list[np.ndarray]) -> np.ndarray:
        """Nats of lines of tokens, longest first."""
        lengths = np.array([len(line) for line in lines])
        targets = np.full((len(lines), lengths[0]), NEWLINE, np.int64)
        for row, line in enumerate(lines):
            targets[row, : len(line)] = line
        inputs = np.concatenate([np.full((len(lines), 1), NEWLINE), targets[:, :-1]], 1)
        state = language_model.begin(self.model.weights, self.options, len(lines))
        nats = np.zeros(len(lines))
        for start in range(0, lengths[0], STEPS):
            rows = int((lengths > start).sum())
            part = slice(start, start + STEPS)
            left = np.minimum(lengths[:rows] - start, STEPS)
            losses, state = self._stretch(inputs[:rows, part], targets[:rows, part], left, first_rows(state, rows))
            nats[:rows] += losses
        return nats

    def _stretch(
        self, inputs: np.ndarray, targets: np.ndarray, lengths: np.ndarray, state: LanguageModelState
    ) -> tuple[np.ndarray, LanguageModelState]:
        """Nats of each row of ids [B, T], of which `lengths` [B] are real, and the state after them."""
        weights, steps = self.model.weights, inputs.shape[1]
        features, state = language_model.forward(weights, self.options, inputs.T, state, lengths=lengths)
        real = np.arange(steps)[:, None] < lengths
        losses = np.zeros(real.shape)
        losses[real] = language_model.token_losses(weights, features[real], targets.T[real])
        return losses.sum(0), state


class StreamScorer(LineScorer):
    """Scores lines as one stream: each line's state goes on from the line before it."""

    def __init__(self, model: Model, options: LanguageModelOptions, state: LanguageModelState | None = None) -> None:
        """Start from a state, or else as every text starts: after a newline."""
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
        weights = self.model.weights
        known = language_model.output_features(weights, self.state.layers[-1][0].hidden)
        features, self.state = language_model.forward(weights, self.options, ids[:, None].astype(np.int64), self.state)
        before = np.concatenate([known, features[:-1, 0]])
        return float(language_model.token_losses(weights, before, ids).sum(dtype=np.float64))


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
        losses = translator.token_losses(self.model.weights, self.options, sources, targets)
        found: list[LineScore | None] = [None] * len(lines)
        for place, one in zip(places, losses, strict=True):
            found[place] = _line_score(one.sum(dtype=np.float64), pairs[place][1], lines[place])
        return found

    def finish(self) -> None:
        """Raises CorpusError where the sources go on."""
        if next(self.sources, None) is not None:
            raise CorpusError(self.name, f"it has more lines than standard input, which has {self.lines:,}")


def first_rows(state: LanguageModelState, rows: int) -> LanguageModelState:
    """The state of the first `rows` texts of a batch."""
    turned = state._replace(recent=state.recent.T)
    kept = language_model.map_state(lambda values: values[:rows], turned)
    return kept._replace(recent=kept.recent.T)


def _line_score(nats: float, ids: np.ndarray, line: str) -> LineScore:
    return LineScore(float(nats), len(ids), len(to_utf8(line)) + 1)
