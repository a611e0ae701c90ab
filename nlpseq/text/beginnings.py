"""The beginning of a corpus as a corpus of its own: `NAME@N` is the first N lines, or rows of a table, of NAME.

It is a name as any other, so a run that was trained on it records it, and continues, is repeated and is evaluated with
the same text. `--take N` on the command line is short for it. A file that is called like this comes first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import AnyStr, NamedTuple

from nlpseq.errors import OptionError

_BEGINNING = re.compile(r"(.+)@([1-9]\d{0,17})", re.DOTALL)


class Beginning(NamedTuple):
    """The name of a corpus, and the number of lines or rows to read; None for all."""

    name: str
    limit: int | None


def beginning(name: str) -> Beginning:
    """The corpus that a name is the beginning of."""
    match = _BEGINNING.fullmatch(name) if "@" in name else None
    if match is None or "\0" in name or os.path.lexists(name):
        return Beginning(name, None)
    return Beginning(match[1], int(match[2]))


def whole_name(name: str) -> str:
    """The name of the corpus that a name is the beginning of, or the name itself."""
    return beginning(name).name


def take(names: Sequence[str], count: int | None) -> tuple[str, ...]:
    """The names of the first `count` lines or rows of each corpus; of all of it for None.

    Raises OptionError for standard input, whose beginning a shell can take, and for a name that is a beginning already.
    """
    if count is None:
        return tuple(names)
    for name in names:
        if name == "-":
            hint = f"COMMAND | head -n {count}"
            raise OptionError("take", "is for corpora with a name, and standard input is read to its end", hint)
        if beginning(name).limit is not None:
            hint = f"leave out --take, or name {whole_name(name)}"
            raise OptionError("take", f"and {name} both say how much is read", hint)
    return tuple(f"{name}@{count}" for name in names)


def first_lines(pieces: Iterable[AnyStr], count: int) -> Iterator[AnyStr]:
    """Pieces of text, or of bytes, up to the end of line `count`."""
    for piece in pieces:
        newline = "\n" if isinstance(piece, str) else b"\n"
        ends = piece.count(newline)
        if ends >= count:
            end = -1
            for _ in range(count):
                end = piece.index(newline, end + 1)
            yield piece[: end + 1]
            return
        count -= ends
        yield piece
