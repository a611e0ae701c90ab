"""Corpora as streams of text: files, documents, folders, bundled corpora and hub data sets, in pieces of a megabyte.

Memory stays constant, because a file is read in blocks and passed on in pieces. A piece ends with a line, or within a
very long line before a space, else between two characters. The price is that a fault deep in a file is found only when
the reader gets there.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO

from nlpseq.errors import CorpusError
from nlpseq.paths import exists, is_file, is_folder
from nlpseq.text.addresses import ADDRESS, download, is_address
from nlpseq.text.beginnings import beginning, first_lines, whole_name
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.collection import (
    ARCHIVE,
    ZIP,
    Entry,
    Kind,
    archive_entries,
    folder_entries,
    is_pattern,
    opened,
    pattern_entries,
    texts,
)
from nlpseq.text.compression import (
    FOR_LANGUAGE_MODELS,
    STANDARD_INPUT,
    archive_member,
    format_suffix,
    new_name,
    read_blocks,
    stream_blocks,
    uncompressed_name,
)
from nlpseq.text.documents import DOCUMENTS
from nlpseq.text.documents.format import NoText, unpacked
from nlpseq.text.encodings import decode_utf8, regular_pieces
from nlpseq.text.hub import HUB, read_hub
from nlpseq.text.progress import Meter
from nlpseq.text.standard_input import input_blocks

MOST_NESTED = 3  # archives in each other
COLUMNS = (".parquet",)  # tables that are not text
LONGEST_LEARNED = 1 << 24  # characters of a line, or of a word, that a vocabulary is learned from


def open_corpus(name: str, meter: Meter | None = None) -> Iterator[str]:
    """The text of a corpus in pieces, by its name; `meter` counts the bytes of files.

        a file, compressed or not; of a web page, an EPUB book or a Word document its text
        a zip archive, a folder or a pattern such as `books/*.txt`: the text files in it, each ending in a newline
        `-`: standard input
        a bundled corpus
        `hf:NAME[:CONFIG]`
        any of these with `@N` after it: its first N lines, or rows of a data set

    A file has precedence over a bundled corpus of the same name, and that over a folder. Raises CorpusError for any
    other name, with the nearest one that exists, and as `read_text` and `read_hub` do.
    """
    whole, limit = beginning(name)
    if limit is not None and not name.startswith(HUB):
        return first_lines(open_corpus(whole, meter), limit)
    if name == STANDARD_INPUT:
        return _named_in_words(decode_utf8(name, input_blocks()))
    if is_file(name):
        if format_suffix(name) in COLUMNS:
            raise _has_columns(name)
        return _read_whole(name, meter or Meter())
    if name in BUNDLED:
        return BUNDLED[name].read()
    if name.startswith(HUB):
        return read_hub(name)
    if is_collection(name):
        return regular_pieces(_read_entries(name, _entries(name), meter=meter))
    return read_text(name)


def _named_in_words(pieces: Iterator[str]) -> Iterator[str]:
    """The text of standard input, which errors then call by its name and not `-`."""
    try:
        yield from pieces
    except CorpusError as error:
        where = f"standard input{error.where.removeprefix(STANDARD_INPUT)}"
        raise CorpusError(where, error.what.removeprefix("standard input "), error.hint) from None


def corpus_bytes(name: str) -> int | None:
    """The size of the files of a corpus on the disk, as a `Meter` counts them; None if it does not consist of files.

    Raises CorpusError for a folder that cannot be read.
    """
    if is_file(name):
        return os.path.getsize(name)
    if not is_collection(name) or beginning(name).limit is not None:
        return None
    return sum(os.path.getsize(entry.name) for entry in _entries(name))


def is_collection(name: str) -> bool:
    """Whether a corpus is a folder, a pattern or a zip archive, of whose files some may be left out."""
    name = whole_name(name)
    if is_file(name):
        return format_suffix(name) == ZIP
    is_other = name in (STANDARD_INPUT, *BUNDLED) or name.startswith(HUB)
    return not is_other and (is_folder(name) or is_pattern(name))


def is_raw(name: str) -> bool:
    """Whether the text of a corpus is the bytes of a file, compressed or not, or of standard input."""
    return name == STANDARD_INPUT or (is_file(name) and document_noun(name) is None)


def document_noun(name: str) -> str | None:
    """The format of a document or a zip archive, by the suffix of its name: `an EPUB book`; None for other files."""
    suffix = format_suffix(name)
    return ARCHIVE if suffix == ZIP else DOCUMENTS[suffix].noun if suffix in DOCUMENTS else None


def collection_files(name: str) -> tuple[list[str], Counter[Kind]]:
    """The names of the text files of a folder, a pattern or a zip archive, and the number of its files of each kind.

    Raises CorpusError if it cannot be read.
    """
    name, counts = whole_name(name), Counter[Kind]()
    if not is_file(name):
        return [entry.name for entry in texts(_entries(name), counts)], counts
    with _opened(name) as file, unpacked(name, file, is_member=False) as whole:
        return [entry.name for entry in texts(archive_entries(name, whole), counts)], counts


def _entries(name: str) -> Iterator[Entry]:
    return folder_entries(name) if is_folder(name) else pattern_entries(name)


def _has_columns(name: str) -> CorpusError:
    """The error for a table that is not text, with the command that writes its texts."""
    from nlpseq.text.checks.syntax import column_command

    command = column_command(name)
    hint = f"its texts alone: {command} > {new_name(name, '.txt')}" if command else ""
    return CorpusError(name, "it is a table of columns, and cannot be read as text", hint)


def _read_whole(name: str, meter: Meter) -> Iterator[str]:
    with _opened(name) as file, meter.reading(file):
        yield from _read_file(name, file)


def _opened(name: str) -> BinaryIO:
    try:
        return open(name, "rb")
    except OSError as error:
        raise CorpusError(name, f"it cannot be read: {error.strerror or error}") from None


def _read_file(name: str, file: BinaryIO, depth: int = 0, *, is_member: bool = False) -> Iterator[str]:
    """The text of an open file, whatever its format; `depth` is the number of archives that it is in."""
    suffix = format_suffix(name)
    if suffix != ZIP and suffix not in DOCUMENTS:
        yield from decode_utf8(name, stream_blocks(name, file))
        return
    if suffix == ZIP and depth > MOST_NESTED:
        raise CorpusError(name, f"it is in more than {MOST_NESTED} archives", "unzip them first")
    with unpacked(name, file, is_member=is_member) as whole:
        if suffix == ZIP:
            pieces = regular_pieces(_read_entries(name, archive_entries(name, whole), depth + 1))
            yield from _with_hint(pieces, name) if depth else pieces
        else:
            yield from DOCUMENTS[suffix].read(name, whole)


def _with_hint(pieces: Iterator[str], name: str) -> Iterator[str]:
    """The pieces of an archive in another one; the hint of an error is to unzip the outer one."""
    try:
        yield from pieces
    except NoText:
        raise
    except CorpusError as error:
        outer, _ = archive_member(name) or (name, "")
        raise CorpusError(error.where, error.what, f"unzip {shlex.quote(outer)}") from None


def _read_entries(name: str, entries: Iterable[Entry], depth: int = 0, meter: Meter | None = None) -> Iterator[str]:
    """The text of the files of a collection, each ending in a newline. Raises NoText if no file has text."""
    counts: Counter[Kind] = Counter()
    has_text = False
    for entry in texts(entries, counts, meter):
        last = "\n"
        with suppress(NoText), opened(entry) as file, meter.reading(file) if meter else nullcontext():
            for last in _read_file(entry.name, file, depth, is_member=entry.is_member):
                has_text = True
                yield last
        if not last.endswith("\n"):
            yield "\n"
    if not has_text:
        raise NoText(name, f"it has no text, {_counted(counts)}")


def _counted(counts: Counter[Kind]) -> str:
    """The files of a collection without text, in words."""
    others, empty = counts.total() - counts["empty"], counts["empty"]
    found = [f"{count:,} {'file' if count == 1 else 'files'}" for count in (others, empty)]
    words = [f"{found[0]} of other kinds"] * bool(others) + [f"{found[1]} without contents"] * bool(empty)
    return " and ".join(words) or "no files at all"


def split_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of pieces of text, without their newlines, as `train_tokeniser` takes them.

    A line of more than LONGEST_LEARNED characters is cut, so that memory stays constant.
    """
    unfinished: list[str] = []
    waiting = 0
    for piece in pieces:
        first, *rest = piece.split("\n")
        unfinished.append(first)
        waiting += len(first)
        if rest or waiting > LONGEST_LEARNED:
            yield "".join(unfinished)
            yield from rest[:-1]
            unfinished = rest[-1:]
            waiting = sum(map(len, unfinished))
    if last := "".join(unfinished):
        yield last


