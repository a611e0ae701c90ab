"""`NAME@N` is the beginning of a corpus, whatever the corpus is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from nlpseq.errors import CorpusError, OptionError
from nlpseq.text.beginnings import beginning, first_lines, take
from nlpseq.text.checks.corpus import check_corpus, corpus_kind
from nlpseq.text.formats import can_read_again, is_collection, need_source, open_corpus
from nlpseq.text.readers.rows import is_table
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import label_names, read_labelled
from nlpseq.text.tables.parallel import read_parallel
from nlpseq.text.tables.text_column import column_text


@given(text=st.text("ab\n", max_size=40), size=st.integers(1, 9), count=st.integers(1, 8))
def test_the_first_lines_are_those_of_the_text(text: str, size: int, count: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert "".join(first_lines(pieces, count)) == "".join(text.splitlines(keepends=True)[:count])


def test_no_more_is_read_than_wanted() -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield "one\ntwo\nthree"
        pytest.fail("the second piece is read")

    assert "".join(first_lines(pieces(), 2)) == "one\ntwo\n"


def test_a_file_that_is_called_like_a_beginning_comes_first(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt@2"):
        (tmp_path / name).write_text("one\ntwo\nthree\n")
    assert beginning(f"{tmp_path}/a.txt@2") == (f"{tmp_path}/a.txt", 2)
    assert "".join(open_corpus(f"{tmp_path}/a.txt@2")) == "one\ntwo\n"
    assert "".join(open_corpus(f"{tmp_path}/b.txt@2")) == "one\ntwo\nthree\n"
    for name in ("a", "a@", "a@0", "a@x", "a@1.5", "@3", "hf:a/b"):
        assert beginning(name) == (name, None)
    assert beginning("hf:a/b:c@12") == ("hf:a/b:c", 12)


def test_every_kind_of_text_has_a_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "a.txt").write_text("one\ntwo")
    (folder / "b.html").write_text("<p>three<p>four")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.write(folder / "a.txt", "a.txt")
        archive.write(folder / "b.html", "b.html")
    for name in (folder, f"{folder}/*", tmp_path / "c.zip"):
        need_source(f"{name}@3")
        assert is_collection(f"{name}@3") and can_read_again(f"{name}@3")
        assert "".join(open_corpus(f"{name}@3")) == "one\ntwo\nthree\n"
        assert "".join(open_corpus(f"{name}@30")) == "one\ntwo\nthree\nfour\n"
    assert "".join(open_corpus("stories@1")) == "".join(open_corpus("stories")).partition("\n")[0] + "\n"
    with pytest.raises(CorpusError, match="there is no such file or corpus"):
        need_source(str(tmp_path / "d.txt@3"))


ROWS = [("en", "de"), ("one", "eins"), ("two", "zwei"), ("three", "drei")]


def test_every_kind_of_table_has_a_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in ROWS))
    (tmp_path / "a.csv").write_text("".join(f"{a};{b}\n" for a, b in ROWS))
    (tmp_path / "a.jsonl").write_text("".join(f'{{"en": "{a}", "de": "{b}"}}\n' for a, b in ROWS[1:]))
    parquet.write_table(
        pyarrow.table({"en": [a for a, _ in ROWS[1:]], "de": [b for _, b in ROWS[1:]]}), tmp_path / "a.parquet"
    )
    for suffix in ("tsv", "csv", "jsonl", "parquet"):
        name = f"{tmp_path}/a.{suffix}@2"
        assert is_table(name) and corpus_kind(name) == "pairs"
        found = read_parallel([name], two_files=False)
        assert list(zip(found.sources, found.targets, strict=True)) == ROWS[1:3]
        assert "".join(column_text(name, "de")) == "eins\nzwei\n"
    for side, name in enumerate(("e.txt", "g.txt")):
        (tmp_path / name).write_text("".join(f"{row[side]}\n" for row in ROWS[1:]) + "more\n" * side)
    found = read_parallel([f"{tmp_path}/e.txt@2", f"{tmp_path}/g.txt@2"], two_files=True)
    assert list(zip(found.sources, found.targets, strict=True)) == ROWS[1:3]


def test_rows_that_are_sorted_by_label_need_more_of_them(tmp_path: Path) -> None:
    rows = [("a", n) for n in range(30)] + [("b", n) for n in range(30)]
    (tmp_path / "a.tsv").write_text("label\ttext\n" + "".join(f"{label}\ttext {label} {n}\n" for label, n in rows))
    name = f"{tmp_path}/a.tsv@25"
    texts = read_labelled([name], LabelColumns())
    assert len(texts) == 25
    with pytest.raises(CorpusError, match="at least two labels") as caught:
        label_names(texts, name)
    assert caught.value.hint.startswith("a larger --take, if the rows are sorted by label; ")
    assert len(read_labelled([f"{tmp_path}/a.tsv@45"], LabelColumns())) == 45


def test_a_fault_in_a_beginning_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("label\ttext\na\tone\nb\n")
    (found,) = check_corpus(f"{tmp_path}/a.tsv@9", "labels")
    assert (found.level, found.line, found.what[:22]) == ("fault", 3, "it must have 2 columns")
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n\xff\n")
    assert all(finding.level == "note" for finding in check_corpus(f"{tmp_path}/a.txt@2"))


def test_what_has_no_beginning_is_refused() -> None:
    assert take(["a", "hf:b"], 5) == ("a@5", "hf:b@5") and take(["-", "a@3"], None) == ("-", "a@3")
    with pytest.raises(OptionError, match="standard input is read to its end") as caught:
        take(["a", "-"], 5)
    assert caught.value.hint == "COMMAND | head -n 5"
    with pytest.raises(OptionError, match="both say how much is read") as caught:
        take(["hf:a@3"], 5)
    assert caught.value.hint == "leave out --take, or name hf:a"
