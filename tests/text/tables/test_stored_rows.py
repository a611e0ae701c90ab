"""Texts and numbers in temporary files, against lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.errors import RunError
from nlpseq.text.tables import stored_rows
from nlpseq.text.tables.stored_rows import StoredNumbers, StoredTexts

TEXT = st.text(st.characters(exclude_characters="\n"), max_size=6)  # lone surrogates too


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BLOCK_ROWS", 4)
        patch.setattr(stored_rows, "BLOCK_CHARACTERS", 12)
        patch.setattr(stored_rows, "BLOCK_NUMBERS", 4)
        yield


def _stored(texts: list[str], folder: Path) -> StoredTexts:
    stored = StoredTexts(folder)
    for text in texts:
        stored.append(text)
    return stored


@given(texts=st.lists(TEXT, max_size=20), first=st.integers(0, 20), last=st.integers(0, 20))
def test_texts_are_those_of_a_list(
    texts: list[str], first: int, last: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stored = _stored(texts, tmp_path_factory.mktemp("rows"))
    assert list(stored) == texts and len(stored) == len(texts)
    part, expected = stored[first:last], texts[first:last]
    assert list(part) == expected and len(part) == len(expected)
    assert list(part[1:]) == expected[1:] and part[:-1][:] is not part
    assert [part[index] for index in range(len(part))] == expected
    assert not texts or stored[-1] == texts[-1]


def test_readings_may_take_turns_and_texts_be_added_between_them(tmp_path: Path) -> None:
    stored = _stored([str(number) for number in range(30)], tmp_path)
    other = _stored([str(-number) for number in range(30)], tmp_path)
    both = list(zip(stored, stored[10:], other, strict=False))
    assert both == [(str(number), str(number + 10), str(-number)) for number in range(20)]
    for number in range(30, 40):
        stored.append(str(number))
    assert list(stored) == [str(number) for number in range(40)]


def test_the_files_have_no_name(tmp_path: Path) -> None:
    stored = _stored(["text"] * 100, tmp_path)
    assert os.listdir(tmp_path) == [] or os.name == "nt"
    del stored
    assert os.listdir(tmp_path) == []


@given(numbers=st.lists(st.integers(0, 2**64 - 1), max_size=15))
def test_numbers_are_those_of_a_list(numbers: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    stored = StoredNumbers(tmp_path_factory.mktemp("rows"), "Q")
    for number in numbers:
        stored.append(number)
    blocks = list(stored.blocks())
    assert [number for block in blocks for number in block.tolist()] == numbers and len(stored) == len(numbers)
    assert all(len(block) == 4 and block.dtype == np.uint64 for block in blocks[:-1])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be kept there.*\n?.*") as refused:
        StoredTexts(tmp_path / "missing")
    assert "--out" in refused.value.hint
