"""Beam search over any step function, and greedy search as a beam of one.

In every step all continuations of a text's hypotheses are ranked together: one top-k over beam x vocabulary. Those that
end are set aside, and each takes up one of the K slots of the beam; the others go on. A text whose slots are all taken
is done and leaves the batch. Hypotheses are compared by log-probability over ((5 + length) / 6) ** penalty (Wu et al.,
2016), with the end counted; when they end, they may also lose for source positions without attention (ibid.). The
search is not exact: the best text may have fallen out of the beam.

A hypothesis that loops is given up, unless its source loops too. If a text has no other hypothesis, this one is
returned, with its loop run through once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq.decoding.loops import SHORTEST, loop_periods, without_repeats
from nlpseq.errors import OptionError
from nlpseq.native.output import Logits, chunk_maxima
from nlpseq.native.product import CHUNK
from nlpseq.options import check, option

Rows = NDArray[np.int64]
Values = NDArray[Any]  # floats


class Decoder(Protocol):
    """A model that reads hypotheses: K for each of B texts, those of a text side by side."""

    def step(self, ids: Rows, wanted: Rows) -> Logits:
        """Read the tokens `ids` [B * K]; logits of the next token in the rows `wanted` [R], free to be changed."""

    def select(self, texts: Rows, rows: Rows) -> None:
        """Keep some of the texts [B'], with the hypotheses in `rows` [B' * K]."""

    def coverage(self) -> Values:
        """How well each hypothesis has covered its source [B * K]: 0 for every position in full, else less."""


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """The width of a search, and how it ranks hypotheses."""

    beam: int = option(5, "hypotheses that are kept in each step; 1: greedy", minimum=1, maximum=1000)
    length_penalty: float = option(1.0, "0 favours short texts, a higher value longer ones", minimum=0, maximum=10)
    coverage_penalty: float = option(
        0.0, "how much a text loses for parts of its source that it skips; 0.2 is much", minimum=0, maximum=10
    )
    n_best: int = option(1, "translations of each line, at most the beam", minimum=1, maximum=1000)
    shortest: int = option(0, "fewest tokens of a text", minimum=0)
    longest: int | None = option(None, "most tokens of a text [default: twice the source's plus 20]", minimum=1)

    def __post_init__(self) -> None:
        check(self)
        if self.n_best > self.beam:
            what = f"must be at most the beam, {self.beam}, was {self.n_best}"
            raise OptionError("n_best", what, f"--beam {self.n_best}")
        if self.longest is not None and self.longest < self.shortest:
            what = f"must be at least the shortest, {self.shortest}, was {self.longest}"
            raise OptionError("longest", what, f"--longest {self.shortest}")


class Hypothesis(NamedTuple):
    """A text in tokens, without the token that ends it."""

    tokens: list[int]
    log_probability: float  # nats, the end included
    score: float  # by which hypotheses are compared
    cut: bool = False  # it did not end by itself: it was too long, or looped


@dataclass
class _Text:
    """A text whose hypotheses are being searched for."""

    index: int
    limit: int
    may_loop: bool
    ended: list[Hypothesis] = field(default_factory=list)
    given_up: Hypothesis | None = None


def length_divisor(length: int, penalty: float) -> float:
    """The divisor of the log-probability of `length` tokens."""
    return float(((5 + length) / 6) ** penalty)


def search(
    decoder: Decoder,
    limits: Sequence[int],
    start: int,
    end: int,
    options: BeamOptions,
    may_loop: Sequence[bool] | None = None,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each text, best first: at most `limits` [B] tokens of each, and the token `end`.

    The decoder is about to read the token `start`, with `options.beam` equal hypotheses for each text; `may_loop` [B]
    says which texts may loop, none by default.
    """
    width = options.beam
    allowed = may_loop or [False] * len(limits)
    texts = [_Text(*fields) for fields in zip(range(len(limits)), limits, allowed, strict=True)]
    found: list[list[Hypothesis]] = [[] for _ in texts]
    totals = np.full((len(texts), width), -np.inf)
    totals[:, 0] = 0.0
    tokens = np.full((len(texts), width, 1), start, np.int64)
    while texts:
        live = np.flatnonzero(totals.reshape(-1) > -np.inf)
        ranked = _Ranked(decoder.step(tokens[:, :, -1].reshape(-1), live), live, totals)
        _hold_to_length(texts, ranked, tokens.shape[2], end, options)
        values, parents, chosen = ranked.top(2 * width)
        covered = np.zeros(totals.shape)
        if options.coverage_penalty:
            covered = options.coverage_penalty * decoder.coverage().reshape(totals.shape)
        totals, going, parents = _sort_out(texts, tokens, values, parents, chosen, end, covered, options)
        history = np.take_along_axis(tokens, parents[:, :, None], 1)
        tokens = np.concatenate([history, going[:, :, None]], 2)
        _give_up_loops(texts, tokens, totals, options)
        done = np.isneginf(totals).all(1)
        for row in np.flatnonzero(done):
            found[texts[row].index] = _best(texts[row], options.n_best)
        kept = np.flatnonzero(~done)
        texts = [texts[row] for row in kept]
        tokens, totals = tokens[kept], totals[kept]
        decoder.select(kept, (kept[:, None] * width + parents[kept]).reshape(-1))
    return found


