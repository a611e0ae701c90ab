"""What two columns of a table are read as, and the messages about them.

Pairs and labelled texts have the same kinds of flags and errors; only the names differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nlpseq.errors import CorpusError
from nlpseq.text.readers.table import Table, one_line
from nlpseq.text.tables.headers import normal_name

Requested = tuple[str | None, str | None]
Two = tuple[int, int]
Values = Iterator[tuple[str, Any, Any]]  # a row's origin and its two values; both are None for a blank row


@dataclass(frozen=True)
class Purpose:
    """What two columns are read as: pairs or labelled texts."""

    names: tuple[str, str]
    usual: tuple[tuple[str, ...], tuple[str, ...]]  # the usual names of such columns
    flags: Callable[[str | None, str | None], str]  # the options that name the columns
    guess: Callable[[str, Sequence[Sequence[str]], Sequence[int]], Two]  # from rows without a header
    likely: Callable[[Sequence[Sequence[str]], Sequence[int]], Two]  # from the rows, for a hint
    one_name_is_enough: bool = False  # to recognise a header
    languages: bool = False  # whether columns may be named after languages
    refuse_names: Callable[[str, Sequence[str]], None] | None = None  # raises for a header of the other purpose


def cell_text(where: str, column: str, value: Any) -> str:
    """A cell's text as one line; null and NaN are blank. Raises CorpusError for another value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise CorpusError(where, f"its {column} is not text: {value!r:.40}")
    return one_line(value)


def note_choice(table: Table, purpose: Purpose, columns: Sequence[str], *, trivial: bool) -> None:
    """Add the chosen columns to the notes of a table, unless the choice is trivial."""
    if not trivial:
        table.notes.append(", ".join(f"{name}: {column}" for name, column in zip(purpose.names, columns, strict=True)))


def is_index(requested: str, names: Sequence[str]) -> bool:
    """Whether the user named a column by the number of an existing column."""
    return requested.isdecimal() and 1 <= int(requested) <= len(names)


def find_column(names: Sequence[str], requested: str | None, *, numbers_first: bool) -> int | None:
    """The index of a column by its name or its number; capitals and outer spaces in names do not matter."""
    if requested is None:
        return None
    number = int(requested) - 1 if is_index(requested, names) else None
    if numbers_first and number is not None:
        return number
    if requested in names:
        return names.index(requested)
    same = [index for index, name in enumerate(names) if normal_name(name) == normal_name(requested)]
    return same[0] if same else number


def cannot_tell(
    where: str, names: Sequence[str], likely: Sequence[str], purpose: Purpose, side: int | None = None
) -> CorpusError:
    """The error for a table whose columns have unknown names."""
    missing = " and ".join(purpose.names) if side is None else purpose.names[side]
    hint = purpose.flags(*likely[:2]) if len(likely) > 1 else purpose.flags("NAME", "NAME") if len(names) > 1 else ""
    if side is not None and len(likely) < 2:
        hint += f"{'; ' * bool(hint)}known are {', '.join(purpose.usual[side])}"
    existing = ", ".join(names)[:200] or "none"
    return CorpusError(where, f"no column is known as its {missing}, only {existing}", hint)


def likely_columns(names: Sequence[str], likely: Two, found: tuple[int | None, int | None]) -> list[str]:
    """The names of the columns that were found and, for one that was not, of the likely one or of another column."""
    if len(names) < 2:
        return []
    indices = [guess if index is None else index for guess, index in zip(likely, found, strict=True)]
    if indices[0] == indices[1]:
        side = 0 if found[0] is None else 1
        indices[side] = next(index for index in (*likely, *range(len(names))) if index != indices[1 - side])
    return [names[index] for index in indices]


def one_column(where: str, purpose: Purpose) -> CorpusError:
    """The error for two names of the same column."""
    what = f"{' and '.join(purpose.names)} cannot be one column"
    return CorpusError(where, what, purpose.flags("NAME", "NAME"))


def no_such_column(
    where: str, missing: str, requested: Requested, names: Sequence[str], purpose: Purpose, likely: Sequence[str]
) -> CorpusError:
    """The error for a column that a table does not have; `likely` are the two columns that a hint names."""
    shown = ", ".join(filter(None, names))[:200] or "none"
    near = get_close_matches(missing, [name for name in names if name not in requested], 1, 0.5)
    hint = purpose.flags(*likely)
    if near:
        hint = purpose.flags(*(near[0] if column == missing else column for column in requested))
    return CorpusError(where, f"it has no column `{missing}`, only {shown}", hint)
