"""Chooses the two columns to read from rows that name their cells: objects, and units of languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from nlpseq.errors import CorpusError
from nlpseq.text.readers.table import Row, Rows, Table
from nlpseq.text.readers.tmx import normal_language, speaks
from nlpseq.text.tables.headers import is_language, normal_name, usual_index
from nlpseq.text.tables.purpose import (
    Purpose,
    Requested,
    Values,
    cannot_tell,
    find_column,
    likely_columns,
    no_such_column,
    note_choice,
    one_column,
)


def keyed_values(
    table: Table, first: Sequence[Row], filled: Sequence[Row], requested: Requested, purpose: Purpose
) -> Values:
    """The two values of rows that name their cells."""
    names = _choose_names(table, filled, requested, purpose)
    rows = chain(first, table.rows)
    if table.languages:
        yield from _languages(table, rows, names, purpose)
        return
    for where, cells in rows:
        assert isinstance(cells, Mapping)
        if not cells:
            yield where, None, None
            continue
        for name in names:
            if name not in cells:
                existing = ", ".join(map(str, cells))[:200] or "nothing"
                hint = f"write null under `{name}` to leave it out"
                raise CorpusError(where, f"it has no column `{name}`, only {existing}", hint)
        yield where, cells[names[0]], cells[names[1]]


def _choose_names(table: Table, filled: Sequence[Row], requested: Requested, purpose: Purpose) -> tuple[str, str]:
    """The names of the two columns, chosen by the first row."""
    where, cells = filled[0]
    if table.languages:
        where, cells = next((row for row in filled if len(row.cells) > 1), filled[0])
    assert isinstance(cells, Mapping)
    names = list(map(str, cells))
    if purpose.refuse_names and requested == (None, None) and not table.languages:
        purpose.refuse_names(where, names)
    chosen = [_named(table, where, filled, names, column, requested, purpose) for column in requested]
    known = [usual_index(names, usual) for usual in purpose.usual]
    if chosen == [None, None] and None in known:
        known = _only_two(table, names, known, purpose)
    for side, index in enumerate(known):
        if chosen[side] is None and index is not None:
            chosen[side] = names[index]
    for side in (0, 1):
        if chosen[side] is None and len(names) == 2 and chosen[1 - side] in names:
            chosen[side] = names[1 - names.index(chosen[1 - side] or "")]
    source, target = chosen
    if source is None or target is None:
        missing = None if source is target else 0 if source is None else 1
        likely = [name for name in names if isinstance(cells[name], str) and normal_name(name) != "id"]
        if not purpose.languages:
            likely = _likely(filled, names, (source, target), purpose)
        raise cannot_tell(where, names, likely, purpose, missing)
    if source == target:
        raise one_column(where, purpose)
    if not table.languages:
        note_choice(
            table, purpose, [f"column `{source}`", f"column `{target}`"], trivial=(source, target) == purpose.names
        )
    return source, target


def _named(
    table: Table,
    where: str,
    filled: Sequence[Row],
    names: Sequence[str],
    column: str | None,
    requested: Requested,
    purpose: Purpose,
) -> str | None:
    """The name of a column that the user requested. Raises CorpusError if it does not exist."""
    index = find_column(names, column, numbers_first=False)
    if column is None or index is not None:
        return None if index is None else names[index]
    if not table.languages:
        raise no_such_column(where, column, requested, names, purpose, _likely(filled, names, (None, None), purpose))
    return normal_language(column)  # a later unit may have it


def _likely(
    filled: Sequence[Row], names: Sequence[str], found: tuple[str | None, str | None], purpose: Purpose
) -> list[str]:
    """The names of the two columns that are probably meant, those that were found among them."""
    rows = [[str(row.cells.get(name, "")) for name in names] for row in filled if isinstance(row.cells, Mapping)]
    first, second = (None if name is None or name not in names else names.index(name) for name in found)
    return likely_columns(names, purpose.likely(rows, range(len(names))), (first, second))


def _only_two(table: Table, names: Sequence[str], known: Sequence[int | None], purpose: Purpose) -> list[int | None]:
    """The indices of the only two columns, or of the only two languages; for units of languages the first two."""
    if not purpose.languages:
        return list(known)
    languages = [index for index, name in enumerate(names) if is_language(name)]
    if len(names) == 2 or (table.languages and len(names) > 1):
        return [0, 1]
    return [*languages] if len(languages) == 2 else [None, None]


def _languages(table: Table, rows: Rows, names: tuple[str, str], purpose: Purpose) -> Values:
    """The texts of units in two languages. Raises CorpusError, at the end, if no unit has one of them."""
    seen: dict[str, None] = {}
    counts = [0, 0]
    for where, cells in rows:
        assert isinstance(cells, Mapping)
        seen.update(dict.fromkeys(cells))
        texts = [next((cells[language] for language in cells if speaks(language, name)), "") for name in names]
        for side, text in enumerate(texts):
            counts[side] += bool(text)
        yield where, texts[0], texts[1]
    for name, count in zip(names, counts, strict=True):
        if not count:
            existing = ", ".join(seen) or "languages without a name"
            hint = purpose.flags(*list(seen)[:2]) if len(seen) > 1 else ""
            raise CorpusError(table.name, f"it has no text in {name}, only in {existing}", hint)
    others = [language for language in seen if not any(speaks(language, name) for name in names)]
    left_out = f"; its texts in {', '.join(others)[:100]} are left out" if others else ""
    note_choice(table, purpose, [names[0], f"{names[1]}{left_out}"], trivial=False)
