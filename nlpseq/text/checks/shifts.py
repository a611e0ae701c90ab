"""Finds the line from which two sides of parallel text are out of step, because one side lost or gained lines.

Each pair is scored by what agrees in translations of most languages: lengths, the first letters of words, numbers, and
commas. A score is the logarithm of how much more frequent the agreement is between lines that belong together than
between lines that do not; both frequencies are counted in the text itself. If some shift of the lines scores much
better than no shift over a span of pairs, the sides are out of step there.

On real corpora the line found is seldom more than three lines off. The price is that a shift needs ten pairs or more to
show: one near the end is not found, and neither is one of more than three lines. The pairs' records are read several
times, a chunk at a time, so memory stays constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.checks.pair_features import BEFORE, COMPARED, SHIFTS, UNRELATED
from nlpseq.text.checks.spill import Records

FEWEST = 60  # pairs
CLEARLY = 12.0  # nats by which a shift must score better than none
MOST = 3.0  # nats for one kind of agreement of one pair, so that an odd pair decides little
CHUNK = 1 << 15  # pairs
KINDS = 13  # of agreement, at most

Kinds = tuple[NDArray[np.int64], ...]  # of lengths, words and commas, each [N]
Values = NDArray[np.float64]
Tables = list[Values]  # of lengths, words and commas: the score of each kind of agreement


class Shift(NamedTuple):
    """The index of the first pair that is out of step, and the lines that the target has too many from there on."""

    first: int
    lines: int  # negative: the source has them


def first_shift(records: Records) -> Shift | None:
    """The first place where the sides come out of step, or None. A record is a pair's, as in `pair_features.RECORD`."""
    if records.count < FEWEST:
        return None
    usual = median(lambda: (_ratios(chunk["lengths"]) for _, chunk in chunks(records)))
    tables = _tables(records, usual)
    found, count = None, records.count
    while (earlier := _clearest(records, usual, tables, count)) is not None:
        found, count = earlier, earlier.first
    return found


def chunks(records: Records) -> Iterator[tuple[int, NDArray[Any]]]:
    """All records in chunks, each with the index of its first."""
    for start in range(0, records.count, CHUNK):
        yield start, records.window(start, min(start + CHUNK, records.count))


def _ratios(lengths: NDArray[np.int32]) -> Values:
    ours, theirs = np.log(lengths + 5).T
    return np.asarray(ours - theirs)


def _agreements(records: Records, usual: float, stop: int) -> Iterator[dict[int, Kinds]]:
    """For the pairs before `stop` in chunks, and each shift of COMPARED: the kinds of agreement of each pair.

    Source i is compared with target i + shift, as if the pairs were in a circle.
    """
    margin = -min(COMPARED)
    for start in range(0, stop, CHUNK):
        size = min(CHUNK, stop - start)
        window = records.window(start - margin, start + size + BEFORE)
        here = slice(margin, margin + size)
        logarithms = np.log(window["lengths"] + 5)
        found: dict[int, Kinds] = {}
        for number, shift in enumerate(COMPARED):
            there = slice(margin + shift, margin + shift + size)
            later = slice(margin + max(shift, 0), margin + max(shift, 0) + size)
            distance = np.abs(logarithms[here, 0] - logarithms[there, 1] - usual)
            commas = np.abs(window["commas"][here, 0] - window["commas"][there, 1])
            lengths = np.minimum(distance / 0.1, 12).astype(np.int64)
            found[shift] = (lengths, window["words"][later, number].astype(np.int64), np.minimum(commas, 3))
        yield found


def _tables(records: Records, usual: float) -> Tables:
    """The scores: log of a kind's frequency among related pairs over that among unrelated ones, at the usual shift."""
    counts = {shift: np.zeros((3, KINDS)) for shift in COMPARED}
    for kinds in _agreements(records, usual, records.count):
        for shift in COMPARED:
            counts[shift] += [np.bincount(each, minlength=KINDS) for each in kinds[shift]]
    unrelated = np.sum([counts[shift] for shift in UNRELATED], axis=0)
    tables = []
    for measure in range(3):
        scores = {shift: _log_ratios(counts[shift][measure], unrelated[measure]) for shift in (0, *SHIFTS)}
        tables.append(scores[max(scores, key=lambda shift: float(scores[shift] @ counts[shift][measure]))])
    return tables


