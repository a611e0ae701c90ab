"""The line contract: every line, in order, at once; and a quiet end when the reader goes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from itertools import chain, repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.errors import CorpusError, NlpseqError
from nlpseq.text import lines as lines_module
from nlpseq.text.lines import cut_lines, decode_line, has_unread, read_batches, read_file, standard_input, write_lines
from nlpseq.text.standard_input import input_blocks

ROOT = Path(__file__).parents[2]
DATA = (ROOT / "../shared/data").resolve()

INPUTS = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"\xff", b"\0", b"\x0c", "\u2028".encode(), b"word"])).map(
    b"".join
)


def naive(data: bytes) -> list[bytes]:
    """All lines of `data`; what follows the last newline is one, if it is not empty."""
    *lines, last = data.split(b"\n")
    return [*lines, last] if last else lines


def flat(batches: object) -> list[bytes]:
    return [line for batch in batches for line in batch]  # type: ignore[attr-defined]


@settings(deadline=None, max_examples=100)
@given(blocks=st.lists(INPUTS, max_size=8))
def test_cut_lines_are_those_of_a_naive_reader(blocks: list[bytes]) -> None:
    assert flat(cut_lines(blocks)) == naive(b"".join(blocks))


@settings(deadline=None, max_examples=60)
@given(data=INPUTS, budget=st.integers(1, 12))
def test_every_line_comes_once_and_in_order(data: bytes, budget: int) -> None:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    try:
        assert flat(read_batches(reader, budget)) == naive(data)
    finally:
        os.close(reader)
    assert flat(read_batches(io.BytesIO(data), budget)) == naive(data)


def test_a_file_gives_full_batches(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"12345\n" * 1000)
    with path.open("rb") as file:
        batches = list(read_batches(file.fileno(), 600))
    assert [len(batch) for batch in batches] == [100] * 10


def test_nothing_is_waited_for() -> None:
    reader, writer = os.pipe()
    batches = read_batches(reader)
    os.write(writer, b"one\ntwo\nthr")
    assert next(batches) == [b"one", b"two"]
    os.write(writer, b"ee\n")
    assert next(batches) == [b"three"]
    os.write(writer, b"\n")
    assert next(batches) == [b""]
    os.write(writer, b"last")
    os.close(writer)
    assert list(batches) == [[b"last"]]
    os.close(reader)


def test_an_empty_batch_comes_before_each_wait_if_asked_for(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    batches = read_batches(reader, pauses=True)
    assert next(batches) == []
    os.write(writer, b"one\ntw")
    assert next(batches) == [b"one"]
    assert next(batches) == []
    os.write(writer, b"o\n")
    os.close(writer)
    assert list(batches) == [[b"two"]], "an input that has ended is not waited for"
    os.close(reader)
    (tmp_path / "lines").write_bytes(b"12345\n" * 1000)
    assert all(read_file(str(tmp_path / "lines"), pauses=True)), "nor is a file"


def test_all_that_waits_is_taken_at_once() -> None:
    reader, writer = os.pipe()
    for number in range(50):
        os.write(writer, b"%d\n" % number)
    assert len(next(read_batches(reader))) == 50
    os.close(writer)
    os.close(reader)


def test_more_than_a_pipe_holds_comes_whole() -> None:
    data = b"".join(b"line %d\n" % number for number in range(100_000))
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    assert flat(read_batches(reader, 5000)) == naive(data)
    thread.join()
    os.close(reader)


def test_a_descriptor_set_not_to_wait_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    timer = threading.Timer(0.05, lambda: (os.write(writer, b"late\n"), os.close(writer)))
    timer.start()
    assert list(read_batches(reader)) == [[b"late"]]
    timer.join()
    os.close(reader)


def _is_unread(monkeypatch: pytest.MonkeyPatch, source: object) -> bool:
    monkeypatch.setattr(sys, "stdin", source)
    return has_unread()


def test_unread_bytes_of_a_file_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with (tmp_path / "a.txt").open() as file:
        assert _is_unread(monkeypatch, file)
        assert file.read() == "one\n"
        assert not _is_unread(monkeypatch, file)


def test_unread_bytes_of_a_pipe_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader) as file:
        assert not _is_unread(monkeypatch, file), "it is open and empty"
        os.write(writer, b"one")
        assert _is_unread(monkeypatch, file)
        os.close(writer)
        assert _is_unread(monkeypatch, file), "it has ended, with bytes in it"
        assert file.read() == "one"
        assert not _is_unread(monkeypatch, file)


def test_a_device_a_terminal_and_a_closed_input_hold_nothing_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"typed\n")
    with open(os.devnull) as null, open(terminal) as screen:
        assert not _is_unread(monkeypatch, null)
        assert not _is_unread(monkeypatch, screen)
    assert not _is_unread(monkeypatch, None)
    os.close(keyboard)


def test_a_corpus_that_is_typed_ends_with_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, "zwölf\nend\n\x04after\n\x04".encode())
    with open(terminal) as screen:
        monkeypatch.setattr(sys, "stdin", screen)
        assert b"".join(input_blocks()) == "zwölf\nend\n".encode()
        assert b"".join(input_blocks()) == "zwölf\nend\n".encode()
        assert os.read(terminal, 100) == b"after\n", "what was typed after the key was not read"
    os.close(keyboard)


def test_a_terminal_answers_each_line() -> None:
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    batches = read_batches(terminal)
    os.write(keyboard, b"hello\n")
    assert next(batches) == [b"hello"]
    os.write(keyboard, b"again\n\x04")  # Ctrl-D ends the input, once
    assert list(batches) == [[b"again"]]
    os.close(keyboard)
    os.close(terminal)


def test_a_line_beyond_the_limit_is_handed_on_cut() -> None:
    blocks = [b"a" * 7, b"a" * 7 + b"\nshort\n" + b"b" * 30 + b"\nc", b"d\n" + b"e" * 11]
    assert flat(cut_lines(blocks, longest=10)) == [b"a" * 11, b"short", b"b" * 11, b"cd", b"e" * 11]
    assert flat(cut_lines([b"f" * 10], longest=10)) == [b"f" * 10]


def test_an_endless_line_takes_constant_memory() -> None:
    assert flat(cut_lines((b"x" * 1000 for _ in range(100_000)), longest=5000)) == [b"x" * 5001]


def test_an_endless_line_ends_what_wants_a_single_text() -> None:
    blocks = chain([b"a\nb"], repeat(b"0123456789"))
    assert list(cut_lines(blocks, 12, stops=True)) == [[b"a"], [b"b012345678901"]]


def test_lines_that_cannot_be_decoded_keep_their_bytes() -> None:
    assert decode_line("grüße\r\u2028".encode()) == ("grüße\r\u2028", "ok")
    assert decode_line(b"") == ("", "ok")
    text, status = decode_line(b"caf\xe9")
    assert (text, status) == ("caf\udce9", "invalid-utf8")
    assert text.encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_a_line_that_was_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "LONGEST_LINE", 4)
    assert decode_line(b"abcd") == ("abcd", "ok")
    assert decode_line(b"abcde") == ("abcde", "too-long")


@pytest.mark.skipif(not (DATA / "robustness").is_dir(), reason="shared/data/robustness is not there")
def test_robustness_files_lose_no_line() -> None:
    for path in sorted((DATA / "robustness").rglob("*.*")):
        data = path.read_bytes()
        with path.open("rb") as file:
            lines = flat(read_batches(file.fileno(), 1000))
        assert lines == naive(data), path.name
        texts = [decode_line(line)[0] for line in lines]
        assert [text.encode("utf-8", "surrogateescape") for text in texts] == lines


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(CorpusError, match="stdin: it cannot be read: Is a directory"):
        list(read_batches(folder))
    os.close(folder)
    with pytest.raises(CorpusError, match="stdin: it cannot be read: Bad file descriptor"):
        list(read_batches(folder))


def test_standard_input_may_be_an_object_or_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo")))
    assert list(read_batches(standard_input())) == [[b"one"], [b"two"]]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CorpusError, match="stdin: it is closed"):
        standard_input()


def test_lines_are_written_and_flushed() -> None:
    output = io.BytesIO()
    write_lines([b"one", b"", b"\xff"], output)
    assert output.getvalue() == b"one\n\n\xff\n"


def test_more_than_a_pipe_holds_is_written_whole_even_where_it_would_not_wait() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    taken: list[bytes] = []
    thread = threading.Thread(target=lambda: taken.extend(flat(read_batches(reader))))
    thread.start()
    lines = [b"line %d" % number for number in range(100_000)]
    with os.fdopen(writer, "wb") as output:
        write_lines(lines, output)
    thread.join()
    os.close(reader)
    assert taken == lines


def test_a_closed_standard_output_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(NlpseqError, match="stdout: it is closed"):
        write_lines([b"one"])


FILTER = """
import sys
from nlpseq.errors import NlpseqError
from nlpseq.text.lines import ReaderGone, read_batches, standard_input, write_lines
try:
    print("first")
    for batch in read_batches(standard_input()):
        write_lines(line.upper() for line in batch)
except ReaderGone:
    sys.exit(0)
except NlpseqError as error:
    sys.exit(f"error: {error}")
"""


def run(shell: str) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "FILTER": FILTER}
    environment.pop("PYTHONUNBUFFERED", None)  # else print() itself meets the closed pipe
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, env=environment, check=False
    )


def test_a_filter_answers_in_order_after_what_was_printed() -> None:
    result = run('printf "one\\ntwo" | "$PYTHON" -c "$FILTER"')
    assert (result.returncode, result.stdout, result.stderr) == (0, b"first\nONE\nTWO\n", b"")


def test_a_closed_pipe_ends_quietly() -> None:
    result = run('"$PYTHON" -c "$FILTER" < <(yes | head -c 5000000) | head -1')
    assert (result.returncode, result.stdout, result.stderr) == (0, b"first\n", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence() -> None:
    result = run('echo one | "$PYTHON" -c "$FILTER" > /dev/full')
    assert result.returncode == 1
    assert result.stderr == b"error: stdout: it cannot be written: No space left on device\n"
