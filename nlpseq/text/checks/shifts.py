"""Finds the line from which two sides of parallel text are out of step, because one side lost or gained lines.

Each pair is scored by what agrees in translations of most languages: lengths, the first letters of words, numbers, and
commas. A score is the logarithm of how much more frequent the agreement is between lines that belong together than
between lines that do not; both frequencies are counted in the text itself. If some shift of the lines scores much
better than no shift over a span of pairs, the sides are out of step there.

On real corpora the line found is seldom more than three lines off. The price is that a shift needs ten pairs or more to
show: one near the end is not found, and neither is one of more than three lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHIFTS = (-3, -2, -1, 1, 2, 3)  # lines by which the target may be ahead of the source
UNRELATED = (17, 29, 53)  # shifts between lines that do not belong together
FEWEST = 60  # pairs
CLEARLY = 12.0  # nats by which a shift must score better than none
MOST = 3.0  # nats for one kind of agreement of one pair, so that an odd pair decides little

_WORDS = re.compile(r"\d+|[^\W\d_]{3,}")
_COMMAS = re.compile("[,\uff0c\u3001\u060c]")
_START = 3  # letters of a word; related words of two languages often start alike

Side = Sequence[str]
Kinds = NDArray[np.int64]  # [N], the kind of agreement of each pair
Agreement = Callable[[int], Kinds]  # of source i and target i + shift


class Shift(NamedTuple):
    """The index of the first pair that is out of step, and the lines that the target has too many from there on."""

    first: int
    lines: int  # negative: the source has them


def first_shift(sources: Side, targets: Side) -> Shift | None:
    """The first place where the sides come out of step, or None. The sides are cut to the shorter one."""
    count = min(len(sources), len(targets))
    if count < FEWEST:
        return None
    gains = _gains(sources[:count], targets[:count])
    found = None
    while (earlier := _clearest(gains, count)) is not None:
        found, count = earlier, earlier.first
    return found


def _gains(sources: Side, targets: Side) -> dict[int, NDArray[np.float64]]:
    """For each shift, the sums over the first 0..N pairs of how much better it scores than no shift."""
    total = {shift: np.zeros(len(sources)) for shift in (0, *SHIFTS)}
    for agreement in (_lengths(sources, targets), _words(sources, targets), _commas(sources, targets)):
        kinds = {shift: agreement(shift) for shift in total}
        unrelated = np.concatenate([agreement(shift) for shift in UNRELATED])
        tables = {shift: _log_ratios(related, unrelated) for shift, related in kinds.items()}
        in_step = max(total, key=lambda shift: float(tables[shift][kinds[shift]].sum()))
        for shift, scores in total.items():
            scores += tables[in_step][kinds[shift]]
    return {shift: np.concatenate([[0.0], np.cumsum(total[shift] - total[0])]) for shift in SHIFTS}


def _clearest(gains: dict[int, NDArray[np.float64]], count: int) -> Shift | None:
    """The shift that gains most over some span of the first `count` pairs, or None if none is clear."""
    best, clearest = CLEARLY, None
    for shift, sums in gains.items():
        lowest = np.minimum.accumulate(sums[: count + 1])
        rises = sums[: count + 1] - lowest
        end = int(rises.argmax())
        if rises[end] > best:
            best = float(rises[end])
            clearest = Shift(int(np.flatnonzero(sums[: end + 1] == lowest[end])[-1]), shift)
    return clearest


def _log_ratios(related: Kinds, unrelated: Kinds) -> NDArray[np.float64]:
    """For each kind of agreement: log of its frequency among related pairs over that among unrelated ones."""
    kinds = max(int(related.max()), int(unrelated.max()), 12) + 1
    counts = [np.bincount(side, minlength=kinds) + 1.0 for side in (related, unrelated)]
    ratios = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
    return np.asarray(np.clip(ratios, -MOST, MOST))


def _lengths(sources: Side, targets: Side) -> Agreement:
    """How far the ratio of two lengths is from the usual one: in steps of 0.1, up to 12."""
    ours, theirs = (np.log([len(text) + 5 for text in side]) for side in (sources, targets))
    usual = np.median(ours - theirs)
    return lambda shift: np.minimum(np.abs(ours - np.roll(theirs, -shift) - usual) / 0.1, 12).astype(np.int64)


def _words(sources: Side, targets: Side) -> Agreement:
    """How many numbers and starts of words two texts share, up to 4."""
    ours, theirs = ([_starts(text) for text in side] for side in (sources, targets))

    def agreement(shift: int) -> Kinds:
        shifted = islice(cycle(theirs), shift % len(theirs), None)
        return np.array([min(len(words & others), 4) for words, others in zip(ours, shifted, strict=False)])

    return agreement


def _starts(text: str) -> frozenset[str]:
    words = _WORDS.findall(text)
    return frozenset(word[:_START].lower() if word[0].isalpha() else word for word in words)


def _commas(sources: Side, targets: Side) -> Agreement:
    """How much the numbers of commas differ, up to 3."""
    ours, theirs = (np.array([len(_COMMAS.findall(text)) for text in side]) for side in (sources, targets))
    return lambda shift: np.minimum(np.abs(ours - np.roll(theirs, -shift)), 3)
