"""A table, its rows of cells, and the record of a table format.

A row's cells are a mapping if the row names them. Otherwise they are a list, and the first row may be a header. A
format turns a file into rows and nothing else; `columns.py` chooses the cells to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.text.compression import format_suffix, new_name, shell_input
from nlpseq.text.formats import read_text, split_lines


class Row(NamedTuple):
    """The cells of one row, none for a blank line, and its origin: FILE:LINE, or FILE:ROW."""

    where: str
    cells: Sequence[str] | Mapping[str, Any]


CR_TO_LF = r"tr '\r' '\n'"

Notes = list[str]
Rows = Iterator[Row]


@dataclass(frozen=True)
class TableFormat:
    """A format of tables: the suffixes of its files, and the function that reads one."""

    suffixes: tuple[str, ...]
    read: Callable[[str, Notes], Rows]  # adds what a user should know about the file to the notes
    languages: bool = False  # cells are named by their languages
    is_text: bool = False  # a file may be read as plain text
    remedy: str = ""  # for a row with too many cells


@dataclass
class Table:
    """An open table. `notes` is complete when all rows are read."""

    name: str
    rows: Rows
    languages: bool = False
    notes: Notes = field(default_factory=list)
    remedy: str = ""  # for a row with too many cells
    limit: int | None = None  # rows to read, a header aside; None: all


def table_lines(name: str) -> Iterator[str]:
    """The lines of a text file, without the CR of a CRLF. Raises CorpusError as `read_text` and `clean_lines`."""
    return clean_lines(name, split_lines(read_text(name)))


def clean_lines(name: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines without the CR of a CRLF. Raises CorpusError if CR alone ends the lines of a whole file."""
    lines = iter(lines)
    first, second = next(lines, None), next(lines, None)
    if first is not None and second is None and "\r" in first.rstrip("\r"):
        hint = f"{shell_input(name, CR_TO_LF)} > {new_name(name, '.lf' + format_suffix(name))}"
        raise CorpusError(f"{name}:1", "its lines end in CR alone: all of it is one line", hint)
    for line in chain([line for line in (first, second) if line is not None], lines):
        yield line.rstrip("\r")


def one_line(text: str) -> str:
    """A text with a space for each CRLF, CR or LF in it."""
    return re.sub("\r*\n|\r", " ", text) if "\n" in text or "\r" in text else text
