"""How far the reading of a corpus is, for the display."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Watch = Callable[[str, int, int | None], None]  # the work in words, what is done of it, and all of it if known
Item = TypeVar("Item")

ROWS = 500  # rows between two reports


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
