"""Loops are noticed where they are, against a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.decoding.loops import LONGEST_PERIOD, copies, has_loop, loop_periods, without_repeats

TEXTS = st.lists(st.integers(0, 2), max_size=70)


def _period(tokens: list[int]) -> int:
    """The shortest period of a loop at the end of a text, counted copy by copy."""
    for period in range(1, LONGEST_PERIOD + 1):
        one = tokens[-period:]
        if len(tokens) >= period * copies(period) and tokens[-period * copies(period) :] == one * copies(period):
            return period
    return 0


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.integers(1, 30), TEXTS)
def test_the_end_of_a_text_is_a_loop_or_not(unit: list[int], times: int, before: list[int]) -> None:
    tokens = before + unit * times
    assert loop_periods(np.array([tokens, tokens])).tolist() == [_period(tokens)] * 2
    anywhere = any(_period(tokens[:stop]) for stop in range(1, len(tokens) + 1))
    assert has_loop(np.array(tokens)) == anywhere


@pytest.mark.parametrize("unit", [[1], [1, 2], [5, 4, 3, 2, 1]])
def test_a_loop_is_gone_through_once(unit: list[int]) -> None:
    tokens = [9, 8] + unit * 20
    period = int(loop_periods(np.array(tokens)))
    assert period == len(unit)
    assert without_repeats(tokens, period) == [9, 8, *unit]


def test_a_few_repeats_are_no_loop() -> None:
    assert not has_loop(np.array([7, 1, 1, 1, 2, 3, 2, 3, 2, 3]))
    assert not has_loop(np.array([], np.int64))
