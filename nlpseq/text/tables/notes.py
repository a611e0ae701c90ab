"""What is worth knowing of how tables were read, of several tables together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def gather(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """The notes of tables by their names: once what is true of all, the others with the table's name."""
    tables = list(notes.values())
    shared = [note for note in tables[0] if all(note in table for table in tables)]
    own = [f"{name}: {note}" for name, table in notes.items() for note in table if note not in shared]
    return shared + own


def joined(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The notes of training and of validation texts, each once."""
    return list(dict.fromkeys([*first, *second]))
