"""Labelled texts: every format gives the same, columns are found or named, and what is held out is held out again."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import (
    LabelledTexts,
    check_known,
    label_names,
    read_labelled,
    repeated,
    shared,
)
from nlpseq.text.tables.labelled_parts import read_parts, split

ROWS = [
    ("good", 'A "fine", long film'),
    ("bad", "No,\twell: dull"),
    ("good", "Größe, 好, \U0001f600"),
    ("bad", "so so"),
]
PLAIN = [(label, text.replace("\t", " ")) for label, text in ROWS]


def _csv(rows: list[tuple[str, str]]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()


def _tsv(rows: list[tuple[str, str]]) -> str:
    return "".join(f"{label}\t{text}\n" for label, text in rows)


def _jsonl(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"id": 1, "text": text, "label": label}) + "\n" for label, text in rows)


def _fasttext(rows: list[tuple[str, str]]) -> str:
    return "".join(f"__label__{label} {text}\n" for label, text in rows)


FORMATS: dict[str, tuple[Callable[[list[tuple[str, str]]], str], list[tuple[str, str]]]] = {
    "a.tsv": (_tsv, PLAIN),
    "headed.tsv": (lambda rows: "label\ttext\n" + _tsv(rows), PLAIN),
    "a.csv": (_csv, ROWS),
    "headed.csv": (lambda rows: "label,text\n" + _csv(rows), ROWS),
    "a.jsonl": (_jsonl, ROWS),
    "a.txt": (_fasttext, ROWS),
    "bom.tsv": (lambda rows: "\ufefflabel\ttext\n" + _tsv(rows), PLAIN),
    "crlf.tsv": (lambda rows: ("label\ttext\n" + _tsv(rows)).replace("\n", "\r\n"), PLAIN),
    "blank_lines.tsv": (lambda rows: "\n" + _tsv(rows).replace("\n", "\n\n"), PLAIN),
}


def _read(path: Path, **columns: str) -> list[tuple[str, str]]:
    found = read_labelled([str(path)], LabelColumns(**columns))
    return list(zip(found.labels, found.texts, strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_texts(name: str, tmp_path: Path) -> None:
    write, rows = FORMATS[name]
    (tmp_path / name).write_bytes(write(rows).encode())
    assert _read(tmp_path / name) == rows


def test_a_compressed_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(_tsv(PLAIN).encode()))
    assert _read(tmp_path / "a.tsv.gz") == PLAIN


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    for place, (label, text) in enumerate(ROWS):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{place}.txt").write_text(text.replace(" ", "\n", 1) + "\n")
    (tmp_path / "good" / "empty.txt").write_text("")
    found = read_labelled([str(tmp_path)])
    assert sorted(zip(found.labels, found.texts, strict=True)) == sorted(ROWS)
    assert found.blank == 1 and found.origins[0].endswith("bad/1.txt")


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    labels, texts = zip(*ROWS, strict=True)
    parquet.write_table(pyarrow.table({"review": texts, "sentiment": labels}), tmp_path / "a.parquet")
    assert _read(tmp_path / "a.parquet") == ROWS


def test_numbered_labels_have_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = {"text": ["a fine film", "a dull one", "nobody knows"], "label": [1, 0, -1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    assert _read(tmp_path / "a.parquet") == [("good", "a fine film"), ("bad", "a dull one")]


@pytest.mark.parametrize(
    ("table", "columns", "rows"),
    [
        ("id\tlabel\trating\ttext\nx\t1\t9\tfine\n", {}, [("1", "fine")]),
        ("Sentence\tSentiment\nfine film\t1\n", {}, [("1", "fine film")]),
        ("label\ttext_a\n1\tfine\n", {}, [("1", "fine")]),
        ("label\twords\n1\tfine\n", {}, [("1", "fine")]),
        ("a fine film\tgood\na dull film\tbad\nanother film\tgood\n", {}, [("good", "a fine film")]),
        ("mood\tid\twords\nup\t1\tfine\n", {"label": "mood", "text": "words"}, [("up", "fine")]),
        ("up\t1\tfine\n", {"label": "1", "text": "3"}, [("up", "fine")]),
        ("up\tfine\n", {"label": "1"}, [("up", "fine")]),
        ("label\tmood\ttext\n1\tup\tfine\n", {"label": "mood"}, [("up", "fine")]),
    ],
)
def test_columns_are_found_or_named(
    table: str, columns: dict[str, str], rows: list[tuple[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "a.tsv").write_text(table)
    assert _read(tmp_path / "a.tsv", **columns)[: len(rows)] == rows


@pytest.mark.parametrize(
    ("name", "table", "hint"),
    [
        ("a.csv", "id,folder,body\n1,in,fine film\n2,in,dull film\n", "--label-column folder --text-column body"),
        ("a.csv", "label,x,words\n1,2,fine film\n1,3,dull film\n", "--label-column label --text-column words"),
        ("a.csv", "body,id,in\nfine,1,x\ndull,2,x\n", "--label-column in --text-column body"),
        ("a.jsonl", '{"id": 1, "my label": "in", "body": "fine"}\n', "--label-column 'my label' --text-column body"),
        ("a.jsonl", '{"label": 1, "n": 3, "words": "a fine film"}\n', "--label-column label --text-column words"),
    ],
)
def test_the_hint_for_unknown_columns_can_be_typed(name: str, table: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(table)
    with pytest.raises(CorpusError, match=r"no column is known as its (label|text), only") as refused:
        read_labelled([str(tmp_path / name)])
    assert refused.value.hint == hint
    _, label, _, text = shlex.split(hint)
    assert read_labelled([str(tmp_path / name)], LabelColumns(label, text), several=True).texts


@pytest.mark.parametrize(
    ("name", "data", "columns", "said"),
    [
        ("a.tsv", "label\ttext\n1\n", {}, "a.tsv:2: it must have 2 columns, like the first row, but has 1"),
        ("a.tsv", "label\ttext\n1\tx\ty\n", {}, "a.tsv:2: it must have 2 columns, like the first row, but has 3"),
        ("a.csv", "label,text\n1,so, so\n", {}, "a.csv:2: it must have 2 columns, like the first row, but has 3"),
        ("a.tsv", "only\n", {}, "a.tsv:1: it must have a label and a text, but has one column"),
        ("a.tsv", "x\ty\tz\n1\t2\t3\n", {}, "it is unclear which of its 3 columns is the label"),
        ("a.tsv", "label\tx\ty\n1\t2\t3\n", {}, "no column is known as its text, only label, x, y"),
        ("a.tsv", "label\ttext\n1\tx\n", {"label": "mood"}, "it has no column `mood`, only label, text"),
        ("a.tsv", "label\ttext\n1\tx\n", {"label": "text", "text": "text"}, "label and text cannot be one column"),
        ("a.csv", 'label,text\n1,"open\n', {}, "a.csv:2: it is not CSV"),
        ("a.csv", 'label,text\n1,"a"b"\n', {}, "a.csv:2: it is not CSV"),
        ("a.csv", 'label,text\n"a\tb",c\n', {}, "has a tab or a line end"),
        ("a.csv", f"label,text\n{'x' * 300},c\n", {}, "its label has 300 characters"),
        ("a.jsonl", '{"label": 1}\n', {}, "no column is known as its text, only label"),
        ("a.jsonl", '{"label": 1, "text": "x"}\n{"text": "x"}\n', {}, "a.jsonl:2: it has no column `label`, only text"),
        ("a.jsonl", '{"label": 1, "text": "x"}\n{"label": 1, "text": 3}\n', {}, "its text is not text: 3"),
        ("a.jsonl", '{"label": {"a": 1}, "text": "x"}\n', {}, "its label must be one label, but is {"),
        ("a.jsonl", '{"label": [[1]], "text": "x"}\n', {}, "its labels must be a list of labels, but are [[1]]"),
        ("a.tsv", "label\ttext\n\x1b[31mred\tx\n", {}, "has a control character"),
        ("a.jsonl", "[]\n", {}, "it is a JSON array"),
        ("a.jsonl", "{\n", {}, "it is not JSON"),
        ("a.txt", "no label\n", {}, "it is not a table: its first line has no tab and no `__label__`"),
        ("a.txt", "__label__a x\nno label\n", {}, "a.txt:2: it must start with a label, as in `__label__good`"),
        ("a.txt", "__label__a x\n", {"label": "mood"}, "it has no column `mood`, only label, text"),
        (
            "a.tsv",
            "label\ttext\n\tx\n1\t \n",
            {},
            "it has no text with a label, only 2 rows with a blank label or text",
        ),
        ("a.tsv", "", {}, "it is empty"),
    ],
)
def test_what_is_no_such_table_is_refused(
    name: str, data: str, columns: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(data)
    with pytest.raises(CorpusError) as refused:
        _read(tmp_path / name, **columns)
    assert said in str(refused.value)


def test_labels_may_be_numbers_and_hold_commas(tmp_path: Path) -> None:
    objects = [{"label": 1, "text": "a"}, {"label": True, "text": "b"}, {"label": "x, y", "text": "c"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in objects))
    assert _read(tmp_path / "a.jsonl") == [("1", "a"), ("true", "b"), ("x, y", "c")]


def test_labels_are_sorted_numbers_by_size() -> None:
    labels = [str(number) for number in (10, 9, 2, 1)] * 10
    assert label_names(LabelledTexts(labels, labels, labels), "a") == ["1", "2", "9", "10"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [(["a"] * 30, "needs texts of at least two labels"), (["a", "b"], "needs at least 20 texts")],
)
def test_what_cannot_be_learned_from_is_refused(labels: list[str], said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        label_names(LabelledTexts(labels, labels, labels), "a")
    many = [str(number) for number in range(40)]
    with pytest.raises(CorpusError, match="40 different labels for 40 texts"):
        label_names(LabelledTexts(many, many, many), "a")


texts = st.lists(st.tuples(st.sampled_from("abc"), st.text("xyz ", min_size=1, max_size=4)), min_size=1, max_size=80)


@given(texts, st.randoms())
def test_what_is_held_out_depends_on_the_texts_alone(rows: list[tuple[str, str]], random: object) -> None:
    def held_out(some: list[tuple[str, str]]) -> list[tuple[str, str]]:
        labels, words = zip(*some, strict=True)
        train, valid = split(LabelledTexts(list(labels), list(words), [""] * len(some)))
        assert len(train) + len(valid) == len(some)
        return sorted(zip(valid.labels, (text.strip() for text in valid.texts), strict=True))

    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert held_out(rows) == held_out(shuffled)


def test_a_tenth_of_each_label_is_held_out() -> None:
    labels = ["often"] * 900 + ["rarely"] * 90 + ["twice"] * 2 + ["once"]
    train, valid = split(LabelledTexts(labels, [f"text {place}" for place in range(993)], labels))
    assert valid.counts == {"often": 90, "rarely": 9, "twice": 1}
    assert train.counts == {"often": 810, "rarely": 81, "twice": 1, "once": 1}


def test_texts_may_hold_what_no_utf8_holds(tmp_path: Path) -> None:
    lines = [json.dumps({"label": "ab"[place % 2], "text": f"{place} \ud800 \udc41 \0"}) for place in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    train, valid = read_parts([str(tmp_path / "a.jsonl")], [], None)
    assert (len(train), len(valid)) == (26, 4) and train.sha256 != valid.sha256


def test_blank_rows_are_counted_where_some_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("label\ttext\n" + "a\tx\nb\ty\n\tz\n" * 20)
    train, valid = read_parts([str(tmp_path / "a.tsv")], [], None)
    assert (train.blank, valid.blank, len(train) + len(valid)) == (20, 0, 40)


def test_equal_texts_are_found() -> None:
    some = LabelledTexts(["a", "b", "a", "b"], ["x", "x ", "x", "y"], [""] * 4)
    assert repeated(some) == ([2], [1])
    assert shared(some, LabelledTexts(["a"], [" y"], [""])) == [3]


def test_parts_are_read_together_and_their_labels_agree(tmp_path: Path) -> None:
    for name, labels in (("train.tsv", "ab"), ("valid.tsv", "ab"), ("other.tsv", "ac")):
        rows = [(labels[place % 2], f"text {place}") for place in range(30)]
        (tmp_path / name).write_text("label\ttext\n" + _tsv(rows))
    train, valid = read_parts([str(tmp_path / "train.tsv")], [str(tmp_path / "valid.tsv")], None)
    assert (len(train), len(valid)) == (30, 30)
    check_known(valid, ["a", "b"])
    with pytest.raises(
        CorpusError, match=r"other.tsv:3: training had no such labels: 'c' \(15 texts\); known are 'a', 'b'"
    ):
        read_parts([str(tmp_path / "train.tsv")], [str(tmp_path / "other.tsv")], None)


@given(st.lists(st.tuples(st.sampled_from(["up", "down, or so"]), st.text(min_size=1)), min_size=1))
def test_csv_keeps_every_text(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    odd = "\0\r"  # which no corpus may hold, or which a line may end with
    rows = [("up", "start"), *((label, "".join("?" if one in odd else one for one in text)) for label, text in rows)]
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(("label,text\n" + _csv(rows)).encode("utf-8", "replace"))
    expected = [
        (label, text.replace("\n", " ").encode("utf-8", "replace").decode()) for label, text in rows if text.strip()
    ]
    assert _read(path) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,verdict,comment\n1,good,a nice film\n2,bad,a dull film\n3,good,fine it is\n"),
        (
            "a.jsonl",
            '{"id": 1, "verdict": "good", "comment": "a nice film"}\n{"id": 2, "verdict": "good", "comment": "b"}',
        ),
    ],
)
def test_a_missing_column_is_answered_with_the_likely_ones(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match="it has no column `0`, only id, verdict, comment") as refused:
        read_labelled([str(tmp_path / name)], LabelColumns("0"))
    assert refused.value.hint == "--label-column verdict --text-column comment"


def test_an_unknown_header_is_answered_with_the_likely_columns(tmp_path: Path) -> None:
    rows = [f"{number}\t{'ab'[number % 2]}\ta text {number}\n" for number in range(5)]
    (tmp_path / "a.tsv").write_text("".join(rows))
    with pytest.raises(CorpusError, match="which of its 3 columns is the label") as refused:
        read_labelled([str(tmp_path / "a.tsv")])
    assert refused.value.hint.startswith("--label-column 2 --text-column 3")


def test_pairs_are_no_labelled_texts(tmp_path: Path) -> None:
    path = tmp_path / "my pairs.tsv"
    path.write_text("".join(f"text {number}\tTextzeile {number}\n" for number in range(30)))
    with pytest.raises(CorpusError, match="it looks like pairs: its two columns have 30 and 30 different") as refused:
        read_labelled([str(path)])
    assert refused.value.hint.startswith(f"nlpseq train translation '{path}'; ")
    with pytest.raises(CorpusError) as refused:
        label_names(read_labelled([str(path)], LabelColumns("1", "2")), str(path))
    assert f"for pairs: nlpseq train translation '{path}'" in refused.value.hint


def test_a_plain_text_is_answered_with_the_command_for_texts(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("plain text\n")
    with pytest.raises(CorpusError, match="it is not a table") as refused:
        read_labelled([str(tmp_path / "en.txt")])
    assert f"nlpseq train lm {tmp_path / 'en.txt'}" in refused.value.hint
    assert not any(word in refused.value.hint for word in ("--source", ".po", ".tmx"))
