"""Lines in, lines out: reading and writing the lines of the filters.

    read_batches      takes all input that waits on standard input, and waits for no more
    read_file         the lines of a file, decompressed according to its suffix
    optional_input    standard input if it may hold text, for a command that can do without
    has_unread        whether text waits on standard input
    decode_line       a line's text, and whether its bytes were valid
    write_lines       one line out for each line in, flushed; a closed pipe becomes ReaderGone

Lines are bytes, and only "\\n" ends one: a CR, a form feed or a U+2028 belongs to its line. Input is read from the
descriptor itself, not through Python's buffers, which wait until they are full. So typing gets an answer to each line,
and a file gets full batches. Nothing is lost silently: a line longer than LONGEST_LINE is cut to one byte more than the
limit, so that the caller can recognise it and answer with a status.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from typing import BinaryIO, cast

from nlpseq.errors import CorpusError, NlpseqError
from nlpseq.text.display import harmless

BUDGET = 1 << 20  # bytes taken at once
LONGEST_LINE = 1 << 24  # bytes

FIRST_LINES, LINES_AT_ONCE = 64, 1024  # lines of a batch that are answered together

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OK = "ok"
INVALID = "invalid-utf8"
TOO_LONG = "too-long"


class ReaderGone(Exception):
    """Standard output has lost its reader, as after `| head -1`: the program ends quietly, with status 0."""


def standard_input() -> int | BinaryIO:
    """Where `read_batches` should read: standard input's descriptor, or the object that replaces it."""
    if sys.stdin is None:
        raise CorpusError("stdin", "it is closed")
    descriptor = _descriptor(sys.stdin.buffer)
    return sys.stdin.buffer if descriptor is None else descriptor


def is_terminal() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def optional_input() -> int | BinaryIO | None:
    """Standard input if it may hold text for a command that can do without: a file or a pipe; else None.

    A terminal and a device such as /dev/null are not read. Windows cannot tell whether a pipe has data, so no pipe is
    read there.
    """
    if sys.stdin is None:
        return None
    source = standard_input()
    if not isinstance(source, int):
        return source
    try:
        kind = os.fstat(source).st_mode
    except OSError:
        return None
    is_pipe = (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)) and sys.platform != "win32"
    return source if is_pipe or stat.S_ISREG(kind) else None


def comes(source: int | BinaryIO, seconds: float) -> bool:
    """Whether an `optional_input` has data, or ends, within some seconds."""
    return sys.platform == "win32" or not isinstance(source, int) or _waits(source, seconds)


def has_unread() -> bool:
    """Whether standard input is a file or a pipe with bytes that were not read; nothing is read or waited for.

    It is False for a pipe on Windows, which cannot tell, and for an object that replaces standard input.
    """
    source = optional_input()
    if not isinstance(source, int):
        return False
    status = os.fstat(source)
    if stat.S_ISREG(status.st_mode):
        return status.st_size > os.lseek(source, 0, os.SEEK_CUR)
    return _waits(source) and _waiting_bytes(source) > 0


def read_batches(
    source: int | BinaryIO,
    budget: int = BUDGET,
    longest: int = LONGEST_LINE,
    name: str = "stdin",
    *,
    pauses: bool = False,
    stops: bool = False,
) -> Iterator[list[bytes]]:
    """Lines without their newlines, in batches: all lines waiting on the descriptor, up to `budget` bytes.

    Blocks only while there is no whole line. Text after the last newline is a line too. A line of more than `longest`
    bytes is cut to `longest + 1`, and with `stops` it is the last. With `pauses`, an empty batch comes before each wait
    for a descriptor. Raises CorpusError, about `name`, if reading fails.
    """
    return cut_lines(_blocks(source, budget, name, pauses=pauses), longest, stops=stops)


def read_file(path: str, longest: int = LONGEST_LINE, *, pauses: bool = False) -> Iterator[list[bytes]]:
    """The lines of a file as `read_batches` reads them, decompressed according to the file's suffix.

    A named pipe is read as standard input is: nothing is waited for. Memory is constant. Raises CorpusError if the
    file cannot be read or its compressed data is damaged.
    """
    from nlpseq.text.compression import compression_of, read_blocks  # loads four libraries

    if compression_of(path):
        yield from cut_lines(read_blocks(path), longest)
        return
    try:
        with open(path, "rb", buffering=0) as file:
            yield from read_batches(file.fileno(), longest=longest, name=path, pauses=pauses)
    except OSError as error:
        raise CorpusError(path, f"it cannot be read: {error.strerror or error}") from None


