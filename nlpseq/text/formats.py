"""Corpora as streams of text: files, bundled corpora and hub data sets, in pieces of about a megabyte.

Memory stays constant, because a file is read in blocks and passed on in pieces. A piece ends with a line, or within a
very long line before a space, else between two characters. The price is that a fault deep in a file is found only when
the reader gets there.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from nlpseq.errors import CorpusError
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.compression import read_blocks, uncompressed_name
from nlpseq.text.encodings import decode_utf8
from nlpseq.text.hub import HUB, read_hub


def open_corpus(name: str) -> Iterator[str]:
    """The text of a corpus in pieces: a file's path, a bundled corpus' name, or `hf:NAME[:CONFIG]`.

    A file has precedence over a bundled corpus of the same name. Raises CorpusError for any other name, with the
    nearest one that exists, and as `read_text` and `read_hub` do.
    """
    if os.path.isfile(name):
        return read_text(name)
    if name in BUNDLED:
        return BUNDLED[name].read()
    if name.startswith(HUB):
        return read_hub(name)
    return read_text(name)


def split_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of pieces of text, without their newlines, as `train_tokeniser` takes them."""
    unfinished: list[str] = []
    for piece in pieces:
        first, *rest = piece.split("\n")
        unfinished.append(first)
        if rest:
            yield "".join(unfinished)
            yield from rest[:-1]
            unfinished = [rest[-1]]
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
    """Raises CorpusError unless a name is a bundled corpus, a data set of the hub, a file or a folder."""
    if os.path.exists(name) or not (name in BUNDLED or name.startswith(HUB)):
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
    """Whether a corpus can be read more than once: True unless its name is that of a pipe or a device."""
    return not os.path.exists(name) or os.path.isfile(name) or os.path.isdir(name)


def need_path(name: str) -> None:
    """Raises CorpusError for a path that does not exist, with the most similar name."""
    if not os.path.exists(name):
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
