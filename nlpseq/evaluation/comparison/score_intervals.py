"""The intervals of one model's scores, by the bootstrap over the units of its text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from nlpseq.evaluation.comparison.comparison import bootstrap_scores
from nlpseq.evaluation.comparison.intervals import library_interval, percentile_interval
from nlpseq.evaluation.comparison.measures import Measured
from nlpseq.evaluation.comparison.records import Units
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.scores import Score, ScoreInterval


def with_intervals(
    scores: Sequence[Score], measured: Iterable[Measured], units: Units, options: ResamplingOptions
) -> list[Score]:
    """The scores, those that were measured with their intervals.

    A calibration error has none: it is a mean of absolute differences, which is larger in nearly every sample.
    """
    every = list(measured)
    fields = [units.signature, f"bootstrap:{options.samples}|seed:{options.random_seed}|confidence:95"]
    found: dict[tuple[str, str], ScoreInterval] = {}
    for each, samples in zip(every, bootstrap_scores(every, options), strict=True):
        low, high = percentile_interval(samples, units.count)
        library = library_interval(samples) if each.measure.is_sacrebleus else (None, None)
        interval = ScoreInterval(low, high, "|".join(["interval:percentile-t", *fields]), *library)
        found[each.measure.name, each.measure.unit] = interval
    return [replace(score, interval=found.get((score.name, score.unit))) for score in scores]
