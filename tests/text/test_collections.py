"""Folders, patterns, zip archives and standard input as corpora."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError
from nlpseq.text.checks.syntax import corpus_notes
from nlpseq.text.checks.text import check_text
from nlpseq.text.collection import archive_entries
from nlpseq.text.compression import PIECE_BYTES
from nlpseq.text.formats import can_read_again, need_source, open_corpus
from nlpseq.text.signature import corpus_name
from nlpseq.text.splits import CorpusSpan, measure
from nlpseq.training.data.corpus import tokenise_corpus

PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def text_of(name: object) -> str:
    """The text of a corpus."""
    return "".join(open_corpus(str(name)))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def archive(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """A zip archive with these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files:
            packed.writestr(name, data)
    return path


FILES = {
    "b.txt": b"last line without end",
    "a.md": b"# first\n",
    "sub/deep/c.html": b"<p>page",
    "sub/d.txt.gz": gzip.compress(b"packed\n"),
    "sub.txt": b"between\r\nlines\r\n",
    "no suffix": b"any name\n",
    "empty.txt": b"",
    "marked.txt": b"\xef\xbb\xbf",
    "picture.png": PICTURE,
    ".hidden": b"hidden\n",
    "__MACOSX/x.txt": b"hidden\n",
    "tar.txt.gz": gzip.compress(b"\0" * 600),
}
TEXT = "# first\nlast line without end\nany name\npacked\npage\nbetween\nlines\n"


def test_a_folder_and_an_archive_of_it_are_the_same_text(tmp_path: Path) -> None:
    folder = write(tmp_path / "books", FILES)
    packed = archive(tmp_path / "books.zip", reversed(FILES.items()))
    assert text_of(folder) == text_of(packed) == text_of(f"{tmp_path}/b*s") == TEXT
    assert measure(CorpusSpan((str(folder),))).sha256 == measure(CorpusSpan((str(packed),))).sha256
    (counts,) = corpus_notes(str(packed))
    assert counts == f"{packed}: 6 of its 12 files are left out: 2 hidden, 2 not text, 2 empty"


def test_a_pattern_is_the_files_that_it_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, FILES))
    assert text_of("*.txt") == "last line without end\nbetween\nlines\n"
    assert text_of("**/*.html") == "page\n"
    Path("[a].txt").write_text("a file of this name")
    assert text_of("[a].txt") == "a file of this name"
    for read in (need_source, text_of):
        with pytest.raises(CorpusError, match=r"^nothing/\*\.txt: no file matches this pattern") as caught:
            read("nothing/*.txt")
        assert caught.value.hint == "ls nothing"
    need_source("*.txt")
    assert can_read_again("*.txt") and can_read_again("-")


def test_what_has_no_text_says_what_it_has(tmp_path: Path) -> None:
    pictures = archive(tmp_path / "x.zip", [(f"{number}.png", PICTURE) for number in range(12)])
    with pytest.raises(CorpusError, match=r"it has no text, 12 files of other kinds$"):
        text_of(pictures)
    with pytest.raises(CorpusError, match=r"it has no text, no files at all$"):
        text_of(archive(tmp_path / "y.zip", []))
    folder = write(tmp_path / "folder", {"a.png": PICTURE, "b.txt": b""})
    with pytest.raises(CorpusError, match=r"it has no text, 1 file of other kinds and 1 file without contents$"):
        text_of(folder)
    (folder / "c.html").write_text("<title>none</title>")
    with pytest.raises(CorpusError, match="folder: it has no text"):
        text_of(folder)
    (folder / "d.txt").write_text("some")
    assert text_of(folder) == "some\n"


def test_archives_may_hold_archives_but_not_without_end(tmp_path: Path) -> None:
    inner = archive(tmp_path / "0.zip", [("a.txt", b"inside\n")])
    for number in range(1, 4):
        inner = archive(tmp_path / f"{number}.zip", [(inner.name, inner.read_bytes()), ("z.txt", b"%d\n" % number)])
    assert text_of(inner) == "inside\n1\n2\n3\n"
    deepest = archive(tmp_path / "4.zip", [(inner.name, inner.read_bytes())])
    with pytest.raises(CorpusError, match=r"it is in more than 3 archives") as caught:
        text_of(deepest)
    assert caught.value.hint == f"unzip {deepest}"


