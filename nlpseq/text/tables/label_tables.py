"""Rows as labelled texts: a label, or any number of labels, and a text.

The user can name the two columns, by name or by number. Otherwise they are found by the names that such columns usually
have in a header. Without a header, the column with fewer different values is the label. A wrong guess shows in the line
that `train` writes about the labels. A line end inside a text becomes a space, because a text is one line everywhere
else.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.text.display import quoted
from nlpseq.text.readers.fasttext import PREFIX
from nlpseq.text.readers.rows import open_table
from nlpseq.text.readers.table import Table
from nlpseq.text.tables.columns import LOOKED_AT, read_columns, with_former
from nlpseq.text.tables.headers import FEWEST_ROWS, LABEL_NAMES, TEXT_NAMES, is_number
from nlpseq.text.tables.label_sets import check_separator, joined_labels, split_labels
from nlpseq.text.tables.purpose import Purpose, Two, Values, cell_text


class Labelled(NamedTuple):
    """A text and its label, which may be blank, and their origin."""

    label: str
    text: str
    where: str


class LabelColumns(NamedTuple):
    """The columns that the user named; None for a column that was not named."""

    label: str | None = None
    text: str | None = None
    separator: str | None = None  # of the labels of a text, in its cell


NOT_NAMED = LabelColumns()


class LabelledRows(NamedTuple):
    """The labelled texts of a table, and whether each has any number of labels."""

    rows: Iterator[Labelled]
    several: bool


def label_columns(label: str | None, text: str | None, separator: str | None) -> LabelColumns:
    """The columns that the user named. Raises OptionError for a separator that cannot separate labels."""
    if separator is not None:
        check_separator(separator)
    return LabelColumns(label, text, separator)


def read_labelled_table(
    name: str,
    columns: LabelColumns,
    notes: list[str] | None = None,
    *,
    several: bool | None = None,
    hint: str = "keep one of them",
    former: LabelColumns = NOT_NAMED,
) -> LabelledRows:
    """The labelled texts of a file, a folder, a bundled corpus or `hf:NAME[:CONFIG]`, also with a blank side.

    With `several`, each text has any number of labels; off, it must have one. None: it has several with a separator, or
    if one of the first rows has a list of labels. `hint` is for a list where a text must have one label. `former` are
    the columns of other texts, which are read if the table has them and none are named. Blank rows are left out. After
    the last text, the table's notes, such as the chosen columns, are added to `notes`. Raises CorpusError, at once or
    while reading, if the table cannot be read, is not a table, or does not have the columns.
    """
    advice = f"for a text without labels: nlpseq train lm {shlex.quote(name)}"
    forms = f"with labels: .tsv, .csv, .jsonl, .parquet, or lines `{PREFIX}good the text`"
    table = open_table(name, f"{advice}; {forms}", labels=True)
    values = read_columns(table, with_former(table, columns[:2], former[:2], LABELS), LABELS)
    if several is None:
        first, values = _peeked(values)
        several = columns.separator is not None or any(isinstance(label, list) for _, label, _ in first)
    spell = partial(_set_spelled, separator=columns.separator) if several else partial(_spelled, hint=hint)
    separator = columns.separator if several else None
    return LabelledRows(_labelled(table, _watching(table, values, separator), spell, notes), several)


def _watching(table: Table, values: Values, separator: str | None) -> Values:
    """The same values; after the last one, the table gets a note if no label had the separator in it."""
    if separator is None:
        yield from values
        return
    found = False
    for where, label, text in values:
        found = found or separator in _cells(label)
        yield where, label, text
    if not found:
        table.notes.append(f"no row has several labels with {quoted(separator)} between them")


def _cells(label: Any) -> str:
    """The text of a label, or of a list of labels, as far as a separator may be in it."""
    return "\n".join(item for item in (label if isinstance(label, list) else [label]) if isinstance(item, str))


def _peeked(values: Values) -> tuple[list[tuple[str, Any, Any]], Values]:
    """The first values, up to an error, and all values; the error is raised where it occurs among them."""
    first: list[tuple[str, Any, Any]] = []
    try:
        first.extend(islice(values, LOOKED_AT))
    except CorpusError as error:
        return first, chain(first, _raised(error))
    return first, chain(first, values)


def _raised(error: CorpusError) -> Values:
    raise error
    yield


def _labelled(
    table: Table, values: Values, spell: Callable[[str, Any], str], notes: list[str] | None
) -> Iterator[Labelled]:
    for where, label, text in values:
        if not (label is None and text is None):
            yield Labelled(spell(where, label), cell_text(where, "text", text), where)
    if notes is not None:
        notes += table.notes


def _spelled(where: str, value: Any, hint: str = "") -> str:
    """A label as text: numbers, true and false as in JSON; null and NaN are blank."""
    if isinstance(value, CorpusError):
        raise value
    if isinstance(value, list):
        labels = "1 label" if len(value) == 1 else f"{len(value)} labels"
        what = f"it has a list of {labels}, but other texts have one label: {json.dumps(value, default=str)[:40]}"
        raise CorpusError(where, what, hint)
    if isinstance(value, dict):
        what = f"its label must be one label, but is {json.dumps(value, default=str)[:40]}"
        raise CorpusError(where, what, "--label-column NAME, if that is not the label")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, default=str)


def _set_spelled(where: str, value: Any, separator: str | None) -> str:
    """The labels of a text as one text: as `joined_labels`."""
    if isinstance(value, CorpusError):
        return ""
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, list) for item in items):
        what = f"its labels must be a list of labels, but are {json.dumps(value, default=str)[:40]}"
        raise CorpusError(where, what, "--label-column NAME, if those are not the labels")
    labels = (_spelled(where, item) for item in items)
    return joined_labels(
        where, (part for label in labels for part in (split_labels(label, separator) if separator else [label]))
    )


def _flags(label: str | None, text: str | None) -> str:
    named = (("--label-column", label), ("--text-column", text))
    return " ".join(f"{flag} {shlex.quote(column)}" for flag, column in named if column is not None)


def _guess(where: str, rows: Sequence[Sequence[str]], filled: Sequence[int]) -> Two:
    """The indices of the label, with fewer different values, and of the text. Raises CorpusError if this is unclear."""
    if len(filled) < 2:
        hint = "two columns, or `__label__good the text` in a file named .txt"
        raise CorpusError(
            where, f"it must have a label and a text, but has one column: {quoted(rows[0][0][:40])}", hint
        )
    label, text = _likely(rows, filled)
    num_labels, num_texts = (len({row[index] for row in rows}) for index in (label, text))
    flags = _flags(str(label + 1), str(text + 1))
    if len(filled) == 2 and len(rows) >= FEWEST_ROWS and 2 * num_labels > len(rows):
        counts = f"{num_labels:,} and {num_texts:,} different texts in its first {len(rows):,} rows"
        what = f"it looks like pairs: its two columns have {counts}"
        command = f"nlpseq train translation {shlex.quote(where.rpartition(':')[0])}"
        raise CorpusError(where, what, f"{command}; if it has labels: {flags}")
    if len(filled) > 2 or (num_labels == num_texts and len(rows) > 2):
        what = f"it has no known header, so it is unclear which of its {len(filled)} columns is the label"
        raise CorpusError(where, what, f"{flags}, by number or by the header's names")
    return label, text


def _likely(rows: Sequence[Sequence[str]], filled: Sequence[int]) -> Two:
    """The column with the fewest different values, and the one with the longest texts."""
    if len(filled) < 2:
        return 0, 1
    text = max(filled, key=lambda index: sum(len(row[index]) for row in rows))
    label = min(
        (index for index in filled if index != text),
        key=lambda index: (len({row[index] for row in rows}), all(is_number(row[index]) for row in rows)),
    )
    return label, text


LABELS = Purpose(
    names=("label", "text"),
    usual=(LABEL_NAMES, TEXT_NAMES),
    flags=_flags,
    guess=_guess,
    likely=_likely,
    one_name_is_enough=True,
)
