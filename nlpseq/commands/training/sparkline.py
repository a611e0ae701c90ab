"""The course of a loss in one line of eight shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

SHAPES = "▁▂▃▄▅▆▇█"
MOST = 256  # means that are kept


class Losses:
    """The losses of a run so far, as means of equally many steps; they need the same memory however long it is."""

    def __init__(self) -> None:
        self.means: list[float] = []
        self.steps = 1  # in a mean
        self._sum, self._count = 0.0, 0

    def add(self, loss: float) -> None:
        """Add the loss of a step; one that is not finite is left out."""
        if not math.isfinite(loss):
            return
        self._sum, self._count = self._sum + loss, self._count + 1
        if self._count < self.steps:
            return
        self.means.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self.means) == MOST:
            self.means = [(first + second) / 2 for first, second in zip(*[iter(self.means)] * 2, strict=True)]
            self.steps *= 2

    def sparkline(self, length: int) -> str:
        """The losses in at most `length` shapes, the smallest as the lowest and the largest as the highest."""
        return sparkline(self.means, length)


def sparkline(values: Sequence[float], length: int) -> str:
    """Values in at most `length` shapes, each the mean of neighbours; "" for none."""
    count = min(length, len(values))
    bounds = [len(values) * index // count for index in range(count + 1)] if count else []
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(bounds)]
    if not means:
        return ""
    lowest, extent = min(means), max(means) - min(means)
    return "".join(SHAPES[int((mean - lowest) / extent * (len(SHAPES) - 1) + 0.5) if extent else 0] for mean in means)
