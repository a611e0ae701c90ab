"""Notes on how several tables were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_OF_A_TABLE = ("it ", "its ")


def gather(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """The notes of tables, by the tables' names: once if all tables have it, else with the table's name.

    A note that speaks of "its" rows names the tables in any case.
    """
    tables = list(notes.values())
    shared = [note for note in tables[0] if all(note in table for table in tables)]
    own = [f"{name}: {note}" for name, table in notes.items() for note in table if note not in shared]
    names = ", ".join(notes)
    return [f"{names}: {note}" if note.startswith(_OF_A_TABLE) else note for note in shared] + own


def joined(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Two lists of notes as one, without repetitions."""
    return list(dict.fromkeys([*first, *second]))
