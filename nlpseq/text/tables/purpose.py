"""What two columns of a table are read as, and what is said of them.

The flags and the refusals are the same for pairs and for labelled texts; only the names differ.
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

Wanted = tuple[str | None, str | None]
Two = tuple[int, int]
Values = Iterator[tuple[str, Any, Any]]  # where a row is, and its two values; both None for a blank row


@dataclass(frozen=True)
class Purpose:
    """What two columns are read as."""

    names: tuple[str, str]
    usual: tuple[tuple[str, ...], tuple[str, ...]]  # what such columns are usually called
    flags: Callable[[str | None, str | None], str]  # the options that name the columns
    guess: Callable[[str, Sequence[Sequence[str]], Sequence[int]], Two]  # from rows without a header
    one_name_is_enough: bool = False  # for a header
    languages: bool = False  # the names may be those of languages


def cell_text(where: str, column: str, value: Any) -> str:
    """A cell's text as one line; null and NaN are blank. Raises CorpusError for what is no text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise CorpusError(where, f"its {column} is no text: {value!r:.40}")
    return one_line(value)


def say(table: Table, purpose: Purpose, said: Sequence[str], *, trivial: bool) -> None:
    """Add the line that says which columns were chosen to the notes of a table, unless it is trivial."""
    if not trivial:
        table.notes.append(", ".join(f"{name}: {column}" for name, column in zip(purpose.names, said, strict=True)))


def is_index(wanted: str, names: Sequence[str]) -> bool:
    """Whether a column that a user names is the number of one that there is."""
    return wanted.isdecimal() and 1 <= int(wanted) <= len(names)


def find_column(names: Sequence[str], wanted: str | None, *, numbers_first: bool) -> int | None:
    """The index of a column by its name or its number; names that differ in capitals and spaces agree."""
    if wanted is None:
        return None
    number = int(wanted) - 1 if is_index(wanted, names) else None
    if numbers_first and number is not None:
        return number
    if wanted in names:
        return names.index(wanted)
    same = [index for index, name in enumerate(names) if normal_name(name) == normal_name(wanted)]
    return same[0] if same else number


def cannot_tell(
    where: str, names: Sequence[str], likely: Sequence[str], purpose: Purpose, side: int | None = None
) -> CorpusError:
    """The refusal of a table whose columns are not known by their names."""
    missing = " and ".join(purpose.names) if side is None else purpose.names[side]
    hint = purpose.flags(*likely[:2]) if len(likely) > 1 else purpose.flags("NAME", "NAME") if len(names) > 1 else ""
    if side is not None:
        hint += f"{'; ' * bool(hint)}known are {', '.join(purpose.usual[side])}"
    there = ", ".join(names)[:200] or "none"
    return CorpusError(where, f"no column is known as its {missing}, only {there}", hint)


def one_column(where: str, purpose: Purpose) -> CorpusError:
    """The refusal of one column for both."""
    what = f"{' and '.join(purpose.names)} cannot be one column"
    return CorpusError(where, what, purpose.flags("NAME", "NAME"))


def no_such_column(where: str, missing: str, wanted: Wanted, names: Sequence[str], purpose: Purpose) -> CorpusError:
    """The refusal of a column that a table has not."""
    shown = ", ".join(filter(None, names))[:200] or "none"
    near = get_close_matches(missing, [name for name in names if name not in wanted], 1, 0.5)
    hint = f"by number: {purpose.flags('1', '2')}"
    if near:
        hint = purpose.flags(*(near[0] if column == missing else column for column in wanted))
    return CorpusError(where, f"it has no column `{missing}`, only {shown}", hint)
