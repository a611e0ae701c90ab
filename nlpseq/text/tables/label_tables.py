"""Rows as labelled texts: a label and a text.

Which column is label and which is text can be said by name or by number. Else a header is known by the names that such
columns usually have; without one, of two columns the one with fewer different values is the label. A guess that is
wrong shows in the line that `train` writes about the labels. A line end inside a text becomes a space, for a text is a
line everywhere else.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.text.readers.rows import open_table
from nlpseq.text.tables.columns import read_columns
from nlpseq.text.tables.headers import LABEL_NAMES, TEXT_NAMES
from nlpseq.text.tables.purpose import Purpose, Two, cell_text


class Labelled(NamedTuple):
    """A text and its label, either of which may be blank, and where they are."""

    label: str
    text: str
    where: str


class LabelColumns(NamedTuple):
    """The columns that a user names, or none."""

    label: str | None = None
    text: str | None = None


def read_labelled_table(name: str, columns: LabelColumns, notes: list[str] | None = None) -> Iterator[Labelled]:
    """The labelled texts of a file, a folder, a bundled corpus or `hf:NAME[:CONFIG]`; those with a blank side too.

    Blank rows are left out. What is worth knowing, the chosen columns first of all, is added to `notes` when the last
    text is read. Raises CorpusError for what cannot be read, is no table, or has not the columns.
    """
    table = open_table(name)
    for where, label, text in read_columns(table, columns, LABELS):
        if not (label is None and text is None):
            yield Labelled(_spelled(where, label), cell_text(where, "text", text), where)
    if notes is not None:
        notes += table.notes


def _spelled(where: str, value: Any) -> str:
    """A label as it is written: numbers and true or false as in JSON, null and NaN blank."""
    if isinstance(value, dict | list):
        what = f"its label must be one label, is {json.dumps(value, default=str)[:40]}"
        raise CorpusError(where, what, "--label-column NAME, if that is not the label")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, default=str)


def _flags(label: str | None, text: str | None) -> str:
    named = (("--label-column", label), ("--text-column", text))
    return " ".join(f"{flag} {shlex.quote(column)}" for flag, column in named if column is not None)


def _guess(where: str, rows: Sequence[Sequence[str]], filled: Sequence[int]) -> Two:
    """Of two columns the label, which has fewer different values, and the text. Raises CorpusError if neither has."""
    if len(filled) < 2:
        hint = "two columns, or `__label__good the text` in a file named .txt"
        raise CorpusError(where, f"it must have a label and a text, has one column: {rows[0][0][:40]!r}", hint)
    different = {index: len({row[index] for row in rows}) for index in filled}
    text = max(filled, key=lambda index: sum(len(row[index]) for row in rows))
    label = min((index for index in filled if index != text), key=lambda index: different[index])
    if len(filled) > 2 or (different[label] == different[text] and len(rows) > 2):
        what = f"it has no header that is known, and which of its {len(filled)} columns is the label cannot be told"
        raise CorpusError(where, what, f"{_flags('1', '2')}, by number or by the header's names")
    return label, text


LABELS = Purpose(
    names=("label", "text"),
    usual=(LABEL_NAMES, TEXT_NAMES),
    flags=_flags,
    guess=_guess,
    one_name_is_enough=True,
)