def read_text(path: str | Path) -> Iterator[str]:
    """The text of a file, compressed or not, in pieces of about a megabyte; at least one piece.

    Raises CorpusError at once for a file that does not exist, and while reading for a file that cannot be read or is
    empty, binary, damaged or not UTF-8.
    """
    need_path(str(path))
    return decode_utf8(str(path), read_blocks(path))


def need_source(name: str) -> None:
    """Raises CorpusError unless a name is that of a corpus; a pattern must match a file."""
    name = whole_name(name)
    if name == STANDARD_INPUT:
        return
    if is_pattern(name) and not name.startswith(HUB):
        next(pattern_entries(name), None)
        return
    if exists(name) or not (name in BUNDLED or name.startswith(HUB)):
        need_path(name)
        need_file(name)


def need_file(name: str) -> None:
    """Raises CorpusError for a pipe or a device, which cannot be read a second time."""
    if can_read_again(name):
        return
    kind = "pipe" if stat.S_ISFIFO(os.stat(name).st_mode) else "device"
    command = "COMMAND" if name.startswith("/dev/") else f"cat {shlex.quote(name)}"
    hint = f"{command} > FILE, and name FILE instead" if kind == "pipe" else ""
    raise CorpusError(name, f"it is a {kind}, but must be a file, because it is read more than once", hint)