class _Ranked:
    """The continuations of all hypotheses of a step; those of a text are ranked together."""

    def __init__(self, logits: Logits, live: Rows, totals: Values) -> None:
        self.logits, self.maxima, log_sums = logits  # of the hypotheses that go on
        self.live = live  # [R], their rows among all B * K
        self.offsets: Values = np.full(totals.shape, -np.inf)  # from a logit to a whole text's log-probability
        self.offsets.reshape(-1)[live] = totals.reshape(-1)[live] - log_sums
        self.live_rows = np.zeros(totals.size, np.int64)  # from a row of all to a row of the live ones
        self.live_rows[live] = np.arange(len(live))

    def forbid(self, rows: Rows, tokens: slice | int) -> None:
        """Make tokens impossible in some rows of the logits."""
        self.logits[rows, tokens] = -np.inf
        self.maxima[rows] = chunk_maxima(self.logits[rows])

    def top(self, count: int) -> tuple[Values, Rows, Rows]:
        """The `count` likeliest texts [B, count], best first: log-probabilities, hypotheses and last tokens.

        Only the chunks of the vocabulary with the `count` largest maxima are searched. Ties go to the lowest index.
        """
        batch, width = self.offsets.shape
        size, chunks = self.logits.shape[1], self.maxima.shape[1]
        best = np.full((batch * width, chunks), -np.inf)
        best[self.live] = self.maxima + self.offsets.reshape(-1)[self.live, None]
        chosen = _largest(best.reshape(batch, -1), count)
        parents, within = chosen // chunks, chosen % chunks
        tokens = within[:, :, None] * CHUNK + np.arange(CHUNK)
        rows = np.arange(batch)[:, None]
        found = self.logits[
            self.live_rows.reshape(batch, width)[rows, parents][:, :, None], np.minimum(tokens, size - 1)
        ]
        values = np.where(tokens < size, found + self.offsets[rows, parents][:, :, None], -np.inf).reshape(batch, -1)
        chosen = _largest(values, min(count, width * size))
        values = np.take_along_axis(values, chosen, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, order, 1)
        return (
            np.take_along_axis(values, order, 1),
            np.take_along_axis(parents, chosen // CHUNK, 1),
            np.take_along_axis(tokens.reshape(batch, -1), chosen, 1),
        )


def _hold_to_length(texts: Sequence[_Text], ranked: _Ranked, length: int, end: int, options: BeamOptions) -> None:
    """Forbid the end to texts that are too short, and everything else to texts that have reached their limit."""
    if length <= options.shortest:
        ranked.forbid(np.arange(len(ranked.live)), end)
    full = np.array([length > text.limit for text in texts])
    if full.any():
        rows = np.flatnonzero(full[ranked.live // options.beam])
        ending = ranked.logits[rows, end]
        ranked.forbid(rows, slice(None))
        ranked.logits[rows, end] = ending
        ranked.maxima[rows] = chunk_maxima(ranked.logits[rows])


def _give_up_loops(texts: Sequence[_Text], tokens: Rows, totals: Values, options: BeamOptions) -> None:
    """End the hypotheses that loop: their totals [B, K] become -inf, and the best of them is kept as a last resort."""
    if tokens.shape[2] <= SHORTEST:
        return
    periods = loop_periods(tokens[:, :, 1:])
    for row, slot in np.argwhere(periods > 0):
        text, total = texts[row], float(totals[row, slot])
        if text.may_loop or total == -np.inf:
            continue
        totals[row, slot] = -np.inf
        if text.given_up is None or total > text.given_up.log_probability:
            kept = without_repeats(tokens[row, slot, 1:].tolist(), int(periods[row, slot]))
            score = total / length_divisor(tokens.shape[2] - 1, options.length_penalty)
            text.given_up = Hypothesis(kept, total, score, cut=True)


def _best(text: _Text, count: int) -> list[Hypothesis]:
    ended = sorted(text.ended, key=lambda hypothesis: -hypothesis.score)[:count]
    return ended or ([text.given_up] if text.given_up else [])


def _largest(values: Values, count: int) -> Rows:
    """Rising indices of the `count` largest values of each row [B, N], or of all; ties go to the lowest index."""
    count = min(count, values.shape[1])
    indices = np.argpartition(-values, count - 1, axis=1)[:, :count]
    indices.sort(axis=1)
    found = np.take_along_axis(values, indices, 1)
    least = found.min(1, keepdims=True)
    left_out = (values == least).sum(1) > (found == least).sum(1)
    for row in np.flatnonzero(left_out & (least[:, 0] > -np.inf)):  # of equal values any may have been taken
        indices[row] = np.sort(np.argsort(-values[row], kind="stable")[:count])
    return indices


def _sort_out(
    texts: Sequence[_Text],
    tokens: Rows,
    values: NDArray[np.float64],
    parents: Rows,
    chosen: Rows,
    end: int,
    covered: Values,
    options: BeamOptions,
) -> tuple[NDArray[np.float64], Rows, Rows]:
    """Set ended hypotheses aside, with `covered` [B, K] added to their scores.

    Returns the log-probabilities, tokens and parents of those that go on, each [B, K].
    """
    width, length = options.beam, tokens.shape[2]
    totals = np.full((len(texts), width), -np.inf)
    going, origin = np.full((len(texts), width), end, np.int64), np.zeros((len(texts), width), np.int64)
    for row, text in enumerate(texts):
        wanted, free = width - len(text.ended), 0
        for rank, (value, parent, token) in enumerate(zip(values[row], parents[row], chosen[row], strict=True)):
            if free + len(text.ended) >= width or value == -np.inf:
                break
            if token != end:
                totals[row, free], going[row, free], origin[row, free] = value, token, parent
                free += 1
            elif rank < wanted:
                score = float(value) / length_divisor(length, options.length_penalty) + float(covered[row, parent])
                cut = length > text.limit
                text.ended.append(Hypothesis(tokens[row, parent, 1:].tolist(), float(value), score, cut))
    return totals, going, origin
