"""Texts side by side, and which of them go together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.text.padding import side_by_side, together
from nlpseq.text.tokenisers import NEWLINE


def test_columns_end_in_newlines() -> None:
    columns, lengths = side_by_side([np.array([1, 2, 3]), np.array([4])])
    assert columns.T.tolist() == [[1, 2, 3], [4, NEWLINE, NEWLINE]] and lengths.tolist() == [3, 1]


@given(
    st.lists(st.integers(1, 60), max_size=60),
    st.one_of(st.none(), st.integers(1, 200)),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_groups_hold_every_text_once_and_no_more_than_they_may(
    lengths: list[int], tokens: int | None, texts: int | None
) -> None:
    sizes = np.array(lengths, np.int64)
    groups = list(together(sizes, tokens, texts))
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    for group in groups:
        assert texts is None or len(group) <= texts
        assert tokens is None or sizes[group].max() * len(group) <= tokens or len(group) == 1
    for group, following in pairwise(groups):
        larger = len(group) + 1
        fits = tokens is None or larger * sizes[following[0]] <= tokens
        assert not fits or larger > (texts or len(lengths)), "a text more had room"


@pytest.mark.parametrize("texts", [None, 4])
def test_texts_of_one_length_keep_their_order(texts: int | None) -> None:
    assert np.concatenate(list(together(np.full(9, 5), None, texts))).tolist() == list(range(9))
