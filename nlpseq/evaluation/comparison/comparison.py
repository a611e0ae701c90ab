"""Sides compared by measures: paired bootstrap and approximate randomisation, or Welch's t over several seeds.

All sides are resampled together, so a hard line is hard for all of them and a difference has a narrower interval than
the scores. A difference is called one if its interval excludes zero and its p-value is below 5 %.

A side of several models stands for a recipe. Its score is the mean of its models. The variance of a difference is that
of the models' mean on each side, from the models' scores, and that of the text: the bootstrap variance of the mean over
models, without what the models do not share, which the spread of their scores holds already. (A bootstrap over the
models, too, would take few seeds for all there are: three models have two thirds of their variance in it.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import __version__
from nlpseq.evaluation.comparison.intervals import (
    Interval,
    Sampled,
    bootstrap_p,
    library_bootstrap_p,
    library_interval,
    library_randomised_p,
    percentile_interval,
    randomised_p,
    welch_interval,
)
from nlpseq.evaluation.comparison.measures import Measure, Measured
from nlpseq.evaluation.comparison.records import (
    BOOTSTRAP,
    LIKELY,
    PAIRED_AR,
    PAIRED_BS,
    RANDOMISATION,
    SEEDS,
    Compared,
    Comparison,
    Difference,
    Side,
    SideScore,
    Units,
)
from nlpseq.evaluation.comparison.resampling import ResamplingOptions, bootstrap_sums, randomised_sums

Values = NDArray[Any]  # [R]


def compare_sides(sides: Sequence[Side], units: Units, options: ResamplingOptions) -> Comparison:
    """Compare each side with the first, by the measures that all have in the same order."""
    outputs = [each for side in sides for each in side.outputs]
    drawn = iter(bootstrap_scores([each for one in outputs for each in one.measured], options))
    samples = [[[next(drawn) for _ in each.measured] for each in side.outputs] for side in sides]
    trials = [None, *(_trials(sides[0], side, options) for side in sides[1:])]
    compared = []
    for index, first in enumerate(outputs[0].measured):
        views = [
            _View(side, index, [each[index] for each in own], None if trial is None else trial[index])
            for side, own, trial in zip(sides, samples, trials, strict=True)
        ]
        scores = [view.score(units) for view in views]
        differences = [_difference(views[0], view, units) for view in views[1:]]
        signature = _signature(first, sides, units, options)
        compared.append(Compared(first.measure, signature, scores, differences, units.noun))
    return Comparison(units, compared)


def bootstrap_scores(measured: Sequence[Measured], options: ResamplingOptions) -> list[Values]:
    """The scores [R] of each measured in the same bootstrap samples."""
    parts: list[list[Values]] = [[] for _ in measured]
    for sums in bootstrap_sums([each.statistics for each in measured], options.samples, options.random_seed):
        for scores, each, found in zip(parts, measured, sums, strict=True):
            scores.append(each.bootstrapped(found))
    return [np.concatenate(scores) for scores in parts]


Trials = list[tuple[Values, Values]]  # of each measure, the scores of the two sides after exchanges


def _trials(first: Side, other: Side, options: ResamplingOptions) -> Trials | None:
    """The scores of two sides of one model each after exchanges of outputs; None for sides of several models."""
    if len(first.outputs) > 1 or len(other.outputs) > 1:
        return None
    pairs = list(zip(first.outputs[0].measured, other.outputs[0].measured, strict=True))
    left, right = ([each.statistics for each in side] for side in zip(*pairs, strict=True))
    parts: list[list[Values]] = [[] for _ in pairs]
    for sums in randomised_sums(left, right, options.trials, options.random_seed):
        for scores, (one, two), found in zip(parts, pairs, sums, strict=True):
            scores.append(np.stack([one.randomised(found[0]), two.randomised(found[1])]))
    return [(both[0], both[1]) for both in (np.concatenate(scores, 1) for scores in parts)]


class _View:
    """One side by one measure."""

    def __init__(self, side: Side, index: int, samples: list[Values], trials: tuple[Values, Values] | None) -> None:
        self.side = side
        self.measured = [each.measured[index] for each in side.outputs]
        self.values = np.array([each.value for each in self.measured])
        self.samples = np.mean(samples, 0) if len(samples) > 1 else samples[0]
        self.own = _unshared(np.stack(samples)) if len(samples) > 1 else 0.0
        self.trials = trials
        self.several = len(samples) > 1

    @property
    def measure(self) -> Measure:
        return self.measured[0].measure

    @property
    def value(self) -> float:
        return float(self.values.mean())

    @property
    def parts(self) -> list[Sampled]:
        """The variance of the mean of the models; empty for one model, of which it is not known."""
        count = len(self.values)
        return [Sampled(float(self.values.var(ddof=1)) / count, count - 1)] if self.several else []

    def score(self, units: Units) -> SideScore:
        if self.several:
            interval, _ = welch_interval(self.value, [*self.parts, _text_part(self.samples, self.own, units)])
        else:
            interval = percentile_interval(self.samples, units.count)
        spread = float(self.values.std(ddof=1)) if self.several else None
        models = {each.name: float(value) for each, value in zip(self.side.outputs, self.values, strict=True)}
        library = library_interval(self.samples) if self.measure.is_sacrebleus and not self.several else None
        return SideScore(self.side.name, self.value, interval, models, spread, library)


def _unshared(samples: Values) -> float:
    """The variance of the mean of m models over texts, as far as they are hard for one of them, from samples [m, R]."""
    count = len(samples)
    return float((samples - samples.mean(0)).var(1, ddof=1).mean()) / (count - 1)


def _text_part(samples: Values, own: float, units: Units) -> Sampled:
    """The variance of a score over texts, from samples [R], without that which is counted as the models' `own`."""
    return Sampled(max(0.0, float(samples.var(ddof=1)) - own), units.count - 1)