def test_a_fault_in_an_archive_names_its_file_and_a_cure(tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.zip", [("sub/b.txt", b"fine\n"), ("sub/my c.txt", b"one\ncaf\xe9\n")])
    with pytest.raises(CorpusError) as caught:
        text_of(packed)
    assert caught.value.where == f"{packed}:sub/my c.txt:2"
    command = f"unzip -p {packed} 'sub/my c.txt' | iconv -f WINDOWS-1252 -t UTF-8 > 'my c.utf8.txt'"
    assert caught.value.hint == f"if it is WINDOWS-1252: {command}"
    assert any("sub/my c.txt:2: it is not UTF-8" in finding.what for finding in check_text(str(packed)))


def test_damaged_and_encrypted_archives_are_one_sentence(tmp_path: Path) -> None:
    data = archive(tmp_path / "a.zip", [("b.txt", os.urandom(999).hex().encode())]).read_bytes()
    place = data.index(b"b.txt") + 300
    (tmp_path / "c.zip").write_bytes(data[:place] + bytes(9) + data[place + 9 :])
    with pytest.raises(CorpusError, match=r"c\.zip:b\.txt: its compressed data is damaged"):
        text_of(tmp_path / "c.zip")
    central = data.index(b"PK\1\2")
    encrypted = bytearray(data)
    encrypted[6] |= 1
    encrypted[central + 8] |= 1
    (tmp_path / "d.zip").write_bytes(encrypted)
    with pytest.raises(CorpusError, match=r"d\.zip:b\.txt: it is encrypted") as caught:
        text_of(tmp_path / "d.zip")
    assert f"unzip {tmp_path / 'd.zip'} -d d" in caught.value.hint
    unknown = bytearray(data)
    unknown[8] = unknown[central + 10] = 99
    (tmp_path / "e.zip").write_bytes(unknown)
    with pytest.raises(CorpusError, match="it cannot be unpacked"):
        text_of(tmp_path / "e.zip")


def test_a_bomb_is_read_in_constant_memory(tmp_path: Path) -> None:
    packed = archive(tmp_path / "bomb.zip", [("a.txt", b"boom " * 20_000_000)])
    assert packed.stat().st_size < 200_000
    tracemalloc.start()
    size = sum(map(len, open_corpus(str(packed))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 100_000_001 and peak < 20 * PIECE_BYTES


NAMES = st.text("ab/.é ", min_size=1, max_size=6).filter(lambda name: not name.startswith("/"))
CONTENTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cc"]), max_size=20)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, CONTENTS, max_size=5))
def test_an_archive_keeps_the_text_of_every_file(files: dict[str, str], tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    (tmp_path / "a.zip").write_bytes(data.getvalue())
    kept = [
        text.removeprefix("\ufeff")
        for name, text in files.items()
        if not name.endswith("/") and not any(part.startswith(".") for part in name.split("/"))
    ]
    try:
        text = text_of(tmp_path / "a.zip")
    except CorpusError as error:
        assert error.what.startswith("it has no text") and not any(kept)
        return
    assert sorted(text.split("\n")) == sorted(["", *filter(None, kept)])
    names = [entry.name.partition(":")[2] for entry in archive_entries("a.zip", data)]
    assert sorted(names) == sorted(name for name in files if not name.endswith("/"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_links_pipes_and_odd_names_do_no_harm(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {"b/c.txt": b"once\n"})
    (folder / "b" / "loop").symlink_to("..")
    (folder / "self").symlink_to("self")
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text("odd name\n")
    assert text_of(folder) == "once\nodd name\n"
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_bytes(b"\xff")
    with pytest.raises(CorpusError) as caught:
        text_of(folder)
    assert os.fsencode(caught.value.where).endswith(b"caf\xe9.txt:1")


def test_the_folder_of_a_run_is_not_part_of_the_text(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"text\n", "run/model.safetensors": b"x", "run/config.json": b"{}"})
    assert text_of(tmp_path) == "text\n"


def test_a_folder_that_may_not_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path, FILES)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match=f"^{tmp_path}: it cannot be read: Permission denied"):
        text_of(tmp_path)
    assert ("fault", "it cannot be read: Permission denied") in [each[::2] for each in check_text(str(tmp_path))]


def test_tables_and_documents_say_what_is_learned(tmp_path: Path) -> None:
    write(tmp_path, {"a.csv": b"id,text\n1,one\n", "b.xml": b"<root>x</root>\n", "c.html": b"<p>x"})
    table, markup, page = (str(tmp_path / name) for name in ("a.csv", "b.xml", "c.html"))
    command = f"nlpseq corpus show --text-column text {table} | nlpseq train lm -"
    assert corpus_notes(table) == [f"{table}: its .csv syntax will be learned as text; on its text alone: {command}"]
    assert corpus_notes(markup) == [f"{markup}: its .xml markup will be learned as text"]
    assert corpus_notes(page) == []
    what = f"the syntax of 2 files will be learned as text: {table}, {markup}"
    assert corpus_notes(str(tmp_path)) == [f"{tmp_path}: {what}"]


def test_names_in_signatures_are_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert corpus_name(["a/b.txt", "-", "books/", "hf:x/y"], "held out") == "b.txt+stdin+books+y:held-out"
    assert corpus_name(["."], "given") == f"{tmp_path.name}:given"


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Standard input is these bytes."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_standard_input_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, "one\r\nzwölf\r\n".encode())
    first, second = open_corpus("-"), open_corpus("-")
    assert next(first) == "one\nzwölf\n"
    assert "".join(second) == text_of("-") == "one\nzwölf\n"
    standard_input(monkeypatch, b"another")
    assert text_of("-") == "another"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "it is empty"),
        (PICTURE, "it is binary"),
        (b"\xff", "it is not UTF-8"),
        (b"PK\3\4\0", "this is a zip archive"),
    ],
)
def test_standard_input_is_refused_as_a_file_is(data: bytes, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, data)
    with pytest.raises(CorpusError) as caught:
        text_of("-")
    assert what in caught.value.what and "< -" not in caught.value.hint