def _log_ratios(related: Values, unrelated: Values) -> Values:
    counts = [side + 1.0 for side in (related, unrelated)]
    ratios = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
    return np.asarray(np.clip(ratios, -MOST, MOST))


class _Rise:
    """The largest rise of a sum over pairs from an earlier lowest point, as the pairs come chunk by chunk."""

    def __init__(self) -> None:
        self.best = 0.0
        self.start = 0  # number of pairs before the rise
        self._sum = self._lowest = 0.0
        self._last_lowest = 0
        self._count = 0

    def add(self, gains: Values) -> None:
        """Take the next gains [N]."""
        sums = np.cumsum(np.concatenate([[self._sum], gains]))[1:]
        lowest = np.minimum(self._lowest, np.minimum.accumulate(sums))
        rises = sums - lowest
        end = int(rises.argmax())
        if rises[end] > self.best:
            self.best = float(rises[end])
            self.start = self._last(sums[: end + 1], lowest[end])
        self._last_lowest = self._last(sums, lowest[-1])
        self._sum, self._lowest = float(sums[-1]), float(lowest[-1])
        self._count += len(gains)

    def _last(self, sums: Values, lowest: float) -> int:
        """The last number of pairs at which the sum was at its lowest."""
        places = np.flatnonzero(sums == lowest)
        return self._count + 1 + int(places[-1]) if len(places) else self._last_lowest


def _clearest(records: Records, usual: float, tables: Tables, count: int) -> Shift | None:
    """The shift that gains most over some span of the first `count` pairs, or None if none is clear."""
    rises = {shift: _Rise() for shift in SHIFTS}
    for kinds in _agreements(records, usual, count):
        scores = {shift: _score(tables, kinds[shift]) for shift in (0, *SHIFTS)}
        for shift, rise in rises.items():
            rise.add(scores[shift] - scores[0])
    best, clearest = CLEARLY, None
    for shift, rise in rises.items():
        if rise.best > best:
            best, clearest = rise.best, Shift(rise.start, shift)
    return clearest


def _score(tables: Tables, kinds: Kinds) -> Values:
    lengths, words, commas = (table[each] for table, each in zip(tables, kinds, strict=True))
    return np.asarray(lengths + words + commas)


def median(values: Callable[[], Iterable[Values]]) -> float:
    """The median of numbers that come in chunks, each time that `values` is called; 0 without any.

    The numbers are counted by 16 of their bits in each of four passes, so memory stays constant.
    """
    count = sum(map(len, values()))
    if not count:
        return 0.0
    low, high = (_in_order(values, rank) for rank in ((count - 1) // 2, count // 2))
    return (low + high) / 2


def _in_order(values: Callable[[], Iterable[Values]], rank: int) -> float:
    """The number with this many smaller ones before it."""
    found = 0
    for low_bit in (48, 32, 16, 0):
        counts = np.zeros(1 << 16, np.int64)
        for chunk in values():
            keys = _ordered_bits(chunk)
            if low_bit < 48:
                keys = keys[keys >> np.uint64(low_bit + 16) == found]
            digits = keys >> np.uint64(low_bit) & np.uint64(0xFFFF)
            counts += np.bincount(digits.astype(np.int64), minlength=len(counts))
        upto = np.cumsum(counts)
        digit = int(np.searchsorted(upto, rank, "right"))
        rank -= int(upto[digit] - counts[digit])
        found = found << 16 | digit
    bits = found & ~(1 << 63) if found >> 63 else ~found & (1 << 64) - 1
    return float(np.uint64(bits).view(np.float64))


def _ordered_bits(numbers: Values) -> NDArray[np.uint64]:
    """Numbers as unsigned integers in the same order."""
    bits = np.ascontiguousarray(numbers).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)
