"""Rows as pairs: a source and a target.

The user can name the two columns, by name or by number. Otherwise they are `source` and `target`, two languages, or the
first two columns. A line end inside a text becomes a space, because a text is one line everywhere else. A null is a
blank side.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from nlpseq.errors import CorpusError
from nlpseq.text.display import quoted
from nlpseq.text.readers import FORMATS
from nlpseq.text.readers.rows import is_table, open_table
from nlpseq.text.tables.columns import read_columns, with_former
from nlpseq.text.tables.headers import (
    LABEL_NAMES,
    SOURCE_NAMES,
    TARGET_NAMES,
    TEXT_NAMES,
    is_language,
    is_number,
    usual_index,
)
from nlpseq.text.tables.purpose import Purpose, Two, cell_text

__all__ = ["PAIRS", "Columns", "Pair", "is_table", "read_table"]

Pair = tuple[str, str]
Columns = tuple[str, str]  # names or numbers of source and target


def read_table(
    name: str, columns: Columns | None = None, notes: list[str] | None = None, former: Columns | None = None
) -> Iterator[Pair]:
    """The pairs of a file, of a bundled corpus or of `hf:NAME[:CONFIG]`, also with a blank side.

    `former` are the columns of other pairs, which are read if the table has them and none are named. After the last
    pair, the table's notes, such as the chosen columns, are added to `notes`. Raises CorpusError if the table cannot be
    read, is not a table, or does not have the columns.
    """
    table = open_table(name, f"name a table ({', '.join(FORMATS)}), or two files: --source FILE --target FILE")
    requested = with_former(table, columns or (None, None), former or (None, None), PAIRS)
    for where, source, target in read_columns(table, requested, PAIRS):
        yield cell_text(where, "source", source), cell_text(where, "target", target)
    if notes is not None:
        notes += table.notes


def _flags(source: str | None, target: str | None) -> str:
    return f"--columns {shlex.quote(f'{source},{target}')}"


def _refuse_names(where: str, names: Sequence[str]) -> None:
    """Raises CorpusError for a header that names a label and a text, and no source, target or languages."""
    label, text = usual_index(names, LABEL_NAMES), usual_index(names, TEXT_NAMES)
    if label is None or text is None or label == text or sum(map(is_language, names)) > 1:
        return
    if all(usual_index(names, usual) is None for usual in PAIRS.usual):
        what = f"its columns {names[label]} and {names[text]} are a label and a text, not a source and a target"
        command = f"nlpseq train sentiment {shlex.quote(where.rpartition(':')[0])}"
        raise CorpusError(where, what, f"{command}; if they are pairs: {_flags(names[text], names[label])}")


def _likely(rows: Sequence[Sequence[str]], filled: Sequence[int]) -> Two:
    """The first two columns that are not numbers, else the first two."""
    texts = [index for index in filled if not all(is_number(row[index]) for row in rows if row[index].strip())]
    chosen = texts if len(texts) > 1 else filled
    return (chosen[0], chosen[1]) if len(chosen) > 1 else (0, 1)


def _guess(where: str, rows: Sequence[Sequence[str]], filled: Sequence[int]) -> Two:
    """The first two columns. Raises CorpusError if one of them holds numbers, though two or more others hold texts."""
    if len(filled) < 2:
        raise CorpusError(
            where, f"it must have a source, a tab and a target, but has one column: {quoted(rows[0][0][:40])}"
        )
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
    likely=_likely,
    refuse_names=_refuse_names,
    languages=True,
)
