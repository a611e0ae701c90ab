"""Bundled corpora: there, readable, the same each time."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from nlpseq.errors import CorpusError
from nlpseq.text import bundled
from nlpseq.text.bundled import BUNDLED, corpus_files
from nlpseq.text.compression import PIECE_BYTES
from nlpseq.text.formats import open_corpus


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_corpus_is_clean_text(name: str) -> None:
    corpus = BUNDLED[name]
    pieces = list(corpus.read())
    text = "".join(pieces)
    assert corpus.name == name
    assert corpus.description and corpus.licence
    assert len(text) > 10_000
    assert all(piece.endswith("\n") and len(piece) <= PIECE_BYTES for piece in pieces)
    assert not {"\r", "\0", "\ufeff", "\ufffd", "\u2028"} & set(text)
    assert "".join(open_corpus(name)) == text


def test_stories_are_their_files_in_order() -> None:
    files = corpus_files("stories")
    assert [file.name for file in files] == sorted(file.name for file in files)
    assert all(file.name.endswith(".txt") for file in files)
    assert "".join(BUNDLED["stories"].read()) == "".join(file.read_text(encoding="utf-8") for file in files)


def test_a_file_without_a_final_newline_does_not_run_into_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "b.txt").write_text("second\n")
    monkeypatch.setattr(bundled, "corpus_files", lambda name: sorted(tmp_path.iterdir()))
    assert "".join(BUNDLED["stories"].read()) == "first\nsecond\n"


def test_a_lost_corpus_says_how_to_get_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "corpus_files", lambda name: [])
    with pytest.raises(CorpusError, match="stories: the bundled corpus is missing") as caught:
        list(open_corpus("stories"))
    assert "pip install" in caught.value.hint


def test_there_are_no_files_of_an_unknown_corpus() -> None:
    assert corpus_files("no-such-corpus") == []


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="other Pythons may carry no help texts")
def test_python_docs_come_in_the_order_of_their_names() -> None:
    from pydoc_data.topics import topics

    text = "".join(BUNDLED["python-docs"].read())
    places = [text.index(topics[name].strip()[:400]) for name in ("assert", "lambda", "yield")]
    assert places == sorted(places)
    assert len(text) >= sum(map(len, topics.values()))


def test_a_python_without_help_texts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(CorpusError, match="python-docs: this Python has no help texts"):
        list(open_corpus("python-docs"))
