"""The record of a document format, and documents without text."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from nlpseq.errors import CorpusError
from nlpseq.text.compression import compression_of, stream_blocks


class NoText(CorpusError):
    """A document, a folder or an archive without text; in a folder or an archive it is passed over."""


class DocumentFormat(NamedTuple):
    """A format of documents: the suffixes of its files, its name, and the function that reads one.

    The function takes the file's name, for messages, and the open file, decompressed and with a position that can be
    changed. It yields the text in pieces of about a megabyte, each block of text on a line, and raises CorpusError for
    a file that is damaged, and NoText for one without text.
    """

    suffixes: tuple[str, ...]
    noun: str
    read: Callable[[str, BinaryIO], Iterator[str]]


@contextmanager
def unpacked(name: str, file: BinaryIO, *, is_member: bool) -> Iterator[BinaryIO]:
    """A file whose position can be changed freely: a compressed file or a member of an archive in a temporary file.

    Raises CorpusError if it is damaged or the disk is full.
    """
    if compression_of(name) is None and not is_member:
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        try:
            for block in stream_blocks(name, file):
                copy.write(block)
            copy.seek(0)
        except OSError as error:
            raise CorpusError(name, f"it cannot be unpacked: {error.strerror or error}") from None
        yield cast(BinaryIO, copy)


def with_text(name: str, pieces: Iterator[str]) -> Iterator[str]:
    """The same pieces. Raises NoText at the end if all of them are blank."""
    is_blank = True
    for piece in pieces:
        is_blank = is_blank and (not piece or piece.isspace())
        yield piece
    if is_blank:
        raise NoText(name, "it has no text")
