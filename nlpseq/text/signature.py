"""The SHA-256 of a corpus' text, and the name of a corpus in the signature of a score."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.text.encodings import to_utf8


class TextHash:
    """The SHA-256 of a text that is read in pieces; it does not depend on the pieces."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, piece: str) -> None:
        """Take the next piece of the text."""
        self._digest.update(to_utf8(piece))

    @property
    def sha256(self) -> str:
        """The hash of all pieces so far, in hexadecimal digits."""
        return self._digest.hexdigest()


def rows_sha256(rows: Iterable[Sequence[str]]) -> str:
    """The SHA-256 of rows, with tabs between cells and a newline after each row."""
    text = TextHash()
    for row in rows:
        text.add("\t".join(row) + "\n")
    return text.sha256


def corpus_name(names: Sequence[str], chosen: str) -> str:
    """The name of a corpus in a signature: the names of its files, and how its texts were chosen (`held out`)."""
    return f"{short_names(names)}:{chosen.replace(' ', '-')}"


def short_names(names: Sequence[str]) -> str:
    """The names of files or folders without the folders that they are in: `books+b.txt`; `stdin` for `-`."""
    return "+".join("stdin" if name == STANDARD_INPUT else os.path.basename(os.path.abspath(name)) for name in names)