def test_closed_standard_input_is_one_sentence_and_no_file_is_left(tmp_path: Path) -> None:
    program = "from nlpseq.text.formats import open_corpus; print(''.join(open_corpus('-')))"
    command = f'"{sys.executable}" -c "{program}"'
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(f"{command} <&-", shell=True, env=environment, capture_output=True, text=True)
    assert "CorpusError: standard input: is closed" in done.stderr
    done = subprocess.run(f"{command}", shell=True, env=environment, input="", capture_output=True, text=True)
    assert "CorpusError: standard input: it is empty" in done.stderr
    done = subprocess.run(f"{command}", shell=True, env=environment, input="kept", capture_output=True, text=True)
    assert done.stdout == "kept\n" and not list(tmp_path.iterdir())


PACKERS = {
    ".txt": lambda data: data,
    ".txt.gz": gzip.compress,
    ".txt.xz": lzma.compress,
    ".txt.bz2": bz2.compress,
    ".txt.zst": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
}


def _many(folder: Path, count: int) -> list[Path]:
    """Small files in nested folders, compressed in all ways; the names in the order in which they are read."""
    names = []
    for number, suffix in zip(range(count), cycle(PACKERS)):
        path = folder / f"{number // 50:02}" / "deep" / f"{number:05}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PACKERS[suffix](f"text {number}\n".encode()))
        names.append(path)
    return names


def test_a_folder_of_many_small_files_compressed_in_all_ways_is_one_text(tmp_path: Path) -> None:
    _many(tmp_path / "many", 300)
    expected = "".join(f"text {number}\n" for number in range(300))
    assert text_of(tmp_path / "many") == text_of(tmp_path / "many/*/deep/*.txt*") == expected
    assert text_of(tmp_path / "many/*/deep/*.gz") == "".join(f"text {number}\n" for number in range(1, 300, 5))


@pytest.mark.parametrize("number", [60, 61, 62, 63, 64])
def test_a_damaged_file_among_many_is_named_and_no_tokens_are_written(number: int, tmp_path: Path) -> None:
    damaged = _many(tmp_path / "many", 100)[number]
    whole = damaged.read_bytes()
    damaged.write_bytes(b"text \xff\n" if damaged.suffix == ".txt" else whole[: len(whole) - 9])
    (tmp_path / "run").mkdir()
    with pytest.raises(CorpusError) as caught:
        tokenise_corpus([str(tmp_path / "many")], (), tmp_path / "run", tokens="char")
    assert caught.value.where.startswith(str(damaged))
    assert caught.value.hint
    assert list((tmp_path / "run").iterdir()) == []
