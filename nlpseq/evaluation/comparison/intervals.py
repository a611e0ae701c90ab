"""Intervals and p-values of what was drawn.

An interval is between two percentiles of the bootstrap samples. Their level is that of Student's t for the number of
units, which widens the interval of few units (the expanded percentile interval of Hesterberg, 2015); for hundreds it
is the usual 2.5 %. sacrebleu's own mean and half-width, and its own p-values, are kept beside them: its bootstrap's p
counts one tail and is about half of the p-value here, which counts both.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

CONFIDENCE = 0.95
ROUNDING = 1e-9  # differences of scores that are equal, relative to the observed one


class Interval(NamedTuple):
    """An interval that holds the true score in 95 % of the cases."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside of it."""
        return self.low > 0 or self.high < 0


class LibraryInterval(NamedTuple):
    """The interval that sacrebleu prints: the mean of the samples, and half of the interval's width."""

    mean: float
    half_width: float


def percentile_interval(values: Values, units: int) -> Interval:
    """The 95 % interval of bootstrap samples [R] of a score over two or more units."""
    index = int(len(values) * _tail(units))
    ordered = np.sort(values)
    return Interval(float(ordered[index]), float(ordered[len(values) - 1 - index]))


def _tail(units: int) -> float:
    """The probability below the interval: 2.5 % or, of few units, less."""
    from scipy.special import ndtr, stdtrit

    quantile = float(stdtrit(units - 1, (1 + CONFIDENCE) / 2))
    return float(ndtr(-math.sqrt(units / (units - 1)) * quantile))


def library_interval(values: Values) -> LibraryInterval:
    """The mean and half-width that sacrebleu prints for bootstrap samples [R]."""
    from sacrebleu.significance import estimate_ci

    mean, half_width = estimate_ci(values)
    return LibraryInterval(float(mean), float(half_width))


def bootstrap_p(differences: Values, observed: float) -> float:
    """The two-sided p-value of an observed difference: how often samples [R] differ as much from their mean."""
    return _share(np.abs(differences - differences.mean()), abs(observed))


def randomised_p(differences: Values, observed: float) -> float:
    """The two-sided p-value of an observed difference: how often trials [R] differ as much."""
    return _share(np.abs(differences), abs(observed))


def _share(distances: Values, observed: float) -> float:
    """The share of distances [R] that are at least the observed one, which counts as one of them."""
    return float((np.sum(distances >= observed * (1 - ROUNDING) - 1e-300) + 1) / (len(distances) + 1))


def library_bootstrap_p(first: Values, other: Values, observed: float) -> float:
    """The p-value of `sacrebleu --paired-bs` for the scores [R] of two systems in the same samples."""
    from sacrebleu.significance import _compute_p_value

    distances = np.abs(other - first)
    return float(_compute_p_value(distances - distances.mean(), abs(observed)))


def library_randomised_p(first: Values, other: Values, observed: float) -> float:
    """The p-value of `sacrebleu --paired-ar` for the scores [R] of two systems in the same trials."""
    from sacrebleu.significance import _compute_p_value

    return float(_compute_p_value(np.abs(first - other), abs(observed)))


class Sampled(NamedTuple):
    """A value with its variance, and the degrees of freedom of that."""

    variance: float
    freedom: float


def welch_interval(value: float, parts: list[Sampled]) -> tuple[Interval, float]:
    """The 95 % interval and the two-sided p-value of a value whose variance is a sum of parts.

    Student's t with the degrees of freedom of Welch (1947) and Satterthwaite (1946).
    """
    from scipy.special import stdtr, stdtrit

    variance = sum(part.variance for part in parts)
    if variance <= 0:
        return Interval(value, value), 1.0 if value == 0 else 0.0
    freedom = variance**2 / sum(part.variance**2 / part.freedom for part in parts)
    error = math.sqrt(variance)
    width = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Interval(value - width, value + width), float(2 * stdtr(freedom, -abs(value) / error))
