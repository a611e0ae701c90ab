"""Texts with any number of labels: how they are written, which tables have them, and which texts are held out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.errors import CorpusError, OptionError
from nlpseq.text.tables import labelled_parts, stored_labelled, stored_rows
from nlpseq.text.tables.label_sets import (
    alike_labels,
    comma_separated,
    joined_labels,
    label_set,
    likely_separator,
    several_in_one,
    split_labels,
)
from nlpseq.text.tables.label_tables import LabelColumns, label_columns
from nlpseq.text.tables.labelled import LabelledTexts, label_names, read_labelled, repeated, shared
from nlpseq.text.tables.labelled_parts import split
from nlpseq.text.tables.stored_labelled import LabelledPart, StoredLabelled, count_repeats, store_parts

COMMA = LabelColumns(separator=",")
ROWS = st.lists(
    st.tuples(st.sets(st.sampled_from("abcd"), max_size=3), st.text("xyz ", min_size=1, max_size=3)),
    min_size=1,
    max_size=90,
)
EVERY = np.empty(0, np.int64)


def _read(path: Path, columns: LabelColumns | None = None) -> list[tuple[list[str], str]]:
    found = read_labelled([str(path)], columns)
    assert found.several
    return list(zip(found.sets(), found.texts, strict=True))


@pytest.mark.parametrize(
    ("name", "data", "columns"),
    [
        ("a.jsonl", '{"text": "x y", "labels": ["b", "a"]}\n{"text": "z", "labels": []}\n', None),
        ("a.jsonl", '{"text": "x y", "labels": "a, b"}\n{"text": "z", "labels": null}\n', COMMA),
        ("a.txt", "__label__b __label__a x y\n__label__ z\n", None),
        ("a.txt", "__label__b x __label__a y\n\nz\n", None),
        ("a.csv", 'label,text\n" b ,a,b,",x y\n,z\n', COMMA),
        ("a.tsv", "label\ttext\nb;a\tx y\n\tz\n", LabelColumns(separator=";")),
        ("a.tsv", "text\tlabel\nx y\tb | a\nz\t|\n", LabelColumns(separator="|")),
    ],
)
def test_each_format_has_its_way_to_write_several_labels(
    name: str, data: str, columns: LabelColumns | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(data)
    assert _read(tmp_path / name, columns) == [(["a", "b"], "x y"), ([], "z")]


def test_numbers_in_a_list_are_labels_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "label": [2, true, "2", null]}\n')
    assert _read(tmp_path / "a.jsonl") == [(["2", "true"], "x")]


def test_numbered_labels_in_lists_have_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["joy", "grief"])
    features = datasets.Features({"text": datasets.Value("string"), "labels": [label]})
    rows = {"text": ["x", "y", "z"], "labels": [[1, 0], [1], []]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    assert _read(tmp_path / "a.parquet") == [(["grief", "joy"], "x"), (["grief"], "y"), ([], "z")]


def test_a_label_in_quotes_may_hold_the_separator(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x", "label": 'sport, "news, local", say ""hi"", "a ""b"""'}))
    assert _read(tmp_path / "a.jsonl", COMMA) == [(['a "b"', "news, local", 'say ""hi""', "sport"], "x")]


@given(labels=st.lists(st.text('ab", ', min_size=1).map(str.strip).filter(bool), unique=True))
def test_what_is_written_with_commas_is_read_again(labels: list[str]) -> None:
    written = comma_separated(labels)
    assert split_labels(written, ",") == labels
    assert label_set(joined_labels("here", split_labels(written, ","))) == sorted(labels)


@given(labels=st.lists(st.text('ab",', min_size=1), min_size=1))
def test_quotes_are_those_of_csv(labels: list[str]) -> None:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow(labels)
    assert split_labels(line.getvalue(), ",") == labels


def test_labels_that_differ_in_capitals_and_spaces_are_alike() -> None:
    labels = ["refund", "late", "REFUND", " refund", "a  b", "A b", "lat"]
    assert alike_labels(labels) == [("refund", "REFUND"), ("refund", " refund"), ("a  b", "A b")]


