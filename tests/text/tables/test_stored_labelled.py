"""Labelled texts in temporary files, against the same texts in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.tables import labelled_parts, stored_labelled, stored_rows
from nlpseq.text.tables.labelled import LabelledTexts, repeated, shared
from nlpseq.text.tables.labelled_parts import read_parts, split
from nlpseq.text.tables.stored_labelled import LabelledPart, StoredLabelled, count_repeats, store_parts

ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.text("xyz ", min_size=1, max_size=3)), min_size=1, max_size=90)
EVERY = np.empty(0, np.int64)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BLOCK_NUMBERS", 7)
        patch.setattr(stored_rows, "BLOCK_ROWS", 5)
        patch.setattr(stored_labelled, "PART", 10)
        yield


def _both(rows: list[tuple[str, str]], folder: Path) -> tuple[LabelledTexts, StoredLabelled]:
    kept, stored = LabelledTexts(), StoredLabelled(folder)
    for number, (label, text) in enumerate(rows):
        kept.add(label, text, f"t:{number}")
        stored.add(label, text, f"t:{number}")
    return kept, stored


def _assert_same(part: LabelledPart, kept: LabelledTexts) -> None:
    names = part.names
    assert [names[number] for number in part.numbers] == kept.labels and list(part.texts) == kept.texts
    assert list(part.counts.items()) == list(kept.counts.items()), "in the order of their first texts"
    assert part.sha256 == kept.sha256 and len(part) == len(kept)


@given(rows=ROWS, most=st.integers(1, 30))
def test_the_same_texts_are_held_out(
    rows: list[tuple[str, str]], most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept, stored = _both(rows, tmp_path_factory.mktemp("rows"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled_parts, "MOST_HELD_OUT", most)
        train, valid = split(kept)
        held_out = stored.held_out()
    _assert_same(LabelledPart(stored, held_out, is_held_out=False), train)
    _assert_same(LabelledPart(stored, held_out, is_held_out=True), valid)
    _assert_same(LabelledPart(stored, EVERY, is_held_out=False), kept)


@given(rows=ROWS, others=ROWS)
def test_the_same_repetitions_are_counted(
    rows: list[tuple[str, str]], others: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (kept, stored), (other_kept, other_stored) = _both(rows, folder), _both(others, folder)
    parts = (LabelledPart(texts, EVERY, is_held_out=False) for texts in (stored, other_stored))
    same, contradicting = repeated(kept)
    assert count_repeats(*parts) == (len(same), len(contradicting), len(shared(kept, other_kept)))


def _table(folder: Path, name: str, labels: str, rows: int) -> str:
    path = folder / name
    lines = [{"label": labels[row % len(labels)], "text": f" text {row % 40}\ud800" * (row % 7)} for row in range(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize("has_valid", [False, True])
def test_parts_are_those_that_are_read_into_memory(has_valid: bool, tmp_path: Path) -> None:
    names = [_table(tmp_path, "a.jsonl", "ba", 60), _table(tmp_path, "b.jsonl", "cab", 90)]
    valid = [_table(tmp_path, "c.jsonl", "acc", 50)] if has_valid else []
    stored, kept = store_parts(names, valid, tmp_path, None), read_parts(names, valid, None)
    for part, texts in zip(stored, kept, strict=True):
        _assert_same(part, texts)
        assert (part.blank, part.notes) == (texts.blank, texts.notes)
    assert stored[0].blank > 0


@pytest.mark.parametrize(
    ("labels", "rows", "valid", "known"),
    [
        ("a", 60, "", None),
        ("ab", 16, "", None),
        ("abc", 60, "abx", None),
        ("abx", 60, "", "ab"),
        ("ab", 60, "ac", "ab"),
    ],
)
def test_what_is_refused_is_refused_in_the_same_words(
    labels: str, rows: int, valid: str, known: str | None, tmp_path: Path
) -> None:
    names = [_table(tmp_path, "a.jsonl", labels, rows)]
    others = [_table(tmp_path, "b.jsonl", valid, 30)] if valid else []
    with pytest.raises(CorpusError) as expected:
        read_parts(names, others, None, known)
    with pytest.raises(CorpusError) as refused:
        store_parts(names, others, tmp_path, None, known)
    assert str(refused.value) == str(expected.value) and refused.value.where == expected.value.where
