"""The text files of a folder, a pattern or a zip archive, in the order of their paths.

Hidden files, files that are not text and empty files are left out and counted. A folder is looked through again each
time it is read. Folders that hold a model are left out, so that a run may write its folder inside its own corpus.
"""

from __future__ import annotations

import glob
import os
import shlex
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import PurePath
from typing import BinaryIO, Literal, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.text.addresses import is_address
from nlpseq.text.compression import compression_of, format_suffix, stream_blocks
from nlpseq.text.documents import DOCUMENTS
from nlpseq.text.documents.package import member_name, open_member, open_package
from nlpseq.text.encodings import HEAD, is_binary
from nlpseq.text.lines import BYTE_ORDER_MARK
from nlpseq.text.progress import Meter

ZIP = ".zip"
ARCHIVE = "a zip archive"
MODEL_FILES = ("model.safetensors", "resume.safetensors")

Kind = Literal["text", "hidden", "empty", "other"]


class Entry(NamedTuple):
    """A file of a collection: its name for messages, whether it is hidden, and a function that opens it."""

    name: str
    hidden: bool
    open: Callable[[], AbstractContextManager[BinaryIO]]
    is_member: bool = False  # of an archive

    def kind(self) -> Kind:
        """What the file is, by its name and its first bytes. Raises CorpusError if it cannot be read."""
        if self.hidden:
            return "hidden"
        suffix = format_suffix(self.name)
        with opened(self) as file:
            try:
                head = next(stream_blocks(self.name, file), b"") if compression_of(self.name) else file.read(HEAD)
            except CorpusError:  # found again, and told, when the file is read
                return "text"
        if not head.removeprefix(BYTE_ORDER_MARK):
            return "empty"
        return "text" if suffix in (ZIP, *DOCUMENTS) or not is_binary(head[:HEAD]) else "other"


def opened(entry: Entry) -> AbstractContextManager[BinaryIO]:
    """An entry, open. Raises CorpusError if it cannot be opened."""
    try:
        return entry.open()
    except OSError as error:
        raise CorpusError(entry.name, f"it cannot be read: {error.strerror or error}") from None


def texts(entries: Iterable[Entry], counts: Counter[Kind], meter: Meter | None = None) -> Iterator[Entry]:
    """The text files of a collection; all kinds are counted, and `meter` counts the bytes of what is left out."""
    for entry in entries:
        kind = entry.kind()
        counts[kind] += 1
        if kind == "text":
            yield entry
        elif meter is not None and not entry.is_member:
            meter.skip(os.path.getsize(entry.name))


def is_pattern(name: str) -> bool:
    """Whether a name is a pattern of file names, such as `books/*.txt`, and not the name of a file."""
    has_signs = any(character in name for character in "*?[")
    return has_signs and "\0" not in name and not is_address(name) and not os.path.lexists(name)


def folder_entries(folder: str) -> Iterator[Entry]:
    """The files in a folder and the folders in it. Raises CorpusError for a folder that cannot be read."""
    return _folder_entries(folder, set())


def pattern_entries(pattern: str) -> Iterator[Entry]:
    """The files that a pattern matches, and those in the folders that it matches. Raises CorpusError without a match.

    As in a shell, a star does not match a dot at the start of a name.
    """
    matches = sorted(glob.glob(pattern, recursive=True), key=_order)
    if not matches:
        hint = f"ls {shlex.quote(os.path.dirname(pattern) or '.')}"
        raise CorpusError(pattern, "no file matches this pattern", hint)
    seen: set[tuple[int, int]] = set()
    for path in matches:
        if os.path.isdir(path):
            yield from _folder_entries(path, seen)
        elif _is_file(path):
            yield Entry(path, False, partial(_open, path))


def archive_entries(name: str, file: BinaryIO) -> Iterator[Entry]:
    """The files in a zip archive. Raises CorpusError if it is damaged."""
    package = open_package(name, file, ARCHIVE)
    members = (member for member in package.infolist() if not member.is_dir())
    for member in sorted(members, key=lambda member: _order(member.filename)):
        hidden = any(map(_is_hidden, member.filename.split("/")))
        where = member_name(name, member.filename)
        yield Entry(where, hidden, partial(open_member, name, package, member), is_member=True)


def _folder_entries(folder: str, seen: set[tuple[int, int]]) -> Iterator[Entry]:
    """As `folder_entries`; `seen` are the folders that were read, so that a loop of links ends."""
    try:
        status = os.stat(folder)
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(folder, f"it cannot be read: {error.strerror or error}") from None
    key = (status.st_dev, status.st_ino)
    if key in seen or any(entry.name in MODEL_FILES for entry in found):
        return
    seen.add(key)
    for entry in found:
        hidden = _is_hidden(entry.name)
        if os.path.isdir(entry.path):
            if not hidden:
                yield from _folder_entries(entry.path, seen)
        elif _is_file(entry.path):
            yield Entry(entry.path, hidden, partial(_open, entry.path))


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def _is_file(path: str) -> bool:
    """Whether a path is that of a file, not of a pipe, a device or a broken link."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name == "__MACOSX"


def _order(path: str) -> tuple[str, ...]:
    return PurePath(path).parts
