"""Seeded faults in labelled texts are found, with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpseq.text.checks import label_counts, labels
from nlpseq.text.checks.finding import Finding
from nlpseq.text.checks.labels import check_labelled


def _write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows))
    return str(path)


ROWS = [("ab"[place % 2], f"text number {place}") for place in range(100)]


def _check(tmp_path: Path, rows: list[tuple[str, str]], against: list[tuple[str, str]] | None = None) -> list[Finding]:
    other = [] if against is None else [_write(tmp_path / "other.tsv", against)]
    return check_labelled([_write(tmp_path / "a.tsv", rows)], against=other)


def test_sound_texts_have_no_fault(tmp_path: Path) -> None:
    (only,) = _check(tmp_path, ROWS)
    assert only.level == "note" and only.what.startswith("100 texts,") and "'a' 50 (50.0%), 'b' 50 (50.0%)" in only.what


@pytest.mark.parametrize(
    ("rows", "against", "level", "line", "said"),
    [
        ([("a", text) for _, text in ROWS], None, "fault", 0, "at least two labels"),
        ([*ROWS, ROWS[0]], None, "note", 102, "1 of 101 texts (1.0%) were there before"),
        ([*ROWS, ("b", ROWS[0][1])], None, "note", 102, "were there before with another label"),
        ([*ROWS, *[("b", text) for _, text in ROWS[:10:2]]], None, "fault", 102, "before with another label"),
        ([*ROWS, ("label", "text again")], None, "note", 102, "the label 'label' is seen once"),
        ([*ROWS, ("A", "one"), ("A", "two")], None, "note", 102, "'a' and 'A' are two labels"),
        ([*ROWS, ("a", " ")], None, "note", 0, "1 row has a blank label or text"),
        ([*ROWS, ("a", "x" * 30_000)], None, "note", 102, "have more than 20,000 characters"),
        ([*ROWS, *[("c", f"c {n}") for n in range(600)]], None, "note", 0, "12 times as many texts of 'c' as of 'b'"),
        (ROWS, ROWS[5:10], "fault", 7, "100.0% of the texts of"),
        (ROWS, [("c", "new"), ("a", "newer")], "fault", 0, "has labels that are not here: c"),
    ],
)
def test_seeded_faults_are_found(
    tmp_path: Path, rows: list[tuple[str, str]], against: list[tuple[str, str]] | None, level: str, line: int, said: str
) -> None:
    found = [one for one in _check(tmp_path, rows, against)[1:] if said in one.what]
    assert [(one.level, one.line) for one in found] == [(level, line)]


def test_what_cannot_be_read_is_a_fault_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("label\ttext\na\tb\nonly\n")
    (found,) = check_labelled([str(tmp_path / "a.tsv")])
    assert (found.level, found.line) == ("fault", 3)
    assert found.what == "it must have 2 columns, like the first row, but has 1"


def test_texts_that_are_not_in_the_test_text_are_said(tmp_path: Path) -> None:
    found = _check(tmp_path, ROWS, [("a", "new"), ("b", "newer")])
    assert [one.what for one in found[1:]] == [f"none of the texts of {tmp_path / 'other.tsv'} is here too"]


def test_labels_without_end_are_counted_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (label_counts, labels):
        monkeypatch.setattr(module, "MOST_COUNTED", 60)
    rows = [(f"label {number}", f"text {number}") for number in range(100)]
    what = [finding.what for finding in _check(tmp_path, rows, rows[50:70])]
    assert "only the first 60 different labels are counted; 40 texts have others" in what
    assert not any("labels that are not here" in each for each in what)


def test_labels_that_look_like_several_are_noted(tmp_path: Path) -> None:
    names = ["sea,cats", "cats", "sea", "dogs,sea", "dogs"]
    found = _check(tmp_path, [(names[place % 5], f"text number {place}") for place in range(100)])
    (note,) = [each for each in found if each.hint == "--label-separator ,"]
    assert (note.level, note.what) == ("note", "2 of 5 labels look like several, such as 'sea,cats'")


def test_an_emoji_of_several_characters_is_shown(tmp_path: Path) -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    found = _check(tmp_path, [((family, "\u202eb")[place % 2], f"text number {place}") for place in range(100)])
    assert f"'{family}' 50 (50.0%), '\\u202eb' 50 (50.0%)" in found[0].what
