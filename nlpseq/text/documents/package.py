"""Zip archives, as documents are packed in: their members as streams, and one sentence for each fault.

No member is held in memory, so an archive that unpacks to terabytes costs time but no memory.
"""

from __future__ import annotations

import io
import lzma
import shlex
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, LargeZipFile, ZipFile, ZipInfo

from nlpseq.errors import CorpusError
from nlpseq.text.compression import MEMBER, PIECE_BYTES, archive_member

OFFICE_FILE = b"\xd0\xcf\x11\xe0"  # the first bytes of Office's older format, in which encrypted documents are packed
MOST_XML = 16 << 20  # bytes of a table of contents
ENCRYPTED = 1  # a bit of a member's flags


def open_package(name: str, file: BinaryIO, noun: str) -> ZipFile:
    """The zip archive of a file. Raises CorpusError if it is not one, or is cut short."""
    try:
        if file.read(4) == OFFICE_FILE:
            what = f"it is not {noun}, but an old or an encrypted Office document"
            raise CorpusError(name, what, "save it in the new format, without a password")
        file.seek(0)
        return ZipFile(file)
    except _faults() as error:
        what = f"it is not {noun}, or it is cut short: {_reason(error)}"
        raise CorpusError(name, what, "take a good copy") from None


@contextmanager
def open_member(name: str, package: ZipFile, member: ZipInfo) -> Iterator[BinaryIO]:
    """A member of an archive, open. Raises CorpusError if it is encrypted or packed in an unknown way."""
    where = member_name(name, member.filename)
    if member.flag_bits & ENCRYPTED:
        archive, _ = archive_member(where) or (name, "")
        folder = shlex.quote(Path(archive).stem)
        hint = f"unzip {shlex.quote(archive)} -d {folder}, which asks for the password; then name the folder {folder}"
        raise CorpusError(where, "it is encrypted", hint)
    try:
        file = package.open(member)
    except _faults() as error:
        raise CorpusError(where, f"it cannot be unpacked: {_reason(error)}", "take a good copy") from None
    with file:
        yield io.BufferedReader(_Member(where, file), PIECE_BYTES)


class _Member(io.RawIOBase):
    """A member that is read from start to end."""

    def __init__(self, where: str, file: Any) -> None:
        self.where = where
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes. Raises CorpusError for damaged data."""
        try:
            data = self.file.read(len(buffer))
        except _faults() as error:
            what = f"its compressed data is damaged: {_reason(error)}"
            raise CorpusError(self.where, what, "take a good copy") from None
        buffer[: len(data)] = data
        return len(data)


def member_name(name: str, member: str) -> str:
    """The name of a file in an archive, for messages: `book.zip:chapter.txt`."""
    return name + MEMBER + "".join(letter if letter.isprintable() else "?" for letter in member)


def member_blocks(name: str, package: ZipFile, member: str) -> Iterator[bytes]:
    """The bytes of a member of an archive in blocks. Raises CorpusError if it is missing or damaged."""
    try:
        found = package.getinfo(member)
    except KeyError:
        raise CorpusError(name, f"its file {member!r:.80} is missing", "take a good copy") from None
    with open_member(name, package, found) as file:
        while block := file.read(PIECE_BYTES):
            yield block


def member_xml(name: str, package: ZipFile, member: str) -> Any:
    """The root element of a small XML file in an archive. Raises CorpusError if it is missing, huge or damaged."""
    from lxml import etree

    data = b""
    for block in member_blocks(name, package, member):
        data += block
        if len(data) > MOST_XML:
            raise CorpusError(member_name(name, member), f"it is larger than {MOST_XML:,} bytes")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        what = f"it is not XML: {_reason(error)}"
        raise CorpusError(member_name(name, member), what, "take a good copy") from None


def elements(root: Any, kind: str) -> list[Any]:
    """All elements of a kind, by its name without namespace."""
    found: list[Any] = root.xpath(f"//*[local-name()='{kind}']")
    return found


def _faults() -> tuple[type[Exception], ...]:
    """What zipfile raises for archives that are damaged, encrypted or made on purpose to break it."""
    named = (BadZipFile, LargeZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, lzma.LZMAError)
    return (*named, OSError, ValueError, LookupError, ArithmeticError, struct.error)


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(str(reason).split())[:200] or type(error).__name__
