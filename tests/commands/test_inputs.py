"""Texts, files and standard input as the input of a filter: each line once, in order, whatever holds it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nlpseq.commands import inputs
from nlpseq.commands.arguments import is_text
from nlpseq.commands.cli import app
from nlpseq.commands.inputs import Input, find_input, note_training_input, one_text, piped_text
from nlpseq.errors import CorpusError
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR, Task

COMMAND = "nlpseq classify"
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
COMPRESSED |= {".xz": lzma.compress}

_pieces = st.sampled_from([b"\n", b"\r\n", b"\xff", b"\0", b"\xef\xbb\xbf", "\u2028 ö".encode(), b"word", b" "])
_data = st.lists(_pieces, max_size=8).map(b"".join)
_words = st.sampled_from(["word", "\n", "a/b", "notes.txt", "ö", "\u3000", "-", "{"])
_texts = st.lists(_words | st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")), max_size=4).map(
    " ".join
)


def naive(data: bytes) -> list[bytes]:
    """All lines of `data`; what follows the last newline is one, if it is not empty."""
    *lines, last = data.split(b"\n")
    return [*lines, last] if last else lines


def lines_of(source: Input) -> list[bytes]:
    """All lines of an input."""
    return [line for _, batch in source.batches() for line in batch]


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """Some bytes on standard input."""
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(data))):
        yield


@contextmanager
def typed(data: bytes) -> Iterator[None]:
    """A terminal on which some bytes are typed, and Ctrl-D at the end."""
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, data + b"\x04")
    with open(terminal, encoding="utf-8") as stream, mock.patch.object(sys, "stdin", stream):
        yield
    os.close(keyboard)


@contextmanager
def piped(*, data: bytes = b"", ends: bool = True) -> Iterator[int]:
    """A pipe as standard input, with some bytes in it; its other end if it stays open."""
    reader, writer = os.pipe()
    os.write(writer, data)
    if ends:
        os.close(writer)
    with open(reader, encoding="utf-8") as stream, mock.patch.object(sys, "stdin", stream):
        yield writer
    if not ends:
        os.close(writer)


def write_and_end(writer: int, data: bytes) -> None:
    """Write to a pipe and close its end; the descriptor stays taken, for `piped` to close."""
    os.write(writer, data)
    os.dup2(1, writer)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(sorted(COMPRESSED)), _data) | _texts, max_size=5), st.none() | _data)
def test_every_line_of_every_argument_comes_once_and_in_order(
    drawn: list[str | tuple[str, bytes]], standard: bytes | None
) -> None:
    expected: list[bytes] = []
    arguments: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, item in enumerate(drawn):
            if isinstance(item, str):
                arguments.append(item + " ")  # with a space: never a path
                expected += naive(arguments[-1].encode())
            else:
                suffix, data = item
                path = Path(folder) / f"{number}.txt{suffix}"
                path.write_bytes(COMPRESSED[suffix](data))
                arguments.append(str(path))
                expected += naive(data)
        if standard is not None:
            arguments.append("-")
            expected += naive(standard)
        with standard_input(standard or b""):
            assert lines_of(find_input(arguments, COMMAND, quiet=True)) == expected


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=20))
def test_an_argument_has_as_many_lines_as_a_file_and_at_least_one(text: str) -> None:
    with mock.patch("nlpseq.commands.inputs.is_text", return_value=True):
        assert lines_of(find_input([text], COMMAND, quiet=True)) == (naive(text.encode()) or [b""])


def test_without_arguments_standard_input_is_read() -> None:
    with standard_input(b"one\ntwo"):
        assert lines_of(find_input((), COMMAND, quiet=True)) == [b"one", b"two"]


def test_the_first_batch_of_each_source_is_marked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x\n" * 1_500_000)
    batches = list(find_input([str(tmp_path / "a.txt"), "one text", "b c"], COMMAND, quiet=True).batches())
    assert [first for first, _ in batches] == [True, False, False, True]
    assert batches[-1][1] == [b"one text", b"b c"], "texts are answered together"


def test_a_long_line_of_a_compressed_file_takes_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(b"\0" * 60_000_000 + b"\nlast"))
    tracemalloc.start()
    batches = list(find_input([str(path)], COMMAND, quiet=True).batches(5000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [[len(line) for line in batch] for _, batch in batches] == [[5001], [4]]
    assert peak < 10_000_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_answered_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    goes_on = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            file.write(b"one\n")
            goes_on.wait(10)
            file.write(b"two\n")

    for pauses in (False, True):
        goes_on.clear()
        thread = threading.Thread(target=write)
        thread.start()
        batches = find_input([str(path)], COMMAND, quiet=True).batches(pauses=pauses)
        first = next(batches)
        assert (next(batches) if first == (True, []) else first) == (True, [b"one"])
        if pauses:
            assert next(batches) == (False, []), "it will wait"
        goes_on.set()
        assert [batch for batch in batches if batch[1]] == [(False, [b"two"])]
        thread.join()


def test_a_damaged_file_is_told_after_the_lines_before_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(os.urandom(3_000_000).replace(b"\n", b"") + b"\n")[:-5000])
    with pytest.raises(CorpusError, match=r"cut.gz: its compressed data is damaged"):
        lines_of(find_input([str(path)], COMMAND, quiet=True))


def test_a_file_that_vanishes_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    source = find_input([str(tmp_path / "a.txt")], COMMAND, quiet=True)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(CorpusError, match=r"a.txt: it cannot be read: No such file or directory"):
        lines_of(source)


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({}, "note: type a text and press Enter; Ctrl-D ends\n"),
        ({"objects": True}, "note: type a JSON object and press Enter; Ctrl-D ends\n"),
        ({"noun": "token ids"}, "note: type token ids and press Enter; Ctrl-D ends\n"),
        ({"quiet": True}, ""),
    ],
)
def test_a_terminal_is_told_what_to_type(
    capfd: pytest.CaptureFixture[str], settings_: dict[str, Any], said: str
) -> None:
    with typed(b"one\n"):
        assert lines_of(find_input((), COMMAND, **{"quiet": False, **settings_})) == [b"one"]
    assert capfd.readouterr().err == said


def test_nothing_is_said_of_a_pipe_or_of_texts(capfd: pytest.CaptureFixture[str]) -> None:
    with piped(data=b"one\n"):
        lines_of(find_input((), COMMAND, quiet=False))
    with typed(b""):
        lines_of(find_input(["a text"], COMMAND, quiet=False))
    assert capfd.readouterr().err == ""


def test_objects_read_as_plain_text_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n"))
    find_input([str(path)], COMMAND, quiet=False, objects=True)
    assert capfd.readouterr().err == ""
    find_input([str(path)], COMMAND, quiet=False)
    assert capfd.readouterr().err == f"note: {path} is read as plain text; --jsonl reads its objects\n"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_an_endless_input_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero") as zero:
        monkeypatch.setattr("sys.stdin", zero)
        with pytest.raises(CorpusError, match="over 16 MiB, too much for one text"):
            one_text(None, "nlpseq inspect words", "a dull film")


def test_one_text_is_an_argument_a_file_or_standard_input(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert one_text("a text\nof two lines\n", COMMAND, "x") == "a text\nof two lines\n"
    assert one_text("", COMMAND, "x") == ""
    assert one_text(str(tmp_path / "a.txt"), COMMAND, "x") == "one\ntwo"
    for argument in (None, "-"):
        with standard_input(b"one\n\xff"):
            assert one_text(argument, COMMAND, "x") == "one\n\udcff"
    with typed(b"one\ntwo\n"):
        assert one_text(None, COMMAND, "x") == "one"


def test_no_text_at_all_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for argument, name in ((None, "stdin"), ("-", "stdin"), (str(tmp_path / "a.txt"), str(tmp_path / "a.txt"))):
        with standard_input(b""), pytest.raises(CorpusError) as raised:
            one_text(argument, COMMAND, "a film")
        assert (raised.value.where, raised.value.what) == (name, "it is empty")
        assert raised.value.hint == "nlpseq classify 'a film'"


@settings(deadline=None)
@given(_data)
def test_a_pipe_or_a_file_is_a_seed_without_its_last_newline(data: bytes) -> None:
    expected = data.removesuffix(b"\n").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    with piped(data=data):
        assert piped_text(quiet=True) == expected
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        stream = io.TextIOWrapper(file)
        with mock.patch.object(sys, "stdin", stream):
            assert piped_text(quiet=True) == expected
        stream.detach()


def test_a_writer_that_began_is_waited_for() -> None:
    with piped(data=b"No", ends=False) as writer:
        timer = threading.Timer(0.3, write_and_end, (writer, b"ra\n"))
        timer.start()
        assert piped_text(quiet=True) == "Nora"
        timer.join()


def test_a_slow_writer_is_waited_for_and_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs, "SILENCE", 0.05)
    with piped(ends=False) as writer:
        timer = threading.Timer(0.3, write_and_end, (writer, b"Nora\n"))
        timer.start()
        assert piped_text(quiet=False) == "Nora"
        timer.join()
    assert capfd.readouterr().err == 'note: waiting 5 s for a text on standard input; --seed "" is for none\n'


def test_a_pipe_that_stays_open_and_empty_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs, "SILENCE", 0.05)
    monkeypatch.setattr(inputs, "PATIENCE", 0.1)
    with piped(ends=False):
        assert piped_text(quiet=False) == ""
    assert capfd.readouterr().err.endswith("note: no text came on standard input, and none is continued\n")


def test_a_terminal_a_device_and_a_closed_input_hold_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    with typed(b"Nora\n"):
        assert piped_text(quiet=True) == ""
    with open(os.devnull, encoding="utf-8") as null, mock.patch.object(sys, "stdin", null):
        assert piped_text(quiet=True) == ""
    monkeypatch.setattr(sys, "stdin", None)
    assert piped_text(quiet=True) == ""


def test_a_text_that_is_too_long_for_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LONGEST_LINE", 10)
    with standard_input(b"a\n" * 6), pytest.raises(CorpusError, match="stdin: it has over"):
        piped_text(quiet=True)
    with standard_input(b"a\n" * 6), pytest.raises(CorpusError, match="stdin: it has over"):
        one_text(None, COMMAND, "x")


SHORT_PATIENCE = """
from nlpseq.commands import cli, inputs
inputs.PATIENCE, inputs.SILENCE = 0.2, 0.1
cli.main()
"""


@pytest.mark.parametrize("kind", ["closed", "null", "open pipe"])
def test_generate_never_hangs_on_its_input(model_path: Path, kind: str) -> None:
    reader, writer = os.pipe()
    program = [sys.executable, "-c", SHORT_PATIENCE, "generate", "-m", str(model_path), "--length", "5", "-q"]
    shell = ["sh", "-c", '"$@" <&-', "sh", *program] if kind == "closed" else program
    source = reader if kind == "open pipe" else subprocess.DEVNULL
    done = subprocess.run(shell, stdin=source, capture_output=True, timeout=60, check=True)
    assert done.stdout.endswith(b"\n") and not done.stderr
    os.close(reader)
    os.close(writer)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8")), st.sampled_from([" ", "\t", "\u3000", "\n"]))
def test_what_has_a_space_is_a_text(text: str, space: str) -> None:
    assert is_text(f"a{text}/{space}b.txt", COMMAND)


@settings(deadline=None)
@given(st.text(alphabet="ab.ö-", max_size=5), st.sampled_from(["txt", "TSV", "jsonl", "gz", "docx", "csv"]))
def test_what_looks_like_a_file_that_is_not_there_is_refused(stem: str, suffix: str) -> None:
    for path in (f"x{stem}.{suffix}", f"nowhere/x{stem}.{suffix}", f"./x{stem}", f"/nowhere/{stem}", f"~/x{stem}"):
        with pytest.raises(CorpusError) as raised:
            is_text(path, COMMAND)
        assert raised.value.where == path and raised.value.what == "there is no such file"
        assert raised.value.hint.endswith(f"as a text: echo {shlex.quote(path)} | nlpseq classify")


WORDS = ["word", "3.14", "e.g.", "Node.js", "", "a" * 200 + "/" + "b" * 100]


@pytest.mark.parametrize("text", [*WORDS, "yes/no", "and/or", "km/h", "1/2", "great.film", "A/B.", "w/", "~3.5"])
def test_a_word_is_a_text(text: str) -> None:
    assert is_text(text, COMMAND)


def test_what_may_lie_in_a_folder_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_text("yes/no", COMMAND)
    (tmp_path / "yes").mkdir()
    with pytest.raises(CorpusError, match="yes/no: there is no such file"):
        is_text("yes/no", COMMAND)


def test_a_web_address_is_no_text() -> None:
    with pytest.raises(CorpusError, match="this is a web address, not a file") as raised:
        is_text("https://a.org/b?c=1", COMMAND)
    assert raised.value.hint.startswith("curl -L 'https://a.org/b?c=1' | nlpseq classify; ")
    assert is_text("see https://a.org", COMMAND)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", sorted(COMPRESSED))
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    text = "\ufeffein Film\n" if encoding.endswith("be") else "ein Film\n"
    path.write_bytes(COMPRESSED[suffix](text.encode(encoding)))
    named = encoding.upper().removesuffix("-BE")
    with pytest.raises(CorpusError, match=f"this is {named}, a text is UTF-8") as raised:
        is_text(str(path), COMMAND)
    assert f"iconv -f {named} -t UTF-8" in raised.value.hint
    assert not is_text(str(path), "nlpseq tokenize encode"), "a tokeniser reads every byte"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("my page.html", "nlpseq corpus show 'my page.html' | nlpseq classify reads it without its markup"),
        ("a.XHTML.gz", "nlpseq corpus show a.XHTML.gz | nlpseq classify reads it without its markup"),
        ("a.jsonl", "--jsonl reads its objects"),
        ("a.txt", ""),
    ],
)
def test_a_file_of_markup_or_objects_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, note: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"<p>")
    find_input([name], COMMAND, quiet=False)
    assert capfd.readouterr().err == (f"note: {name} is read as plain text; {note}\n" if note else "")


TABLES = {
    "mails.tsv": (b"label\ttext\ngood\tfine\n", "text"),
    "mails.TSV.gz": (b"label\ttext\ngood\tfine\n", "text"),
    "my mails.csv": (b"id,category,body\n1,good,fine\n", "body"),
    "mails.txt": (b"Label\tText\ngood\tfine\n", "Text"),
    "labels.txt": (b"__label__good fine\n", "text"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("command", ["nlpseq classify", "nlpseq embed", "nlpseq nearest TEXT --in -"])
def test_a_table_with_labels_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data, column = TABLES[name]
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert lines_of(find_input([name], command, quiet=False)) == data.splitlines(), "they are read whole"
    told = capfd.readouterr().err
    shown = f"nlpseq corpus show --text-column {column} {shlex.quote(name)}"
    assert told == (
        f"note: {name} is read as plain text; it looks like a table with labels, and its lines are read whole; "
        f"{shown} | {command} reads its texts alone, and nlpseq evaluate {shlex.quote(name)} its labels too\n"
    )
    find_input([name], command, quiet=True)
    assert capfd.readouterr().err == ""
    texts = CliRunner().invoke(app, shlex.split(shown)[1:], catch_exceptions=False)
    assert texts.stdout == "fine\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tsv", b"good\tfine\nbad\tdull\n"),
        ("a.tsv", b"source\ttarget\na\tb\n"),
        ("a.tsv", b"label\tnumber\na\t1\n"),
        ("a.csv", b"a text, with commas\nlabel, text\n"),
        ("a.csv", b"caf\xe9,text\n"),
        ("a.txt", b"label,text\n"),
        ("a.txt", b"one\n\ttwo\n"),
        ("a.tsv", b""),
    ],
)
def test_a_file_whose_columns_are_not_known_is_not_noted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    find_input([str(tmp_path / name)], COMMAND, quiet=False)
    assert capfd.readouterr().err == ""


def test_what_can_be_read_only_once_is_not_looked_into(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = b"label\ttext\ngood\tfine\n"
    with piped(data=data):
        assert lines_of(find_input(["-"], COMMAND, quiet=False)) == data.splitlines()
    pipe = tmp_path / "mails.tsv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    lines = lines_of(find_input([str(pipe)], COMMAND, quiet=False))
    writer.join()
    assert lines == data.splitlines()
    assert capfd.readouterr().err == ""


def _noted(capfd: pytest.CaptureFixture[str], task: Task, names: tuple[str, ...] = (), *, is_bundled: bool) -> str:
    note_training_input(task, names, is_bundled=is_bundled, quiet=False)
    return capfd.readouterr().err


def test_training_on_a_bundled_corpus_says_that_standard_input_is_not_read(capfd: pytest.CaptureFixture[str]) -> None:
    said = "note: standard input is not read: nlpseq train "
    with piped(data=b"one"):
        assert _noted(capfd, LANGUAGE_MODEL, is_bundled=True) == f"{said}lm - reads it\n"
        assert _noted(capfd, CLASSIFIER, is_bundled=True) == f"{said}sentiment FILE.tsv reads a table\n"
        assert _noted(capfd, TRANSLATOR, is_bundled=True) == f"{said}translation FILE.tsv reads a table\n"
        assert _noted(capfd, LANGUAGE_MODEL, ("a.txt",), is_bundled=False) == ""
        assert sys.stdin.read() == "one", "nothing of it was read"
    with piped():
        assert _noted(capfd, LANGUAGE_MODEL, is_bundled=True) == ""


@pytest.mark.parametrize("task", [CLASSIFIER, TRANSLATOR], ids=["sentiment", "translation"])
def test_only_language_models_read_standard_input(task: Task) -> None:
    with pytest.raises(CorpusError, match="-: standard input is for language models only") as raised:
        note_training_input(task, ("-",), is_bundled=False, quiet=True)
    assert raised.value.hint == f"COMMAND > table.tsv && nlpseq train {task.command} table.tsv"


def test_an_object_is_no_path() -> None:
    assert is_text('{"text":"a/b.txt', COMMAND, objects=True)
    with pytest.raises(CorpusError):
        is_text('{"text":"a/b.txt', COMMAND)


def test_the_nearest_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "my notes.txt").touch()
    (tmp_path / "notes.txt").touch()
    for name, near in (("notes.tx", "notes.txt"), ("note.txt", "notes.txt"), ("mynotes.txt", "'my notes.txt'")):
        with pytest.raises(CorpusError) as raised:
            is_text(str(tmp_path / name), COMMAND)
        assert raised.value.hint.startswith("did you mean ")
        assert near.strip("'") in raised.value.hint.partition("?")[0]


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("folder", "this is a folder, not a file", "nlpseq classify {}/*; as a text: echo {} | nlpseq classify"),
        ("run", "this is a model, not a text", "nlpseq classify -m {}"),
        ("run/model.safetensors", "this is a model, not a text", "nlpseq classify -m {}"),
        ("book.epub", "a .epub file has no lines", "nlpseq corpus show {} | nlpseq classify"),
        ("book.pdf", "a .pdf file has no lines", "pdftotext {} - | nlpseq classify"),
    ],
)
def test_what_has_no_lines_is_refused(tmp_path: Path, name: str, what: str, hint: str) -> None:
    for folder in ("folder", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "run/model.safetensors").touch()
    for book in ("book.epub", "book.pdf"):
        (tmp_path / book).touch()
    with pytest.raises(CorpusError) as raised:
        find_input([str(tmp_path / name)], COMMAND, quiet=True)
    assert raised.value.what == what
    assert raised.value.hint == hint.format(*[tmp_path / name] * 2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch(0)
    with pytest.raises(CorpusError, match="Permission denied"):
        find_input([str(tmp_path / "a.txt")], COMMAND, quiet=True)
