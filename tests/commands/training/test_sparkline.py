"""Losses as a line of shapes."""

from __future__ import annotations

import math

import pytest

from nlpseq.commands.training.sparkline import Losses, sparkline


@pytest.mark.parametrize(
    ("values", "length", "shapes"),
    [
        ([], 8, ""),
        ([3.0], 8, "▁"),
        ([2.0, 2.0], 8, "▁▁"),
        ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 8, "█▇▆▅▄▃▂▁"),
        ([0.0, 2.0, 8.0, 8.0], 2, "▁█"),  # means 1 and 8
        ([0.0, 7.0, 7.0], 2, "▁█"),  # means 0 and 7
        ([-1.0, 6.0], 1, "▁"),
    ],
)
def test_the_lowest_and_the_highest_shape_are_the_extremes(values: list[float], length: int, shapes: str) -> None:
    assert sparkline(values, length) == shapes


@pytest.mark.parametrize("steps", [1, 255, 256, 257, 10_000])
def test_a_run_of_any_length_needs_the_same_memory(steps: int) -> None:
    losses = Losses()
    for step in range(steps):
        losses.add(float(step))
    assert len(losses.means) <= 256
    shown = losses.sparkline(8)
    assert shown == "".join(sorted(shown)) and len(shown) == min(8, steps)
    first = losses.steps  # steps in the first mean
    assert losses.means[0] == pytest.approx((first - 1) / 2)


def test_losses_that_are_not_finite_are_left_out() -> None:
    losses = Losses()
    for loss in (1.0, math.nan, math.inf, 2.0):
        losses.add(loss)
    assert losses.sparkline(8) == "▁█"
