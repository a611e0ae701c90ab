"""Rows as pairs: a source and a target.

The user can name the two columns, by name or by number. Otherwise they are `source` and `target`, two languages, or the
first two columns. A line end inside a text becomes a space, because a text is one line everywhere else. A null is a
blank side.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nlpseq.errors import CorpusError
from nlpseq.text.readers.rows import is_table, open_table
from nlpseq.text.tables.columns import read_columns
from nlpseq.text.tables.headers import SOURCE_NAMES, TARGET_NAMES, is_number
from nlpseq.text.tables.purpose import Purpose, Two, cell_text

__all__ = ["PAIRS", "Columns", "Pair", "is_table", "read_table"]

Pair = tuple[str, str]
Columns = tuple[str, str]  # names or numbers of source and target


def read_table(name: str, columns: Columns | None = None, notes: list[str] | None = None) -> Iterator[Pair]:
    """The pairs of a file, of a bundled corpus or of `hf:NAME[:CONFIG]`, also with a blank side.

    After the last pair, the table's notes, such as the chosen columns, are added to `notes`. Raises CorpusError if the
    table cannot be read, is not a table, or does not have the columns.
    """
    table = open_table(name)
    for where, source, target in read_columns(table, columns or (None, None), PAIRS):
        yield cell_text(where, "source", source), cell_text(where, "target", target)
    if notes is not None:
        notes += table.notes


def _flags(source: str | None, target: str | None) -> str:
    return f"--columns {shlex.quote(f'{source},{target}')}"


def _guess(where: str, rows: Sequence[Sequence[str]], filled: Sequence[int]) -> Two:
    """The first two columns. Raises CorpusError if one of them holds numbers, though two or more others hold texts."""
    if len(filled) < 2:
        raise CorpusError(where, f"it must have a source, a tab and a target, but has one column: {rows[0][0][:40]!r}")
    numbers = [index for index in filled if all(is_number(row[index]) for row in rows if row[index].strip())]
    texts = [index for index in filled if index not in numbers]
    if len(filled) > 2 and len(texts) > 1 and set(filled[:2]) & set(numbers):
        listed = " and ".join(str(index + 1) for index in numbers)
        what = f"columns {listed} are numbers" if len(numbers) > 1 else f"column {listed} is a number"
        hint = _flags(str(texts[0] + 1), str(texts[1] + 1))
        raise CorpusError(where, f"it is unclear which columns are source and target: {what}", hint)
    return filled[0], filled[1]


PAIRS = Purpose(
    names=("source", "target"),
    usual=(SOURCE_NAMES, TARGET_NAMES),
    flags=_flags,
    guess=_guess,
    languages=True,
)