def can_read_again(name: str) -> bool:
    """Whether a corpus can be read more than once: True unless its name is that of a pipe or a device.

    Standard input can, because it is kept.
    """
    name = whole_name(name)
    return not exists(name) or is_file(name) or is_folder(name)


def need_path(name: str) -> None:
    """Raises CorpusError for standard input, a web address and a path that does not exist, with the nearest name."""
    if exists(name):
        return
    if name == STANDARD_INPUT:
        raise CorpusError(name, FOR_LANGUAGE_MODELS, "COMMAND > table.tsv, and name table.tsv instead")
    if is_address(name):
        command, file = download(name)
        raise CorpusError(name, ADDRESS, f"{command}, and name {file} instead" if command else file)
    raise CorpusError(name, "there is no such file or corpus", _nearest(name))


def _nearest(name: str) -> str:
    """A hint that names the file or bundled corpus most like `name`."""
    folder, file = os.path.split(name)
    neighbours: dict[str, list[str]] = {}
    with suppress(OSError, ValueError):
        for entry in os.scandir(folder or "."):
            neighbours.setdefault(_stem(entry.name), []).append(entry.name)
    if near := get_close_matches(_stem(file), neighbours, 1):
        (nearest,) = get_close_matches(file, sorted(neighbours[near[0]]), 1, 0.0)
        return f"did you mean {os.path.join(folder, nearest)}?"
    if near := get_close_matches(name, BUNDLED, 1):
        return f"did you mean the bundled corpus {near[0]}?"
    return f"bundled corpora: {', '.join(BUNDLED)}; a data set of the hub: {HUB}NAME"


def _stem(file: str) -> str:
    """A file's name without its suffixes, which agree by chance too often."""
    return Path(uncompressed_name(file)).stem
