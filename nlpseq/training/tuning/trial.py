"""What was tried: one record for each trial, and the number that trials are ranked by.

A validation part is small, so its accuracy alone is mostly luck: of 300 texts, one configuration and the same with
another random seed differ by a point or two. The loss of calibrated probabilities says more about the same texts. So a
classifier's trials are ranked by the mean of error and loss, each relative to that of the defaults, with one error and
one nat added to the sums over all texts, because a ratio of numbers near zero says nothing. Trials of other tasks are
ranked by their loss alone. The defaults have the value 1, and lower is better.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any, NamedTuple

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Measure(NamedTuple):
    """How good a model is on the validation part."""

    loss: float  # nats; for one unit of text that does not depend on the options
    error: float | None = None  # fraction of the texts that are wrong, for classifiers
    texts: int = 1  # number of them

    def relative(self, defaults: Measure) -> float:
        """The value that trials are ranked by; `defaults` is the measure of the run with the defaults."""
        if self.error is None or defaults.error is None:
            return self.loss / max(defaults.loss, 1e-9)
        loss, error = (
            (own * self.texts + 1) / (theirs * defaults.texts + 1)
            for own, theirs in ((self.loss, defaults.loss), (self.error, defaults.error))
        )
        return (loss + error) / 2


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int
    options: dict[str, Any]  # those that differ from the defaults
    state: str
    value: float | None  # that it is ranked by; None unless it is complete
    scores: dict[str, Any]  # by name, of the whole validation part
    steps: int | None
    seconds: float
    random_seed: int
    reason: str = ""  # why it is not complete, or what it is for
    indices: tuple[int, ...] = field(default=(), repr=False)  # in its space
    split: int = 0  # which texts were held out for validation; 0: those of the request

    @property
    def key(self) -> str:
        """Equal for trials that differ in their random seed alone."""
        return json.dumps(self.options, sort_keys=True)

    def as_json(self) -> dict[str, Any]:
        """The trial as a JSON object."""
        fields = asdict(self)
        del fields["indices"]
        return {**fields, "seconds": round(self.seconds, 2)}


class Group(NamedTuple):
    """Complete trials with the same options, which differ in random seed and split; in their order."""

    trials: tuple[Trial, ...]

    @property
    def mean(self) -> float:
        """The mean of their values."""
        return _mean(self.trials)

    @property
    def repeats(self) -> list[float]:
        """The values of all but the first, by whose value the options may have been chosen."""
        return [_value(trial) for trial in self.trials[1:]]

    @property
    def best(self) -> Trial:
        """The trial to keep: the one with the lowest value among those that were validated on the request's texts."""
        return min((trial for trial in self.trials if not trial.split), key=_value)

    @property
    def seconds(self) -> float:
        """The longest time of a trial."""
        return max(trial.seconds for trial in self.trials)


def groups(trials: Sequence[Trial]) -> list[Group]:
    """The complete trials by their options, those with the lowest mean first."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.state == COMPLETE:
            found.setdefault(trial.key, []).append(trial)
    return sorted((Group(tuple(same)) for same in found.values()), key=lambda group: group.mean)


def chosen_by_repeats(found: Sequence[Group], defaults: Group) -> Group:
    """The group with the lowest mean of repeats if that is a standard error below 1, the defaults' value; else theirs.

    The best of several groups looks better than it is.
    """
    best = min(found, key=lambda group: fmean(group.repeats))
    error = stdev(best.repeats) / len(best.repeats) ** 0.5 if len(best.repeats) > 1 else 0.0
    return best if fmean(best.repeats) + error < 1 else defaults


def _value(trial: Trial) -> float:
    return math.inf if trial.value is None else trial.value


def _mean(trials: Sequence[Trial]) -> float:
    return sum(map(_value, trials)) / len(trials) if trials else math.inf


def measure_of(scores: Mapping[str, Any], *, names: Sequence[str], texts: int, scale: float) -> Measure:
    """The measure of a finished run by its scores on the whole validation part.

    The error is that of the first of `names` among the scores, which is in per cent. `scale` is the number of units of
    the loss in a unit of text.
    """
    score = next((scores[name] for name in names if scores.get(name) is not None), None)
    loss = scores.get("loss")
    return Measure(math.inf if loss is None else loss * scale, None if score is None else 1 - score / 100, texts)