def _difference(first: _View, other: _View, units: Units) -> Difference:
    """How much higher the score of the other side is."""
    observed, samples = other.value - first.value, other.samples - first.samples
    interval: Interval
    if other.trials is None:
        parts = [*first.parts, *other.parts, _text_part(samples, first.own + other.own, units)]
        interval, p = welch_interval(observed, parts)
        p_values = {SEEDS: p}
    else:
        interval = percentile_interval(samples, units.count)
        left, right = other.trials
        p_values = {RANDOMISATION: randomised_p(right - left, observed), BOOTSTRAP: bootstrap_p(samples, observed)}
        if first.measure.is_sacrebleus:
            p_values[PAIRED_BS] = library_bootstrap_p(first.samples, other.samples, observed)
            p_values[PAIRED_AR] = library_randomised_p(left, right, observed)
    is_sure = interval.excludes_zero and next(iter(p_values.values())) < LIKELY
    higher, lower = (other, first) if observed > 0 else (first, other)
    better = (lower if first.measure.lower_is_better else higher).side.name if is_sure else None
    return Difference(other.side.name, observed, interval, p_values, better, _are_equal(first, other))


def _are_equal(first: _View, other: _View) -> bool:
    """Whether two sides of one model each are alike in every unit."""
    if first.several or other.several:
        return False
    return not abs(first.measured[0].statistics - other.measured[0].statistics).sum()


def _signature(first: Measured, sides: Sequence[Side], units: Units, options: ResamplingOptions) -> str:
    """What was computed, and how its intervals and p-values were."""
    several = any(len(side.outputs) > 1 for side in sides)
    models = f"models:{'+'.join(str(len(side.outputs)) for side in sides)}|interval:welch-t"
    ways = models if several else f"interval:percentile-t|randomisation:{options.trials}"
    own = first.signature or f"unit:{first.measure.unit}"
    fields = [first.measure.name, own, units.signature, f"paired|bootstrap:{options.samples}", ways]
    return "|".join([*fields, f"seed:{options.random_seed}|confidence:95|nlpseq:{__version__}"])
