"""The learning rate over a run, and how many steps fit a budget of time.

The rate rises over the warm-up, holds, and falls in a straight line to zero over the last part of the run. What a
step's rate is before the fall does not depend on how long the run is. So a run with a budget of minutes can time its
first steps, fix their number from that, and still be repeated exactly by that number alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

CLEARLY = 1.5  # times as many steps as there shall be at most
TELLING = 20  # steps, whose mean time is that of the others within about that
TIMED_SHARE = 0.05  # of the budget is spent before the number of steps is fixed


def rate(step: int, total: int | None, warm_up: int, anneal: float) -> float:
    """The share of the highest learning rate for `step`, counted from 0, of `total` steps (None: not known yet)."""
    rising = min(1.0, (step + 1) / (warm_up + 1))
    if total is None or anneal == 0:
        return rising
    falling = (total - step) / (anneal * total)
    return max(0.0, min(rising, falling))


@dataclass
class Budget:
    """Finds how many steps fit into a time, from the first of them.

    `seconds` is what is left for steps when the clock starts; `overhead` what validations and the end will take of it.
    """

    seconds: float
    overhead: float = 0.0
    started: float = field(default_factory=time.monotonic)
    last: float | None = None  # when the last step ended
    spent: list[float] = field(default_factory=list)

    def steps(self, done: int, most: int | None = None, *, usual: bool = True) -> int | None:
        """Called after each step; the first is not timed. The number of steps in all, or None until it is known.

        It is at most `most`, and known as soon as those clearly fit. A step that is not `usual`, because kernels were
        compiled or a graph was recorded, says nothing about those to come.
        """
        now = time.monotonic()
        if usual and self.last is not None:
            self.spent.append(now - self.last)
        self.last = now
        if len(self.spent) < 2:
            return None
        typical = sum(self.spent) / len(self.spent)
        left = self.seconds - self.overhead - (now - self.started)
        fitting = done + max(0, int(left / typical))
        if most is not None and (done >= most or (done >= TELLING and fitting > CLEARLY * most)):
            return max(done, most)
        if now - self.started < TIMED_SHARE * self.seconds:
            return None
        return fitting if most is None else max(done, min(fitting, most))
