"""What the minutes of a search are spent on.

The first trial has a fraction of them at most. If its run has ended before, by itself, then each trial is a complete
run, else a short run of as much time as the first one. Half of the time is for trials. The rest is for the best of them
again, with other texts held out, or for one long run of the best options. What the evaluation at the end will take is
set aside.
"""

from __future__ import annotations

import time
from collections.abc import Callable

DEFAULT_MINUTES = 30.0
LEAST_SECONDS = 20.0  # with less only the defaults are tried
FIRST = 1 / 16  # of the time, for the first trial at most,
FIRST_COMPLETE = 1 / 8  # if its run may end by itself
DEFAULTS_ALONE = 0.8  # of the time, if nothing but the defaults is tried
TRIALS = 0.5  # of the time, after which the last trial has ended
SLOW = 3.0  # a trial of more than this number of times the first one's seconds is stopped
LATE = 1.15  # a run may take longer than the same run took before
END = 1.2, 0.5  # of an evaluation: a factor of what it took before, and seconds for writing


class Clock:
    """The time of a search, from `started`; `now` is a clock in seconds."""

    def __init__(
        self,
        minutes: float,
        started: float,
        now: Callable[[], float] = time.monotonic,
        *,
        may_end_early: bool = False,
    ) -> None:
        """`may_end_early` says that a run may end by itself before its budget is spent."""
        self.first = FIRST_COMPLETE if may_end_early else FIRST
        self.minutes = minutes
        self.seconds = 60 * minutes
        self.started = started
        self.now = now
        self.end_seconds = 0.0  # that the evaluation at the end will take

    @property
    def is_short(self) -> bool:
        """Whether there is only time for the defaults."""
        return self.seconds < LEAST_SECONDS

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.now() - self.started

    def left(self) -> float:
        """Seconds that are left for training."""
        return self.seconds - self.elapsed() - self.end_seconds

    def first_seconds(self) -> float:
        """The budget of the first trial."""
        return max(1.0, DEFAULTS_ALONE * self.left() if self.is_short else self.first * self.seconds)

    def evaluated(self, seconds: float, further: int) -> None:
        """Set time aside for `further` evaluations, after one has taken `seconds`."""
        factor, extra = END
        self.end_seconds = further * (factor * seconds + extra)

    def has_time_for_trial(self, seconds: float) -> bool:
        """Whether one more trial of that length fits."""
        return self.elapsed() + seconds <= TRIALS * self.seconds and self.has_time_for(seconds)

    def has_time_for(self, seconds: float) -> bool:
        """Whether a run that took that long fits before the end."""
        return LATE * seconds <= self.left()

    def deadline(self, seconds: float) -> float:
        """When a trial has to stop, on the clock `now`; `seconds` is what the first one took."""
        return self.now() + min(SLOW * seconds, self.left())
