"""Beam search over any step function, and greedy search as a beam of one.

In every step all continuations of a text's hypotheses are ranked together: one top-k over beam x vocabulary. Those that
end are set aside, and each occupies one of the K slots of the beam; the others continue. A text without a free slot is
done and leaves the batch. Hypotheses are compared by log-probability / ((5 + length) / 6) ** penalty (Wu et al., 2016),
where the end counts as a token. Ended hypotheses may also be penalised for source positions without attention (ibid.).
The search is not exact: the best text may have fallen out of the beam.

A hypothesis that loops is given up, unless its source also loops. If a text has no other hypothesis, this one is
returned, with a single copy of the loop.
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

    def step(self, ids: Rows, live: Rows) -> Logits:
        """Read the tokens `ids` [B * K]; logits of the next token in the rows `live` [R]; the caller may edit them."""

    def select(self, texts: Rows, rows: Rows) -> None:
        """Keep only `texts` [B'] and their hypotheses in `rows` [B' * K]."""

    def coverage(self) -> Values:
        """How well each hypothesis covers its source [B * K]: 0 if every position is covered fully, else less."""


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """The width of a search, and how it ranks hypotheses."""

    beam: int = option(5, "hypotheses kept in each step; 1: greedy search", minimum=1, maximum=1000, usual=True)
    length_penalty: float = option(
        1.0, "0 favours short texts, a higher value favours longer texts", minimum=0, maximum=10
    )
    coverage_penalty: float = option(
        0.0, "penalty for skipped parts of the source; 0.2 is strong", minimum=0, maximum=10
    )
    n_best: int = option(1, "translations of each line, at most the beam", minimum=1, maximum=1000, usual=True)
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
    score: float  # ranks the hypotheses of a text
    cut: bool = False  # whether it was too long or looped, instead of ending by itself


@dataclass
class _Text:
    """A text in the search."""

    index: int
    limit: int
    may_loop: bool
    ended: list[Hypothesis] = field(default_factory=list)
    given_up: Hypothesis | None = None


def length_divisor(length: int, penalty: float) -> float:
    """The length penalty: the divisor of the log-probability of `length` tokens."""
    return float(((5 + length) / 6) ** penalty)


def search(
    decoder: Decoder,
    limits: Sequence[int],
    start: int,
    end: int,
    options: BeamOptions,
    may_loop: Sequence[bool] | None = None,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each text, best first. Each has at most `limits` [B] tokens, and then the token `end`.

    The decoder must be about to read the token `start`, with `options.beam` equal hypotheses for each text. The texts
    in the mask `may_loop` [B] may loop, by default none.
    """
    width = options.beam
    allowed = may_loop or [False] * len(limits)
    texts = [_Text(*fields) for fields in zip(range(len(limits)), limits, allowed, strict=True)]
    best: list[list[Hypothesis]] = [[] for _ in texts]
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
        totals, continued, parents = _sort_out(texts, tokens, values, parents, chosen, end, covered, options)
        history = np.take_along_axis(tokens, parents[:, :, None], 1)
        tokens = np.concatenate([history, continued[:, :, None]], 2)
        _give_up_loops(texts, tokens, totals, options)
        done = np.isneginf(totals).all(1)
        for row in np.flatnonzero(done):
            best[texts[row].index] = _best(texts[row], options.n_best)
        kept = np.flatnonzero(~done)
        texts = [texts[row] for row in kept]
        tokens, totals = tokens[kept], totals[kept]
        decoder.select(kept, (kept[:, None] * width + parents[kept]).reshape(-1))
    return best


class _Ranked:
    """The continuations of all live hypotheses in a step, ranked together for each text."""

    def __init__(self, logits: Logits, live: Rows, totals: Values) -> None:
        self.logits, self.maxima, log_sums = logits  # of the live hypotheses
        self.live = live  # [R], their rows among all B * K
        self.offsets: Values = np.full(totals.shape, -np.inf)  # added to a logit: the whole text's log-probability
        self.offsets.reshape(-1)[live] = totals.reshape(-1)[live] - log_sums
        self.live_rows = np.zeros(totals.size, np.int64)  # from a row among all to a row among the live
        self.live_rows[live] = np.arange(len(live))

    def forbid(self, rows: Rows, tokens: slice | int) -> None:
        """Make tokens impossible in `rows` of the logits."""
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
        logits = self.logits[
            self.live_rows.reshape(batch, width)[rows, parents][:, :, None], np.minimum(tokens, size - 1)
        ]
        values = np.where(tokens < size, logits + self.offsets[rows, parents][:, :, None], -np.inf).reshape(batch, -1)
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
    """Forbid the end of texts that are too short, and every other token of texts that have reached their limit."""
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
    """Give up the hypotheses that loop: their totals [B, K] become -inf, and each text keeps the best of them."""
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
    """Indices, ascending, of the `count` largest values of each row [B, N]; ties go to the lowest index."""
    count = min(count, values.shape[1])
    indices = np.argpartition(-values, count - 1, axis=1)[:, :count]
    indices.sort(axis=1)
    taken = np.take_along_axis(values, indices, 1)
    least = taken.min(1, keepdims=True)
    left_out = (values == least).sum(1) > (taken == least).sum(1)
    for row in np.flatnonzero(
        left_out & (least[:, 0] > -np.inf)
    ):  # which of several equal values were taken is undefined
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
    """Set ended hypotheses aside, and add `covered` [B, K] to their scores.

    Returns the log-probabilities, tokens and parents of the continued hypotheses, each [B, K].
    """
    width, length = options.beam, tokens.shape[2]
    totals = np.full((len(texts), width), -np.inf)
    continued, origin = np.full((len(texts), width), end, np.int64), np.zeros((len(texts), width), np.int64)
    for row, text in enumerate(texts):
        open_slots, free = width - len(text.ended), 0
        for rank, (value, parent, token) in enumerate(zip(values[row], parents[row], chosen[row], strict=True)):
            if free + len(text.ended) >= width or value == -np.inf:
                break
            if token != end:
                totals[row, free], continued[row, free], origin[row, free] = value, token, parent
                free += 1
            elif rank < open_slots:
                score = float(value) / length_divisor(length, options.length_penalty) + float(covered[row, parent])
                cut = length > text.limit
                text.ended.append(Hypothesis(tokens[row, parent, 1:].tolist(), float(value), score, cut))
    return totals, continued, origin
