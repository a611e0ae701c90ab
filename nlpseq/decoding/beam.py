"""Beam search over any step function, and greedy search as a beam of one.

In every step all continuations of a text's hypotheses are ranked together: one top-k over beam x vocabulary. Those
that end are set aside, the others go on; a text is done when it has as many ended hypotheses as the beam is wide, and
leaves the batch. Hypotheses are compared by log-probability over ((5 + length) / 6) ** penalty (Wu et al., 2016), the
end being counted. The search is not exact: what is best may have fallen out of the beam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import OptionError
from nlpseq.options import check, option

Rows = NDArray[np.int64]
Values = NDArray[Any]  # floats

CHUNK = 64  # of a vocabulary, whose largest value tells whether any in it is among the best


class Decoder(Protocol):
    """What goes on with hypotheses: K for each of B texts, those of a text side by side."""

    def step(self, ids: Rows) -> Values:
        """Logits [B * K, V] of what follows the tokens `ids` [B * K]; the search may change them."""

    def select(self, texts: Rows, rows: Rows) -> None:
        """Go on with some of the texts [B'], and with the hypotheses `rows` [B' * K] of all."""


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """How wide a search is, and what it ranks by."""

    beam: int = option(5, "hypotheses that are kept in each step; 1: greedy", minimum=1, maximum=1000)
    length_penalty: float = option(1.0, "0 favours short texts; higher, longer ones", minimum=0, maximum=10)
    n_best: int = option(1, "texts to give of each line, at most the beam", minimum=1)

    def __post_init__(self) -> None:
        check(self)
        if self.n_best > self.beam:
            what = f"must be at most the beam, {self.beam}, was {self.n_best}"
            raise OptionError("--n-best", what, f"--beam {self.n_best}")


class Hypothesis(NamedTuple):
    """A text in tokens, without the one that ends it."""

    tokens: list[int]
    log_probability: float  # nats, the end included
    score: float  # what hypotheses are compared by


@dataclass
class _Text:
    """A text whose hypotheses are being searched for."""

    number: int
    limit: int
    ended: list[Hypothesis] = field(default_factory=list)


def length_divisor(length: int, penalty: float) -> float:
    """What a log-probability of so many tokens is divided by."""
    return float(((5 + length) / 6) ** penalty)


def search(
    decoder: Decoder, limits: Sequence[int], start: int, end: int, options: BeamOptions
) -> list[list[Hypothesis]]:
    """The best hypotheses of each text, best first: at most `limits` [B] tokens of each, and the token `end`.

    The decoder stands before the token `start` with `options.beam` equal hypotheses for each text.
    """
    width = options.beam
    texts = [_Text(number, limit) for number, limit in enumerate(limits)]
    found: list[list[Hypothesis]] = [[] for _ in texts]
    totals = np.full((len(texts), width), -np.inf)
    totals[:, 0] = 0.0
    tokens = np.full((len(texts), width, 1), start, np.int64)
    while texts:
        logits = decoder.step(tokens[:, :, -1].reshape(-1)).reshape(len(texts), width, -1)
        maxima = _maxima(logits)
        offsets = totals - _log_sums(logits, maxima.max(-1))
        length = tokens.shape[2]
        for place, text in enumerate(texts):
            if length > text.limit:  # only the end is left
                ending = logits[place, :, end].copy()
                logits[place] = -np.inf
                logits[place, :, end] = ending
                maxima[place] = _maxima(logits[place])
        values, parents, chosen = _top(logits, maxima, offsets, 2 * width)
        totals, going, parents = _sort_out(texts, tokens, values, parents, chosen, end, options)
        done = np.array([_is_done(text, totals[place], width) for place, text in enumerate(texts)])
        for text in (text for text, over in zip(texts, done, strict=True) if over):
            found[text.number] = sorted(text.ended, key=lambda one: -one.score)[: options.n_best]
        kept = np.flatnonzero(~done)
        texts = [texts[place] for place in kept]
        history = np.take_along_axis(tokens, parents[:, :, None], 1)
        tokens = np.concatenate([history, going[:, :, None]], 2)[kept]
        totals = totals[kept]
        decoder.select(kept, (kept[:, None] * width + parents[kept]).reshape(-1))
    return found


def _maxima(logits: Values) -> Values:
    """The largest of each chunk of logits [.., V] -> [.., C]."""
    size = logits.shape[-1]
    even = size // CHUNK * CHUNK
    maxima: Values = logits[..., :even].reshape(*logits.shape[:-1], -1, CHUNK).max(-1)
    if even < size:
        maxima = np.concatenate([maxima, logits[..., even:].max(-1, keepdims=True)], -1)
    return maxima


def _log_sums(logits: Values, largest: Values) -> Values:
    """log(sum(exp(x))) of logits [B, K, V] whose largest values are known, a text at a time so that it stays near."""
    sums = np.empty(largest.shape)
    buffer = np.empty_like(logits[0]) if len(logits) else logits
    for place, one in enumerate(logits):
        np.exp(np.subtract(one, largest[place, :, None], out=buffer), out=buffer)
        sums[place] = buffer.sum(-1)
    return np.log(sums) + largest


def _top(logits: Values, maxima: Values, offsets: Values, count: int) -> tuple[Values, Rows, Rows]:
    """The `count` best of logits [B, K, V] + offsets [B, K], best first: values, hypotheses, tokens; each [B, count].

    Of chunks of the vocabulary only those with the `count` largest maxima are looked into. Ties go to the lowest place.
    """
    batch, width, size = logits.shape
    chunks = maxima.shape[-1]
    best = _largest((maxima + offsets[:, :, None]).reshape(batch, -1), count)
    parents, within = best // chunks, best % chunks
    tokens = within[:, :, None] * CHUNK + np.arange(CHUNK)
    rows = np.arange(batch)[:, None]
    found = logits[rows[:, :, None], parents[:, :, None], np.minimum(tokens, size - 1)]
    values = np.where(tokens < size, found + offsets[rows, parents][:, :, None], -np.inf).reshape(batch, -1)
    chosen = _largest(values, min(count, width * size))
    values = np.take_along_axis(values, chosen, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    chosen = np.take_along_axis(chosen, order, 1)
    return (
        np.take_along_axis(values, order, 1),
        np.take_along_axis(parents, chosen // CHUNK, 1),
        np.take_along_axis(tokens.reshape(batch, -1), chosen, 1),
    )


def _largest(values: Values, count: int) -> Rows:
    """Places of the `count` largest values of each row [B, N], in rising order, or of all."""
    count = min(count, values.shape[1])
    places = np.argpartition(-values, count - 1, axis=1)[:, :count]
    places.sort(axis=1)
    return places


def _sort_out(
    texts: Sequence[_Text],
    tokens: Rows,
    values: NDArray[np.float64],
    parents: Rows,
    chosen: Rows,
    end: int,
    options: BeamOptions,
) -> tuple[NDArray[np.float64], Rows, Rows]:
    """Set ended hypotheses aside; of those that go on their log-probabilities, tokens and parents, each [B, K]."""
    width, length = options.beam, tokens.shape[2]
    totals = np.full((len(texts), width), -np.inf)
    going, origin = np.full((len(texts), width), end, np.int64), np.zeros((len(texts), width), np.int64)
    for place, text in enumerate(texts):
        free = 0
        for rank, (value, parent, token) in enumerate(zip(values[place], parents[place], chosen[place], strict=True)):
            if free == width or value == -np.inf:
                break
            if token != end:
                totals[place, free], going[place, free], origin[place, free] = value, token, parent
                free += 1
            elif rank < width:
                score = float(value) / length_divisor(length, options.length_penalty)
                text.ended.append(Hypothesis(tokens[place, parent, 1:].tolist(), float(value), score))
    return totals, going, origin


def _is_done(text: _Text, totals: NDArray[np.float64], width: int) -> bool:
    return len(text.ended) >= width or bool(np.isneginf(totals).all())
