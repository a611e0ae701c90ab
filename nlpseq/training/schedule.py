"""The learning rate over a run, and how many steps fit a budget of time.

The rate rises over the warm-up, stays constant, and falls linearly to zero over the last part of the run. Before the
fall, the rate of a step does not depend on the length of the run. So a run with a budget of minutes can time its first
steps and then fix the number of steps; that number alone repeats the run exactly.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

MARGIN = 1.5  # if this multiple of the most steps fits the budget, their number is fixed early,
MARGIN_STEPS = 20  # but only after as many steps, when their mean time is known about as well as MARGIN needs
TIMED_FRACTION = 0.05  # of the budget is spent before the number of steps is fixed


def rate(step: int, total: int | None, warm_up: int, anneal: float) -> float:
    """The learning rate of `step`, from 0, of `total` steps (None: unknown), as a fraction of the highest rate."""
    rising = min(1.0, (step + 1) / (warm_up + 1))
    if total is None or anneal == 0:
        return rising
    falling = (total - step) / (anneal * total)
    return max(0.0, min(rising, falling))


@dataclass
class Budget:
    """Finds the number of steps that fit a time, from the times of the first steps.

    `seconds` is the time left when the clock starts; validations and the end will take `overhead` of it.
    """

    seconds: float
    overhead: float = 0.0
    started: float = field(default_factory=time.monotonic)
    last: float | None = None  # when the last step ended
    times: list[float] = field(default_factory=list)  # of steps, in seconds

    def steps(self, done: int, most: int | None = None, *, usual: bool = True) -> int | None:
        """The number of steps of the whole run, or None until it is known; to be called after each step.

        It is at most `most`, and known early if `most` steps clearly fit. The first step is not timed, nor is any that
        was not `usual` because kernels were compiled or a graph was recorded.
        """
        now = time.monotonic()
        if usual and self.last is not None:
            self.times.append(now - self.last)
        self.last = now
        if len(self.times) < 2:
            return None
        typical = sum(self.times) / len(self.times)
        left = self.seconds - self.overhead - (now - self.started)
        fitting = done + max(0, int(left / typical))
        if most is not None and (done >= most or (done >= MARGIN_STEPS and fitting > MARGIN * most)):
            return max(done, most)
        if now - self.started < TIMED_FRACTION * self.seconds:
            return None
        return fitting if most is None else max(done, min(fitting, most))
