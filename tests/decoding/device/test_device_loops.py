"""Circles noticed step by step, and those of many texts at once, against texts that are looked at alone."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.decoding.device.loops import DeviceLoops
from nlpseq.decoding.loops import has_loop, have_loops, loop_periods
from nlpseq.text.padding import side_by_side

TEXT = st.one_of(
    st.lists(st.integers(0, 2), min_size=1, max_size=80),
    st.builds(
        lambda before, part, times: before + part * times,
        st.lists(st.integers(0, 3), max_size=6),
        st.lists(st.integers(0, 5), min_size=1, max_size=18),
        st.integers(1, 18),
    ),
)


@given(TEXT)
@settings(max_examples=150, deadline=None)
def test_a_circle_is_noticed_in_the_step_that_closes_it(text: list[int]) -> None:
    loops = DeviceLoops(1, torch.zeros(1))
    rows = torch.zeros(1, dtype=torch.int64)
    for length in range(1, len(text) + 1):
        period = loops.add(rows, torch.tensor([text[length - 1]]))
        assert period.tolist() == [int(loop_periods(np.array(text[:length])))]


def test_hypotheses_take_their_past_along() -> None:
    loops = DeviceLoops(2, torch.zeros(1))
    for token in range(20):
        loops.add(torch.arange(2), torch.tensor([7, token]))
    assert loops.add(torch.tensor([1, 0]), torch.tensor([7, 7])).tolist() == [0, 1]
    loops.reset()
    assert loops.add(torch.arange(2), torch.tensor([7, 7])).tolist() == [0, 0]


@given(st.lists(TEXT, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_many_texts_are_looked_at_at_once(texts: list[list[int]]) -> None:
    arrays = [np.array(one) for one in texts]
    assert have_loops(*side_by_side(arrays)) == [has_loop(one) for one in arrays]