def cut_lines(
    blocks: Iterable[bytes | None], longest: int = LONGEST_LINE, *, stops: bool = False
) -> Iterator[list[bytes]]:
    """The lines that each block completes, a list for each block; long and last lines as in `read_batches`.

    None among the blocks becomes an empty list.
    """
    pending = bytearray()
    for block in blocks:
        if block is None:
            yield []
            continue
        first, *rest = block.split(b"\n")
        pending += first[: longest + 1 - len(pending)]
        if rest:
            yield [bytes(pending), *(line[: longest + 1] for line in rest[:-1])]
            pending = bytearray(rest[-1][: longest + 1])
        if stops and len(pending) > longest:
            break
    if pending:
        yield [bytes(pending)]


def portions(batch: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """A batch's lines in portions, the first one small, so that the first answers come soon."""
    yield batch[:FIRST_LINES]
    for start in range(FIRST_LINES, len(batch), LINES_AT_ONCE):
        yield batch[start : start + LINES_AT_ONCE]


def decode_line(line: bytes) -> tuple[str, str]:
    """The text of a line, undecodable bytes as lone surrogates, and its status: OK, INVALID or TOO_LONG."""
    if len(line) > LONGEST_LINE:
        return line.decode("utf-8", "surrogateescape"), TOO_LONG
    try:
        return line.decode("utf-8"), OK
    except UnicodeDecodeError:
        return line.decode("utf-8", "surrogateescape"), INVALID


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold a text: it cannot hold half of a character, which JSON spells as \\ud800."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_lines(lines: Iterable[bytes], output: BinaryIO | None = None) -> None:
    """Write each line and a newline to `output` (None: standard output); raises as `write_bytes`."""
    write_bytes(b"".join(line + b"\n" for line in lines), output)


def write_bytes(data: bytes, output: BinaryIO | None = None, *, is_harmless: bool = False) -> None:
    """Write to `output` (None: standard output) at once; what would steer a terminal is escaped if it is one.

    `is_harmless` says that the data steers a terminal on purpose and holds nothing else that does.

    Raises ReaderGone if the output has lost its reader, and NlpseqError if it cannot be written. After either, the
    descriptor leads to the null device, so that buffered output causes no error when the interpreter ends.
    """
    stream = _standard_output() if output is None else output
    descriptor = _descriptor(stream)
    try:
        (sys.stdout if output is None else stream).flush()
        if descriptor is None:
            stream.write(data)
        else:
            is_raw = is_harmless or not os.isatty(descriptor)
            _write(descriptor, data if is_raw else harmless(data.decode("utf-8", "replace")).encode())
    except BrokenPipeError:
        _silence(descriptor)
        raise ReaderGone from None
    except OSError as error:
        _silence(descriptor)
        raise NlpseqError("stdout", f"it cannot be written: {error.strerror or error}") from None


def _standard_output() -> BinaryIO:
    if sys.stdout is None:
        raise NlpseqError("stdout", "it is closed")
    return sys.stdout.buffer


def _blocks(source: int | BinaryIO, budget: int, name: str, *, pauses: bool) -> Iterator[bytes | None]:
    """Blocks of the bytes waiting on `source`, up to `budget` each, until it ends. Raises CorpusError.

    With `pauses`, None comes before a wait.
    """
    try:
        if isinstance(source, int):
            yield from _descriptor_blocks(source, budget, pauses=pauses)
        else:
            yield from iter(lambda: cast(BufferedReader, source).read1(budget), b"")
    except OSError as error:
        raise CorpusError(name, f"it cannot be read: {error.strerror or error}") from None


def _descriptor_blocks(descriptor: int, budget: int, *, pauses: bool) -> Iterator[bytes | None]:
    ended = False
    while not ended:
        if pauses and not _waits(descriptor):
            yield None
        pieces: list[bytes] = []
        remaining = budget
        while remaining and not ended and (not pieces or _waits(descriptor)):
            pieces.append(_read(descriptor, remaining))
            remaining -= len(pieces[-1])
            ended = not pieces[-1]
        yield b"".join(pieces)


def _read(descriptor: int, size: int) -> bytes:
    """Read the available bytes; waits for the first one even if the descriptor is non-blocking."""
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:
            select.select([descriptor], [], [])


def _waits(descriptor: int, seconds: float = 0) -> bool:
    """Whether a read would return at once, now or within some seconds; always False on Windows, which cannot tell."""
    if sys.platform == "win32":
        return False
    return bool(select.select([descriptor], [], [], seconds)[0])


def _waiting_bytes(descriptor: int) -> int:
    """The number of bytes that a pipe holds; 0 on Windows, and for a pipe that has ended."""
    if sys.platform == "win32":
        return 0
    import fcntl
    import termios

    count = array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


def _descriptor(stream: BinaryIO) -> int | None:
    """The descriptor of a stream; None for a stream in memory, as in tests."""
    try:
        return stream.fileno()
    except OSError:
        return None


def _write(descriptor: int, data: bytes) -> None:
    """Write all data; waits even if the descriptor is non-blocking."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def _silence(descriptor: int | None) -> None:
    """Redirect a descriptor to the null device, where the rest of Python's buffers goes."""
    if descriptor is not None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
