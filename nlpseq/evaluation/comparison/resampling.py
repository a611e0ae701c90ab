"""Sums of statistics over resamples of the units of a text, which are lines or blocks.

A measure needs only sums over units, so a resample is a product of weights and statistics. Draws are those of
sacrebleu (Post, 2018) for the same seed: its bootstrap samples (Koehn, 2004) and its exchanges of outputs (approximate
randomisation: Noreen, 1989; Riezler and Maxwell, 2005). They are made a few samples at a time, so memory grows with
the number of units and not with that of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import OptionError
from nlpseq.options import check, flag, option

Statistics = Any  # [N, K], of N units: an array, or a sparse matrix of SciPy
Sums = NDArray[Any]  # [R, K]

SEED = 12345  # sacrebleu's
DRAWN = 1 << 21  # units that are drawn at once
TRIALS_AT_ONCE = 32  # or a multiple: NumPy draws 32 booleans of one random number
COLUMNS = 1 << 16  # units of a trial that are multiplied at once


@dataclass(frozen=True, kw_only=True)
class ResamplingOptions:
    """How intervals and p-values are found."""

    samples: int = option(1000, "bootstrap samples", minimum=100, maximum=1_000_000)
    trials: int = option(10_000, "trials of approximate randomisation", minimum=100, maximum=10_000_000)
    random_seed: int = option(SEED, "seed of the samples and trials", minimum=0, maximum=2**63 - 1)
    block_bytes: int | None = option(
        None,
        "length of a language model's blocks in bytes [default: a 50th of the text, 256 to 16384]",
        minimum=16,
        maximum=1 << 30,
    )

    def __post_init__(self) -> None:
        check(self)


def when_confident(options: ResamplingOptions, *, confidence: bool, by_line: bool = False) -> ResamplingOptions | None:
    """The options of one model's intervals, if they are wanted.

    Raises OptionError for a changed one if they are not, and for one that has no effect on intervals `by_line`.
    """
    changed = [field.name for field in fields(options) if getattr(options, field.name) != field.default]
    for name in changed:
        if not confidence:
            raise OptionError(name, "has no effect without --confidence", "add --confidence")
        if name == "trials" or (by_line and name == "block_bytes"):
            users = "a comparison" if name == "trials" else "language models"
            raise OptionError(name, f"is for {users}", f"leave out {flag(name)}")
    return options if confidence else None


def bootstrap_sums(statistics: Sequence[Statistics], samples: int, seed: int) -> Iterator[list[Sums]]:
    """The sums [R, K] of each of the statistics [N, K] over N units that are drawn with replacement, R samples a time.

    All statistics are summed over the same draws.
    """
    units = statistics[0].shape[0]
    generator = np.random.default_rng(seed)
    at_once = _at_once(statistics)
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        drawn = generator.choice(units, size=(count, units), replace=True)
        drawn += np.arange(count)[:, None] * units
        weights = np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)
        yield [weights @ each for each in statistics]


def randomised_sums(
    first: Sequence[Statistics], other: Sequence[Statistics], trials: int, seed: int
) -> Iterator[list[Sums]]:
    """For each pair of statistics [N, K] the sums [2, R, K] after the two exchanged each unit with probability 1/2.

    There are R trials a time. All pairs exchange the same units.
    """
    units = first[0].shape[0]
    differences = [left - right for left, right in zip(first, other, strict=True)]
    sums = [(totals(left), totals(right)) for left, right in zip(first, other, strict=True)]
    generator = np.random.default_rng(seed)
    at_once = -(-_at_once(first) // TRIALS_AT_ONCE) * TRIALS_AT_ONCE
    for start in range(0, trials, at_once):
        kept = generator.integers(2, size=(min(at_once, trials - start), units), dtype=bool)
        moved = [np.zeros((len(kept), each.shape[1])) for each in differences]
        for column in range(0, units, COLUMNS):
            columns = slice(column, column + COLUMNS)
            weights = kept[:, columns].astype(np.float64)
            for found, difference in zip(moved, differences, strict=True):
                found += weights @ difference[columns]
        yield [np.stack([right + found, left - found]) for (left, right), found in zip(sums, moved, strict=True)]


def _at_once(statistics: Sequence[Statistics]) -> int:
    """The number of samples that are drawn and summed together."""
    units, columns = statistics[0].shape[0], sum(each.shape[1] for each in statistics)
    return max(1, DRAWN // int(max(units, columns)))


def totals(statistics: Statistics) -> NDArray[Any]:
    """The sums [K] of statistics over all units."""
    return np.asarray(statistics.sum(0)).ravel()
