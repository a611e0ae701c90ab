"""The length of a run: the number of steps that its budget buys, and of validations among them.

With a budget in minutes the first steps are timed, and their number is then fixed. If the learning rate of the timed
steps would have been another one had the number been known, with layers that are still frozen or a rate that falls from
the start, the run goes back to its start. So the number of steps alone repeats the run to the bit; the cost is the time
of those steps, a twentieth of the budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from nlpseq.errors import OptionError
from nlpseq.training.options import VALIDATIONS, TrainingOptions
from nlpseq.training.run_state import Counters
from nlpseq.training.schedule import Budget, rate

DEFAULT_MINUTES = 5.0
VALIDATION_FRACTION = 0.15  # of a run's time is for validations at most, unless their number is set


class MeasuredTask(Protocol):
    """What the length of a run needs of a task."""

    most_passes: float | None  # over the corpus, with a budget in minutes; None for no limit

    def steps_in_epoch(self) -> int:
        """Number of batches in one pass over the corpus."""

    def rate_scales(self, fraction: float) -> Sequence[float]:
        """The factor of the learning rate at each depth, after this fraction of the run."""

    def validation_steps(self, total: int) -> float:
        """The number of training steps that take as long as one validation, in a run of `total` steps."""

    def final_seconds(self, validation_seconds: float) -> float:
        """The time that the evaluation after the last step will take."""

    def plan(self, total: int, validations: int) -> None:
        """Called when the number of steps is known."""


class Length:
    """The steps of a run, from `counters.begun` to `counters.total`."""

    def __init__(self, task: MeasuredTask, options: TrainingOptions, counters: Counters, started: float) -> None:
        self.task = task
        self.options = options
        self.counters = counters
        self.started = started  # when the budget began
        self.validations = options.validations or VALIDATIONS
        self.budget: Budget | None = None

    def requested(self) -> int | None:
        """The number of steps that is asked for, or None with a budget in minutes."""
        if self.options.epochs is None:
            return self.options.steps
        return max(1, self._steps_in(self.options.epochs))

    def fix(self, total: int) -> None:
        """Set the number of steps."""
        self.counters.total = total
        if self.options.validations is None:
            affordable = VALIDATION_FRACTION * (total - self.counters.begun) / self.task.validation_steps(total)
            self.validations = max(1, min(VALIDATIONS, int(affordable)))
        self.task.plan(total, self.validations)

    def start_clock(self, validate: Callable[[], object]) -> None:
        """Start to time steps; a validation is timed first."""
        started = time.monotonic()
        validate()
        seconds = time.monotonic() - started
        overhead = seconds * self.validations + self.task.final_seconds(seconds)
        minutes = DEFAULT_MINUTES if self.options.minutes is None else self.options.minutes
        self.budget = Budget(minutes * 60 - (time.monotonic() - self.started), overhead)

    def time_step(self, *, usual: bool) -> int | None:
        """To be called after each step; returns the number of steps of the run once it is known, to be fixed."""
        if self.budget is None or self.counters.total is not None:
            return None
        return self.budget.steps(self.counters.step, self._most(), usual=usual)

    def _most(self) -> int | None:
        """The largest number of steps that a budget in minutes may become; None for no limit."""
        most = self.task.most_passes
        return None if most is None else self.counters.begun + self._steps_in(most)

    def restarted(self) -> int:
        """The number of steps of a run that goes back to its start: those that were timed have taken their time."""
        total, timed = self.counters.total or 0, self.counters.step - self.counters.begun
        return total if total == self._most() else max(self.counters.step, total - timed)

    def must_go_back(self) -> bool:
        """Whether the steps so far, which were taken before their number was known, would now be different ones."""
        last, counters = self.counters.step - 1, self.counters
        now = self.fraction(last), list(self.scales(last))
        total, counters.total = counters.total, None
        then = self.fraction(last), list(self.scales(last))
        counters.total = total
        return now != then

    def fraction(self, step: int) -> float:
        """The learning rate of a step, from 0, as a fraction of the highest rate."""
        counters, options = self.counters, self.options
        total = None if counters.total is None else counters.total - counters.begun
        return counters.rate_scale * rate(step - counters.begun, total, options.warm_up, options.anneal)

    def scales(self, step: int) -> Sequence[float]:
        """The factors of the learning rate of a step, from 0, at each depth; a run that is trained on froze nothing."""
        if self.counters.begun:
            return self.task.rate_scales(1.0)
        return self.task.rate_scales(step / self.counters.total if self.counters.total else 0.0)

    def validates(self, step: int) -> bool:
        """Whether the model is validated after this number of steps."""
        total, begun = self.counters.total, self.counters.begun
        if total is None:
            return False
        every = max(1, math.ceil((total - begun) / self.validations))
        return (step - begun) % every == 0 or step == total

    def seconds_left(self, step: int) -> float | None:
        """The time that the steps after `step` will take, as far as it is known."""
        counters = self.counters
        return None if counters.total is None else (counters.total - step) * counters.seconds / step

    def extend(self, where: str) -> None:
        """Train on from the last step to a new total. Raises OptionError if that many steps are done already."""
        counters, total = self.counters, self.requested()
        if total is not None and total <= counters.step:
            name = "steps" if self.options.epochs is None else "epochs"
            what = f"is the length of the whole run, and {where} has {counters.step:,} steps already"
            raise OptionError(name, what, f"--steps {2 * counters.step}, or --minutes for further minutes")
        counters.begun, counters.total = counters.step, None
        counters.without_progress, counters.rate_scale, counters.retries = 0, 1.0, 0
        if total is not None:
            self.fix(total)

    def _steps_in(self, passes: float) -> int:
        return math.ceil(passes * self.task.steps_in_epoch() / self.options.accumulate)
