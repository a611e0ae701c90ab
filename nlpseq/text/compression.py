"""The bytes of a file, decompressed as its suffix says. A compression is one line in COMPRESSIONS.

Suffixes count in any capitalisation. A file is read in blocks, so memory stays constant; damage in a compressed file
is found when the reader gets there.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shlex
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nlpseq.errors import CorpusError

PIECE_BYTES = 1 << 20


class Compression(NamedTuple):
    """One compression: its suffix, its name, the first bytes of its files, how one is opened, and a shell command."""

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
    return COMPRESSIONS.get(Path(name).suffix.lower())


def uncompressed_name(name: str) -> str:
    """A file's name without the suffix of its compression."""
    return name[: -len(found.suffix)] if (found := compression_of(name)) else name


def format_suffix(name: str) -> str:
    """The suffix that tells a file's format, in small letters: `.csv` for `Table.CSV.gz`; "" if there is none."""
    return Path(uncompressed_name(name)).suffix.lower()


def shell_input(name: str, command: str) -> str:
    """A shell command that reads a file, compressed or not, on its standard input."""
    found = compression_of(name)
    return f"{found.command} {shlex.quote(name)} | {command}" if found else f"{command} < {shlex.quote(name)}"


def show_line(name: str, number: int | str) -> str:
    """A shell command that shows one line of a file, compressed or not."""
    found = compression_of(name)
    command = f"sed -n {number}p"
    return shell_input(name, command) if found else f"{command} {shlex.quote(name)}"


def new_name(name: str, ending: str) -> str:
    """A name in the working folder, quoted for a shell, for what a hint's command makes of a file."""
    return shlex.quote(Path(uncompressed_name(name)).stem + ending)


def read_blocks(path: str | Path) -> Iterator[bytes]:
    """The bytes of a file in blocks of at most PIECE_BYTES.

    Raises CorpusError for a file that does not exist when called, and for one that cannot be read or is damaged while
    reading.
    """
    name = str(path)
    if os.path.isdir(path):
        raise CorpusError(name, "this is a folder, not a file", f"name its files: {name.rstrip('/')}/*")
    if not os.path.exists(path):
        raise CorpusError(name, "there is no such file")
    return _read_blocks(Path(path))


def _read_blocks(path: Path) -> Iterator[bytes]:
    found = compression_of(str(path))
    try:
        with path.open("rb") as file, found.open(file) if found else file as stream:
            while block := stream.read(PIECE_BYTES):
                yield block
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and (error.errno is not None or found is None):
            raise CorpusError(str(path), f"it cannot be read: {error.strerror or error}") from None
        raise CorpusError(str(path), f"its compressed data is damaged: {error}", "take a good copy") from None
