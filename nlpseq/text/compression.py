"""The bytes of a file, decompressed according to its suffix. A compression is one line in COMPRESSIONS.

The capitalisation of suffixes does not matter. A file is read in blocks, so memory stays constant; damage in a
compressed file is found when the reader gets there.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shlex
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.paths import is_folder, status
from nlpseq.text.beginnings import whole_name

PIECE_BYTES = 1 << 20
STANDARD_INPUT = "-"  # as the name of a corpus
FOR_LANGUAGE_MODELS = "standard input is for language models only"  # why another task refuses it
MEMBER = ":"  # between the names of an archive and of a file in it


class Compression(NamedTuple):
    """One compression: suffix, name, the first bytes of its files, a function that opens one, and a shell command."""

    suffix: str
    name: str
    magic: bytes
    open: Callable[[BinaryIO], Any]
    command: str


def _open_zstd(file: BinaryIO) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")


COMPRESSIONS: dict[str, Compression] = {
    compression.suffix: compression
    for compression in (
        Compression(".gz", "gzip", b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file), "gzip -dc"),
        Compression(".xz", "xz", b"\xfd7zXZ\0", lzma.LZMAFile, "xz -dc"),
        Compression(".zst", "zstd", b"\x28\xb5\x2f\xfd", _open_zstd, "zstd -dc"),
        Compression(".bz2", "bzip2", b"BZh", bz2.BZ2File, "bzip2 -dc"),
    )
}


def compression_of(name: str) -> Compression | None:
    """The compression that a file's name ends in, or None."""
    return COMPRESSIONS.get(Path(whole_name(name)).suffix.lower())


def uncompressed_name(name: str) -> str:
    """A file's name without the suffix of its compression."""
    name = whole_name(name)
    return name[: -len(compression.suffix)] if (compression := compression_of(name)) else name


def format_suffix(name: str) -> str:
    """The suffix of a file's format, in lower case: `.csv` for `Table.CSV.gz`; "" for a name without a suffix."""
    return Path(uncompressed_name(name)).suffix.lower()


def archive_member(name: str) -> tuple[str, str] | None:
    """The archive and the file in it that `book.zip:chapter.txt` names; None for any other name."""
    archive, separator, member = name.partition(MEMBER)
    while separator and not os.path.isfile(archive):
        more, separator, member = member.partition(MEMBER)
        archive += MEMBER + more
    return (archive, member) if separator and not os.path.exists(name) else None


def shell_input(name: str, command: str) -> str:
    """A shell command that reads a file, compressed, in a zip archive or neither, on its standard input."""
    if name == STANDARD_INPUT:
        return f"COMMAND | {command}"
    compression, quoted = compression_of(name), shlex.quote(name)
    if inner := archive_member(name):
        unzip = " ".join(["unzip -p", *map(shlex.quote, inner)])
        return f"{unzip} | {compression.command} | {command}" if compression else f"{unzip} | {command}"
    return f"{compression.command} {quoted} | {command}" if compression else f"{command} < {quoted}"


def show_line(name: str, number: int | str) -> str:
    """A shell command that shows one line of a file, compressed or not."""
    command = f"sed -n {number}p"
    return shell_input(name, command) if compression_of(name) else f"{command} {shlex.quote(name)}"


def new_name(name: str, ending: str) -> str:
    """The name of the file that a hint's command writes, in the working folder, quoted for a shell."""
    _, file = archive_member(name) or ("", name)
    stem = "input" if name == STANDARD_INPUT else Path(uncompressed_name(file)).stem
    return shlex.quote(stem + ending)


def read_blocks(path: str | Path) -> Iterator[bytes]:
    """The bytes of a file in blocks of at most PIECE_BYTES.

    Raises CorpusError at once for a file that does not exist, and while reading for a file that cannot be read or is
    damaged.
    """
    name = str(path)
    if is_folder(path):
        raise CorpusError(name, "this is a folder, not a file", f"name its files: {name.rstrip('/')}/*")
    found = status(path)
    if found is None:
        raise CorpusError(name, "there is no such file")
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        raise CorpusError(name, "this is a device, not a file")
    return _read_blocks(Path(path))


def _read_blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from stream_blocks(str(path), file)
    except OSError as error:
        raise CorpusError(str(path), f"it cannot be read: {error.strerror or error}") from None


def stream_blocks(name: str, file: BinaryIO) -> Iterator[bytes]:
    """The bytes of an open file in blocks of at most PIECE_BYTES, decompressed as the suffix of `name` says.

    Raises CorpusError, while reading, for a file that cannot be read or is damaged.
    """
    compression = compression_of(name)
    try:
        with compression.open(file) if compression else nullcontext(file) as stream:
            while block := stream.read(PIECE_BYTES):
                yield block
    except _damages() as error:
        is_ours = compression is not None or not isinstance(error, OSError)
        if isinstance(error, OSError) and (error.errno is not None or not is_ours):
            raise CorpusError(name, f"it cannot be read: {error.strerror or error}") from None
        raise CorpusError(name, f"its compressed data is damaged: {error}", "take a good copy") from None


def _damages() -> tuple[type[Exception], ...]:
    """What reading a damaged file may raise, also one in a zip archive."""
    from zipfile import BadZipFile  # 8 ms

    return (EOFError, zlib.error, lzma.LZMAError, OSError, BadZipFile)