@pytest.mark.parametrize("separator", ["", "a", '"', "1", "a\n"])
def test_a_separator_separates(separator: str) -> None:
    with pytest.raises(OptionError, match="label_separator: must be one or more characters other than letters"):
        label_columns(None, None, separator)


def test_one_label_a_text_stays_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,text\n"a, b",x\n,y\n')
    found = read_labelled([str(tmp_path / "a.csv")])
    assert (found.several, found.labels, found.blank) == (False, ["a, b"], 1)


def test_a_stray_list_is_refused_and_the_hint_helps(tmp_path: Path) -> None:
    lines = [json.dumps({"label": "a", "text": str(number)}) for number in range(1200)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*lines, '{"label": ["b", "c"], "text": "x"}']) + "\n")
    with pytest.raises(
        CorpusError, match=r"a.jsonl:1201: it has a list of 2 labels, but other texts have one"
    ) as refused:
        read_labelled([str(path)])
    assert "--label-separator ';'" in refused.value.hint
    assert _read(path, LabelColumns(separator=";"))[-1] == (["b", "c"], "x")
    path.write_text("\n".join([*lines[:999], '{"label": ["b", "c"], "text": "x"}']) + "\n")
    assert _read(path)[-1] == (["b", "c"], "x"), "a list among the first thousand rows tells"
    (tmp_path / "b.txt").write_text("__label__a x\n" * 1000 + "__label__b __label__c x\n")
    with pytest.raises(CorpusError, match=r"b.txt:1001: it has a list of 2 labels") as refused:
        read_labelled([str(tmp_path / "b.txt")], several=False)
    assert refused.value.hint == "keep one of the labels"


