"""Which two columns of a table are meant: decided once, from what the user names, the header and the first rows.

A column is named by its name or by its number, from 1, in any order and with a header or without one. What is not
named is known by the names that such columns usually have, or by their languages; else it is guessed, and a guess that
could be wrong is refused with the flags that settle it. The choice is said in one line, unless it is the usual one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, islice

from nlpseq.errors import CorpusError
from nlpseq.text.compression import show_line
from nlpseq.text.readers.table import Row, Table
from nlpseq.text.tables.headers import (
    filled_columns,
    is_language,
    known_names,
    looks_like_header,
    normal_name,
    usual_index,
)
from nlpseq.text.tables.keys import keyed_values
from nlpseq.text.tables.purpose import (
    Purpose,
    Two,
    Values,
    Wanted,
    cannot_tell,
    find_column,
    is_index,
    no_such_column,
    one_column,
    say,
)

LOOKED_AT = 1000  # rows, to find a header and to guess


def read_columns(table: Table, wanted: Wanted, purpose: Purpose) -> Values:
    """The two values of each row. The line that says which columns they are is added to the table's notes.

    Raises CorpusError for a table without rows, for columns that it has not or that cannot be told, and for a row of
    another width or without one of the two.
    """
    first = list(islice(table.rows, LOOKED_AT))
    filled = [row for row in first if not is_blank(row)]
    if not filled:
        raise CorpusError(table.name, "it has no rows")
    if isinstance(filled[0].cells, Mapping):
        yield from keyed_values(table, first, filled, wanted, purpose)
        return
    chosen, header = _choose_cells(table, [(row.where, _list(row)) for row in filled], wanted, purpose)
    skipped = filled[0] if header else None
    width = len(filled[0].cells)
    for row in chain(first, table.rows):
        if row is skipped:
            continue
        cells = _list(row)
        if not any(map(str.strip, cells)):
            yield row.where, None, None
            continue
        if len(cells) != width:
            hint = show_line(table.name, row.where.rpartition(":")[2])
            raise CorpusError(row.where, f"it must have {width} columns, as the first row, has {len(cells)}", hint)
        yield row.where, cells[chosen[0]], cells[chosen[1]]


def is_named(table: Table, purpose: Purpose) -> bool:
    """Whether the first row of a table names both columns of a purpose. Raises CorpusError if it cannot be read."""
    first = next((row for row in islice(table.rows, LOOKED_AT) if not is_blank(row)), None)
    if first is None:
        return False
    names = list(map(str, first.cells))
    languages = purpose.languages and sum(map(is_language, names)) == 2
    return (
        languages
        or (purpose.languages and table.languages)
        or None not in [usual_index(names, usual) for usual in purpose.usual]
    )


def is_blank(row: Row) -> bool:
    """Whether no cell of a row holds anything."""
    return not row.cells or (not isinstance(row.cells, Mapping) and not any(map(str.strip, row.cells)))


def _list(row: Row) -> Sequence[str]:
    assert not isinstance(row.cells, Mapping)
    return row.cells


def _choose_cells(
    table: Table, rows: Sequence[tuple[str, Sequence[str]]], wanted: Wanted, purpose: Purpose
) -> tuple[Two, bool]:
    """The indices of two columns of cells, and whether the first row is a header."""
    where, first = rows[0]
    names = [cell.strip() for cell in first]
    cells = [row for _, row in rows if len(row) == len(first)]
    named = [find_column(names, column, numbers_first=True) for column in wanted]
    for column, index in zip(wanted, named, strict=True):
        if column is not None and index is None:
            raise no_such_column(where, column, wanted, names, purpose)
    by_name = any(column is not None and not is_index(column, names) for column in wanted)
    header = "yes" if by_name or _has_known_names(names, purpose) else ""
    if not header:
        header = looks_like_header(cells, few_values_tell=purpose.one_name_is_enough)
        if header == "yes":
            table.notes.append(f"its first row is taken for a header: {', '.join(filter(None, names))[:200]}")
    known, body = (names, cells[1:] or cells) if header == "yes" else ([], cells)
    chosen = _complete(where, len(first), known, named, body, purpose)
    if header == "maybe":
        flags = purpose.flags(*(names[index] for index in chosen))
        what = f"its first row may be a header, and is read as a text: {', '.join(names)[:200]}"
        table.notes.append(f"{what}; if it is one: {flags}")
    said = [f"column `{known[index]}`" if known else f"column {index + 1}" for index in chosen]
    usual = len(first) == 2 and chosen == (0, 1) and not known
    own_names = bool(known) and tuple(normal_name(known[index]) for index in chosen) == purpose.names
    say(table, purpose, said, trivial=usual or own_names)
    return chosen, header == "yes"


def _has_known_names(names: Sequence[str], purpose: Purpose) -> bool:
    """Whether the cells of a first row are names that such columns usually have, or languages."""
    if purpose.one_name_is_enough and any(usual_index(names, usual) is not None for usual in purpose.usual):
        return True
    return known_names(names) > 1


def _complete(
    where: str,
    width: int,
    names: Sequence[str],
    named: Sequence[int | None],
    body: Sequence[Sequence[str]],
    purpose: Purpose,
) -> Two:
    """Both indices, from those that the user names, the header's names (none without a header) and the rows."""
    found = list(named)
    known = [usual_index(names, usual) for usual in purpose.usual]
    languages = [index for index, name in enumerate(names) if is_language(name)] if purpose.languages else []
    if found == [None, None] and None in known and len(languages) == 2:
        known = list(languages)
    found = [known[side] if index is None else index for side, index in enumerate(found)]
    filled = filled_columns(body) if len(filled_columns(body)) > 1 else list(range(width))
    if found == [None, None]:
        if len(languages) > 2:
            raise cannot_tell(where, names, [names[index] for index in languages], purpose)
        found = list(purpose.guess(where, body, filled))
    first, second = (_other(index, found[1 - side], filled) for side, index in enumerate(found))
    if first is None or second is None:
        numbers = [str(1 + index) for index in range(width)]
        raise cannot_tell(where, names or numbers, [], purpose, 0 if first is None else 1)
    if first == second:
        raise one_column(where, purpose)
    return first, second


def _other(index: int | None, other: int | None, filled: Sequence[int]) -> int | None:
    """An index, or of two columns the one that the other is not."""
    if index is None and len(filled) == 2 and other in filled:
        return filled[1 - filled.index(other)]
    return index
