"""Parallel text: what was written is read, in step or not at all."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from xml.sax.saxutils import escape

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.tables.parallel import read_parallel

PAIRS = [("one, two", "eins"), ("thr\u2028ee <3>", "drei &"), ("  vier", "four\x85"), ("猫", "cat")]

SIDE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t\ufeff"))


def _write(folder: Path, suffix: str, pairs: list[tuple[str, str]]) -> Path:
    """A table of pairs, made by other means than it is read by."""
    path = folder / f"pairs{suffix}"
    if suffix == ".parquet":
        sides = dict(zip(("source", "target"), zip(*pairs, strict=True), strict=True))
        pyarrow.parquet.write_table(pyarrow.table({"id": [1] * len(pairs), **sides}), path)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, (source, target) in enumerate(pairs):
            if suffix == ".tsv":
                file.write(f"{source}\t{target}\tmore\n")
            elif suffix == ".csv":
                csv.writer(file, lineterminator="\n").writerow([source, target])
            elif suffix == ".jsonl":
                file.write(json.dumps({"id": 1, "source": source, "target": target}) + "\n")
            elif suffix == ".po":
                context, *both = (json.dumps(one, ensure_ascii=False) for one in (str(number), source, target))
                file.write("msgctxt {}\nmsgid {}\nmsgstr {}\n\n".format(context, *both))
        if suffix == ".tmx":
            units = (f"<tuv><seg>{escape(a)}</seg></tuv><tuv><seg>{escape(b)}</seg></tuv>" for a, b in pairs)
            file.write("<tmx><body>\n" + "\n".join(f"<tu>{unit}</tu>" for unit in units) + "\n</body></tmx>\n")
    return path


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet", ".po", ".tmx"])
def test_a_table_gives_its_pairs(suffix: str, tmp_path: Path) -> None:
    found = read_parallel([str(_write(tmp_path, suffix, PAIRS))], two_files=False)
    assert list(zip(found.sources, found.targets, strict=True)) == PAIRS
    assert found.blank == 0


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(SIDE, SIDE)),
    suffix=st.sampled_from([".tsv", ".csv", ".jsonl"]),
)
def test_any_pairs_are_read_back_but_for_blank_ones(
    pairs: list[tuple[str, str]], suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _write(tmp_path_factory.mktemp("pairs"), suffix, [("begin", "here"), *pairs])
    found = read_parallel([str(path)], two_files=False)
    wanted = [pair for pair in pairs if pair[0].strip() and pair[1].strip()]
    assert list(zip(found.sources, found.targets, strict=True)) == [("begin", "here"), *wanted]
    assert found.blank == len(pairs) - len(wanted)


def test_two_files_are_read_in_step(tmp_path: Path) -> None:
    source, target = tmp_path / "a.en", tmp_path / "a.de.gz"
    source.write_text("a\u2028b\n\nc\nd\n", encoding="utf-8")
    target.write_bytes(gzip.compress(b"A\nB\nC\n \n"))
    found = read_parallel([str(source), str(target)], two_files=True)
    assert (found.sources, found.targets, found.blank) == (["a\u2028b", "c"], ["A", "C"], 2)


def test_files_of_unequal_length_are_refused_with_counts(tmp_path: Path) -> None:
    source, target = tmp_path / "my a.en", tmp_path / "a.de"
    lines = [f"this is the sentence number {number}" for number in range(50)]
    source.write_text("\n".join(lines), encoding="utf-8")
    target.write_text("\n".join([*lines[:20], "x", *lines[20:]]), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"have 50 and 51$") as refused:
        read_parallel([str(source), str(target)], two_files=True)
    assert refused.value.hint == f"nlpseq corpus check --source '{source}' --target {target}"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "one\ttwo\nthree\n", "a.tsv:2: it must have 2 columns, like the first row, but has 1"),
        ("a.csv", "one,two\nthree\n", "a.csv:2: it must have 2 columns, like the first row, but has 1"),
        (
            "a.jsonl",
            '{"source": "a", "target": "b"}\n{"source": "a"}\n',
            "a.jsonl:2: it has no column `target`, only source",
        ),
        ("a.jsonl", "[1]\n", "a.jsonl:1: it is a JSON array"),
        ("a.jsonl", "7\n", "a.jsonl:1: it must be an object"),
        ("a.jsonl", '{"source": "a", "target": 1}\n', "its target is not text: 1"),
        ("a.parquet", "no parquet", "a.parquet: it cannot be read as a parquet file"),
        ("missing/a.parquet", "", "there is no such file"),
        ("a.jsonl", "{\n", "a.jsonl:1: it is not JSON"),
        ("a.txt", "one two\n", "it is not a table: its first line has no tab"),
        ("a.tmx", "<tmx><body>\n<tu></body>", "a.tmx:2: it is not TMX"),
        ("a.po", 'msgid "a"\nnonsense\n', "a.po:2: it is not a PO file"),
        ("a.tsv", "\t\n \tb\n", "no pair with text on both sides, only 2 with a blank side"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        read_parallel([str(path)], two_files=False)


NAMED = [
    ("a.tsv", "de\tid\ten\neins\t1\tone\n"),
    ("a.csv", "de,id,en\neins,1,one\n"),
    ("a.jsonl", '{"en": "one", "de": "eins", "source": "x", "target": "y"}\n'),
    ("b.jsonl", '{"translation": {"fr": "un", "de": "eins", "en": "one"}}\n'),
    (
        "a.tmx",
        '<tmx><body><tu><tuv xml:lang="de-AT"><seg>eins</seg></tuv><tuv xml:lang="fr"><seg>un</seg></tuv>'
        '<tuv xml:lang="EN"><seg>one</seg></tuv></tu></body></tmx>\n',
    ),
]


@pytest.mark.parametrize(("name", "text"), NAMED, ids=[name for name, _ in NAMED])
def test_columns_keys_and_languages_can_be_named(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = read_parallel([str(path)], two_files=False, columns=("en", "de"))
    assert (found.sources, found.targets) == (["one"], ["eins"])
    with pytest.raises(CorpusError, match=r"it has no|its header has no column `nl`"):
        read_parallel([str(path)], two_files=False, columns=("nl", "de_DE"))


def test_a_hub_data_set_gives_its_two_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": 1, "translation": {"en": "one", "de": "eins"}}, {"id": 2, "translation": {"en": "two", "de": None}}]
    monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=lambda *_, **__: None))
    text = datasets.Value("string")  # without types, older releases of pyarrow sort the languages
    types = datasets.Features({"id": datasets.Value("int64"), "translation": {"en": text, "de": text}})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(rows, types))
    found = read_parallel(["hf:opus:en-de"], two_files=False)
    assert (found.sources, found.targets, found.blank) == (["one"], ["eins"], 1)
    found = read_parallel(["hf:opus:en-de"], two_files=False, columns=("de", "en"))
    assert (found.sources, found.targets) == (["eins"], ["one"])


def test_a_catalogue_can_be_read_in_the_other_direction(tmp_path: Path) -> None:
    path = tmp_path / "a.po"
    path.write_text('msgid "a"\nmsgstr "b"\n')
    found = read_parallel([str(path)], two_files=False, columns=("target", "source"))
    assert (found.sources, found.targets) == (["b"], ["a"])
    with pytest.raises(CorpusError, match="it has no column `en`, only source, target"):
        read_parallel([str(path)], two_files=False, columns=("en", "de"))


def test_a_header_of_a_csv_says_which_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,target,source\n1,eins,one\n", encoding="utf-8")
    found = read_parallel([str(path)], two_files=False)
    assert (found.sources, found.targets) == (["one"], ["eins"])


def test_a_catalogue_gives_its_plurals_and_neither_fuzzy_nor_obsolete_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.po"
    path.write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain"\n\nmsgid "a "\n"line\\n"\nmsgstr "eine Zeile"\n\n'
        'msgid "file"\nmsgid_plural "files"\nmsgstr[0] "Datei"\nmsgstr[1] "Dateien"\n\n'
        '#, fuzzy\nmsgid "x"\nmsgstr "y"\n\nmsgid "open"\nmsgstr ""\n\n#~ msgid "old"\n#~ msgstr "alt"\n',
        encoding="utf-8",
    )
    found = read_parallel([str(path)], two_files=False)
    wanted = [("a line ", "eine Zeile"), ("file", "Datei"), ("files", "Dateien")]
    assert list(zip(found.sources, found.targets, strict=True)) == wanted
    assert found.blank == 1


def test_a_memory_gives_the_first_two_variants_without_markup(tmp_path: Path) -> None:
    path = tmp_path / "a.tmx.gz"
    unit = '<tu><tuv xml:lang="en"><seg>a <bpt i="1"/>b</seg></tuv><tuv><seg>A\nB</seg></tuv><tuv><seg>x</seg></tuv>'
    path.write_bytes(gzip.compress(f"<?xml version='1.0'?><tmx><body>{unit}</tu><tu/></body></tmx>".encode()))
    found = read_parallel([str(path)], two_files=False)
    assert (found.sources, found.targets, found.blank) == (["a b"], ["A B"], 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "source\ttarget\none\teins\n"),
        ("a.csv", "source,target\none,eins\n"),
        ("a.jsonl", '{"en": "one", "de": "eins"}\n'),
        ("a.jsonl", '{"target": "eins", "source": "one"}\n'),
    ],
)
def test_a_header_and_the_only_two_columns_are_known(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    found = read_parallel([str(path)], two_files=False)
    assert (found.sources, found.targets) == (["one"], ["eins"])