def test_the_first_table_tells_for_all(tmp_path: Path) -> None:
    (tmp_path / "lists.jsonl").write_text('{"label": ["a", "b"], "text": "x"}\n')
    (tmp_path / "plain.tsv").write_text("label\ttext\na\ty\n\tz\n")
    both = read_labelled([str(tmp_path / name) for name in ("lists.jsonl", "plain.tsv")])
    assert list(both.sets()) == [["a", "b"], ["a"], []]
    with pytest.raises(CorpusError, match=r"lists.jsonl:1: it has a list of 2 labels"):
        read_labelled([str(tmp_path / name) for name in ("plain.tsv", "lists.jsonl")])


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (["a\tb"], "has a tab"),
        (["a\nb"], "has a tab or a line end"),
        (["x" * 300], "its label has 300 characters"),
        ([{"a": 1}], "its label must be one label"),
    ],
)
def test_labels_in_lists_are_checked(label: list[object], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"label": label, "text": "x"}) + "\n")
    with pytest.raises(CorpusError, match=said):
        read_labelled([str(tmp_path / "a.jsonl")])


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["a"] * 30, "needs texts with a label and texts without it, but all 30 have 'a'"),
        ([""] * 30, "needs texts with a label and texts without it, but none has a label"),
        (["a", ""] * 5, "needs at least 20 texts"),
        ([f"{number}" for number in range(30)], "30 different labels for 30 texts"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(sets: list[str], said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        label_names(LabelledTexts(sets, sets, sets, several=True), "a")


def test_one_label_is_enough_if_it_is_not_everywhere() -> None:
    sets = ["a", ""] * 10
    assert label_names(LabelledTexts(sets, sets, sets, several=True), "a") == ["a"]


def test_no_label_loses_its_last_text() -> None:
    texts = LabelledTexts(several=True)
    for number in range(400):
        rare = f"\tr{number // 2}" if number < 60 else ""
        texts.add(f"common{rare}", f"text {number}", "")
    train, valid = split(texts)
    assert len(valid) == 40 and len(train) == 360
    assert set(train.counts) == set(texts.counts)
    assert Counter(train.counts) + Counter(valid.counts) == texts.counts
    ranks = sorted(range(400), key=lambda number: labelled_parts.text_rank(f"text {number}"))
    expected = {f"text {number}" for number in ranks[:40] if number >= 60}
    assert expected <= set(valid.texts)


def test_texts_that_hold_all_labels_together_are_not_split() -> None:
    texts = LabelledTexts(several=True)
    for number in range(20):
        texts.add(f"a\tb\tr{number}", f"text {number}", "")
    with pytest.raises(CorpusError, match="no text can be held out") as refused:
        split(texts)
    assert "--valid FILE" in refused.value.hint


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "BLOCK_NUMBERS", 7)
        patch.setattr(stored_rows, "BLOCK_ROWS", 5)
        patch.setattr(stored_labelled, "PART", 10)
        patch.setattr(labelled_parts, "FURTHER", 5)
        yield


def _both(rows: list[tuple[set[str], str]], folder: Path) -> tuple[LabelledTexts, StoredLabelled]:
    kept, stored = LabelledTexts(several=True), StoredLabelled(folder, several=True)
    for number, (labels, text) in enumerate(rows):
        for texts in (kept, stored):
            texts.add("\t".join(sorted(labels)), text, f"t:{number}")
    return kept, stored


def _assert_same(part: LabelledPart, kept: LabelledTexts) -> None:
    assert (list(part.labels), list(part.texts)) == (kept.labels, kept.texts)
    assert part.counts == kept.counts and part.sha256 == kept.sha256 and len(part) == len(kept)


@given(rows=ROWS)
def test_the_same_texts_are_held_out_of_files(
    rows: list[tuple[set[str], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept, stored = _both(rows, tmp_path_factory.mktemp("rows"))
    try:
        train, valid = split(kept)
    except CorpusError:
        with pytest.raises(CorpusError, match="no text can be held out"):
            stored.held_out()
        return
    held_out = stored.held_out()
    _assert_same(LabelledPart(stored, held_out, is_held_out=False), train)
    _assert_same(LabelledPart(stored, held_out, is_held_out=True), valid)
    same, contradicting = repeated(kept)
    part = LabelledPart(stored, EVERY, is_held_out=False)
    assert count_repeats(part, part) == (len(same), len(contradicting), len(shared(kept, kept)))


def test_validation_texts_may_have_one_label_each(tmp_path: Path) -> None:
    lists = [json.dumps({"label": ["a", "b"][: number % 3], "text": f"t {number}"}) for number in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(lists) + "\n")
    (tmp_path / "b.tsv").write_text("label\ttext\na\tx\n\ty\n")
    _, valid = store_parts([str(tmp_path / "a.jsonl")], [str(tmp_path / "b.tsv")], tmp_path, None)
    assert list(valid.labels) == ["a", ""]


@pytest.mark.parametrize(
    ("labels", "separator"),
    [
        (["sea,cats", "sea", "cats"], ","),
        (["sea; cats", "dogs; sea", "cats; dogs"], ";"),
        (["a|b", "b|c", "a|c", "c|d", "d|a"], "|"),
        (["good", "bad"], None),
        (["Bosnia, Herzegovina", "Trinidad, Tobago", "France"], None),
        (["Seattle, WA", "Tacoma, WA", "Spokane, WA"], None),
        ([",", ",,"], None),
        ([], None),
    ],
)
def test_labels_of_the_same_parts_look_like_several(labels: list[str], separator: str | None) -> None:
    assert likely_separator(labels) == separator


def test_labels_that_look_like_several_are_told() -> None:
    labels = ["sea,cats", "sea", "cats", "sea,dogs", "cats,dogs"]
    told = ("3 of 5 labels look like several, such as 'sea,cats'", "--label-separator ,")
    assert several_in_one(labels) == told
    assert several_in_one(["sea|cats", "sea", "cats"]) == (
        "1 label looks like several: 'sea|cats'",
        "--label-separator '|'",
    )
    assert several_in_one(["a", "b"]) is None


def test_a_separator_that_is_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("label\ttext\nsea;cats\tone\ncats\ttwo\n")
    (tmp_path / "b.tsv").write_text("label\ttext\nsea,cats\tone\ncats\ttwo\n")
    said = "no row has several labels with ',' between them"
    assert any(said in note for note in read_labelled([str(tmp_path / "a.tsv")], COMMA).notes)
    assert not any(said in note for note in read_labelled([str(tmp_path / "b.tsv")], COMMA).notes)
    assert not any("no row" in note for note in read_labelled([str(tmp_path / "b.tsv")]).notes)
