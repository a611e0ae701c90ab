"""Chooses the two columns to read from a table: once, by the user's options, the header and the first rows.

The user names a column by its name or by its number, from 1, in any order, with or without a header. A column that the
user does not name is found by the names that such columns usually have, or by its language. Otherwise it is guessed; if
a guess could be wrong, the table is refused, with the flags that decide. A note tells the choice, unless it is the
usual one.
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
    Requested,
    Two,
    Values,
    cannot_tell,
    find_column,
    is_index,
    likely_columns,
    no_such_column,
    note_choice,
    one_column,
)

LOOKED_AT = 1000  # rows that decide the header and the guess


def read_columns(table: Table, requested: Requested, purpose: Purpose) -> Values:
    """The two values of each row. A line that names the chosen columns is added to the table's notes.

    Raises CorpusError for a table without rows, for columns that do not exist or cannot be told apart, and for a row
    with another number of columns or without one of the two.
    """
    return islice(_all_values(table, requested, purpose), table.limit)


def _all_values(table: Table, requested: Requested, purpose: Purpose) -> Values:
    first = list(islice(table.rows, LOOKED_AT))
    filled = [row for row in first if not is_blank(row)]
    if not filled:
        raise CorpusError(table.name, "it has no rows")
    if isinstance(filled[0].cells, Mapping):
        yield from keyed_values(table, first, filled, requested, purpose)
        return
    chosen, header = _choose_cells(table, [(row.where, _cell_list(row)) for row in filled], requested, purpose)
    skipped = filled[0] if header else None
    width = len(filled[0].cells)
    for row in chain(first, table.rows):
        if row is skipped:
            continue
        cells = _cell_list(row)
        if not any(map(str.strip, cells)):
            yield row.where, None, None
            continue
        if len(cells) != width:
            hint = show_line(table.name, row.where.rpartition(":")[2])
            if len(cells) > width and table.remedy:
                hint = f"{table.remedy}; to see it: {hint}"
            raise CorpusError(
                row.where, f"it must have {width} columns, like the first row, but has {len(cells)}", hint
            )
        yield row.where, cells[chosen[0]], cells[chosen[1]]


def with_former(table: Table, requested: Requested, former: Requested, purpose: Purpose) -> Requested:
    """The requested columns and, for a side without one, the column `former` that other tables were read by.

    Former columns are left out unless the table has all that are needed; those by number, if its header has the usual
    names. The table's rows stay complete. Raises CorpusError if they cannot be read.
    """
    needed = [side for side in (0, 1) if requested[side] is None and former[side] is not None]
    before = list(islice(table.rows, LOOKED_AT)) if needed else []
    table.rows = chain(before, table.rows)
    first = next((row for row in before if not is_blank(row)), None)
    if first is None:
        return requested
    names, keyed = [str(cell).strip() for cell in first.cells], isinstance(first.cells, Mapping)
    usual = None not in [usual_index(names, group) for group in purpose.usual]
    merged = [former[side] if side in needed else requested[side] for side in (0, 1)]
    indices = [find_column(names, column, numbers_first=not keyed) for column in merged]
    by_number = [is_index(merged[side] or "", names) and merged[side] not in names for side in needed]
    if any(indices[side] is None for side in needed) or indices[0] == indices[1] or (usual and any(by_number)):
        return requested
    return merged[0], merged[1]


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
    """Whether all cells of a row are blank."""
    return not row.cells or (not isinstance(row.cells, Mapping) and not any(map(str.strip, row.cells)))


def _cell_list(row: Row) -> Sequence[str]:
    assert not isinstance(row.cells, Mapping)
    return row.cells


def _choose_cells(
    table: Table, rows: Sequence[tuple[str, Sequence[str]]], requested: Requested, purpose: Purpose
) -> tuple[Two, bool]:
    """The indices of two columns of cells, and whether the first row is a header."""
    where, first = rows[0]
    names = [cell.strip() for cell in first]
    cells = [row for _, row in rows if len(row) == len(first)]
    if purpose.refuse_names and requested == (None, None):
        purpose.refuse_names(where, names)
    named = [find_column(names, column, numbers_first=True) for column in requested]
    for column, index in zip(requested, named, strict=True):
        if column is not None and index is None:
            raise no_such_column(where, column, requested, names, purpose, _likely(names, cells, purpose))
    by_name = any(column is not None and not is_index(column, names) for column in requested)
    header = "yes" if by_name or _has_known_names(names, purpose) else ""
    if not header:
        header = looks_like_header(cells, few_values_tell=purpose.one_name_is_enough)
        if header == "yes":
            table.notes.append(f"its first row is taken as a header: {', '.join(filter(None, names))[:200]}")
    known, body = (names, cells[1:] or cells) if header == "yes" else ([], cells)
    chosen = _complete(where, len(first), known, named, body, purpose)
    if header == "maybe":
        flags = purpose.flags(*(names[index] for index in chosen))
        what = f"its first row may be a header, but is read as a text: {', '.join(names)[:200]}"
        table.notes.append(f"{what}; if it is one: {flags}")
    chosen_names = [f"column `{known[index]}`" if known else f"column {index + 1}" for index in chosen]
    usual = len(first) == 2 and chosen == (0, 1) and not known
    own_names = bool(known) and tuple(normal_name(known[index]) for index in chosen) == purpose.names
    note_choice(table, purpose, chosen_names, trivial=usual or own_names)
    return chosen, header == "yes"


def _likely(names: Sequence[str], cells: Sequence[Sequence[str]], purpose: Purpose) -> list[str]:
    """The two columns that are probably meant: by name if the first row looks like a header, else by number."""
    body = cells[1:] or cells
    indices = purpose.likely(body, filled_columns(body))
    header = _has_known_names(names, purpose) or looks_like_header(cells, few_values_tell=purpose.one_name_is_enough)
    return [names[index] if header is True or header == "yes" else str(index + 1) for index in indices]


def _has_known_names(names: Sequence[str], purpose: Purpose) -> bool:
    """Whether a first row has the usual names of such columns, or languages."""
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
    """Both indices: from the columns that the user named, the names in the header, if there is one, and the rows."""
    indices = list(named)
    known = [usual_index(names, usual) for usual in purpose.usual]
    languages = [index for index, name in enumerate(names) if is_language(name)] if purpose.languages else []
    if indices == [None, None] and None in known and len(languages) == 2:
        known = list(languages)
    indices = [known[side] if index is None else index for side, index in enumerate(indices)]
    filled = filled_columns(body) if len(filled_columns(body)) > 1 else list(range(width))
    if indices == [None, None]:
        if len(languages) > 2:
            raise cannot_tell(where, names, [names[index] for index in languages], purpose)
        indices = list(purpose.guess(where, body, filled))
    first, second = (_other(index, indices[1 - side], filled) for side, index in enumerate(indices))
    if first is None or second is None:
        shown = names or [str(1 + index) for index in range(width)]
        likely = likely_columns(shown, purpose.likely(body, filled), (first, second))
        raise cannot_tell(where, shown, likely, purpose, 0 if first is None else 1)
    if first == second:
        raise one_column(where, purpose)
    return first, second


def _other(index: int | None, other: int | None, filled: Sequence[int]) -> int | None:
    """The index; if it is None and there are two filled columns, the one that is not `other`."""
    if index is None and len(filled) == 2 and other in filled:
        return filled[1 - filled.index(other)]
    return index
