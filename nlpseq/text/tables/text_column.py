"""One column of a table as plain text, such as the texts for a language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

from nlpseq.errors import CorpusError
from nlpseq.text.readers.rows import open_table
from nlpseq.text.readers.table import Row
from nlpseq.text.tables.columns import LOOKED_AT, is_blank
from nlpseq.text.tables.headers import TEXT_NAMES, known_names, looks_like_header, usual_index
from nlpseq.text.tables.purpose import cell_text, find_column, is_index


def column_text(name: str, column: str) -> Iterator[str]:
    """The texts of a table's column, by its name or number, a line for each, in pieces; a header is left out.

    Raises CorpusError if the table cannot be read or does not have the column, and for a cell that is not text.
    """
    table = open_table(name)
    first = list(islice(table.rows, LOOKED_AT))
    filled = [row for row in first if not is_blank(row)]
    if not filled:
        raise CorpusError(name, "it has no rows")
    where, cells = filled[0]
    names = list(map(str, cells))
    keyed = isinstance(cells, Mapping)
    index = find_column(names, column, numbers_first=not keyed)
    if index is None:
        raise CorpusError(where, f"it has no column `{column}`, only {', '.join(names)[:200]}", "--text-column NAME")
    skipped = None if keyed or (is_index(column, names) and not _has_header(filled)) else filled[0]
    rows: Iterator[Row] = (row for row in chain(first, table.rows) if row is not skipped and not is_blank(row))
    rows = islice(rows, table.limit)
    while piece := "".join(f"{cell_text(row.where, column, _cell(row, names, index))}\n" for row in islice(rows, 1000)):
        yield piece


def likely_text_column(name: str) -> str:
    """The column that probably holds a table's texts: by a usual name, else the longest; its name or its number.

    Raises CorpusError if the table cannot be read.
    """
    rows = [row for row in islice(open_table(name).rows, LOOKED_AT) if not is_blank(row)]
    if not rows:
        return "1"
    names = list(map(str, rows[0].cells))
    index = usual_index(names, TEXT_NAMES)
    if index is None:
        lengths = [sum(len(str(_cell(row, names, column))) for row in rows) for column in range(len(names))]
        index = lengths.index(max(lengths))
    return names[index] if isinstance(rows[0].cells, Mapping) or _has_header(rows) else str(index + 1)


def _cell(row: Row, names: Sequence[str], index: int) -> object:
    """A cell of a row; None if the row does not have it."""
    if isinstance(row.cells, Mapping):
        return row.cells.get(names[index])
    return row.cells[index] if index < len(row.cells) else None


def _has_header(rows: Sequence[Row]) -> bool:
    """Whether the first row names the columns: it has a usual name for texts, or looks like a header."""
    cells = [list(map(str, row.cells)) for row in rows]
    known = usual_index(cells[0], TEXT_NAMES) is not None or known_names(cells[0]) > 1
    return known or looks_like_header(cells, few_values_tell=True) == "yes"
