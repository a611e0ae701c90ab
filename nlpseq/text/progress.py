"""How far the reading of a corpus is, for the display."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

Watch = Callable[[str, int, int | None], None]  # the work in words, what is done of it, and all of it if known
Item = TypeVar("Item")

ROWS = 500  # rows between two reports


class Meter:
    """The number of bytes of a corpus' files that were read, as they are on the disk."""

    def __init__(self) -> None:
        self._finished = 0
        self._file: BinaryIO | None = None
        self._size = 0

    @property
    def done(self) -> int:
        """Bytes of all files so far."""
        if self._file is None:
            return self._finished
        return self._finished + (self._size if self._file.closed else min(self._file.tell(), self._size))

    @contextmanager
    def reading(self, file: BinaryIO) -> Iterator[None]:
        """Inside, an open file is read; it counts as read at the end."""
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        try:
            yield
        finally:
            self._file = None
            self.skip(self._size)

    def skip(self, size: int) -> None:
        """Count a file of `size` bytes that is left out."""
        self._finished += size


def unwatched(work: str, done: int, total: int | None) -> None:
    """A Watch that shows nothing."""


def watched_pieces(
    pieces: Iterable[str], watch: Watch, work: str, total: int | None = None, size: Callable[[str], int] = len
) -> Iterator[str]:
    """The same pieces of text; `watch` is told before each one how much the caller is done with, by `size`."""
    done = 0
    for piece in pieces:
        watch(work, done, total)
        yield piece
        done += size(piece)
    watch(work, done, total)


def watched_rows(rows: Iterable[Item], watch: Watch, work: str, total: int | None = None) -> Iterator[Item]:
    """The same rows; `watch` is told how many the caller is done with, before the first and after each ROWS."""
    number = -1
    for number, row in enumerate(rows):
        if number % ROWS == 0:
            watch(work, number, total)
        yield row
    watch(work, number + 1, total)
