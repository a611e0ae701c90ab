"""The fewest units of which an interval says something."""

from __future__ import annotations

from nlpseq.errors import CorpusError

FEWEST = 20  # lines, or blocks


def check_units(count: int, name: str, noun: str) -> None:
    """Raises CorpusError for fewer units than an interval needs; `name` is that of the text, `noun` of the units."""
    if count < FEWEST:
        what = f"it has {count} {noun}, and an interval needs {FEWEST}"
        raise CorpusError(name, what, "a longer test text; of a few hundred lines differences begin to show")
