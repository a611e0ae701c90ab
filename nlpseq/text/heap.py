"""Memory that the C library keeps although nothing uses it any more.

Pieces of text are about a megabyte each, but none as long as another, so they leave holes in the heap of GNU's C
library that later ones do not fit into: reading two gigabytes of text left a hundred megabytes of them. The holes are
given back after every PIECES pieces, which costs a few hundredths of the time of reading them. Batches of pairs of many
lengths do the same to training, which gives holes back when it saves a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

PIECES = 16

Item = TypeVar("Item")


def without_holes(pieces: Iterable[Item]) -> Iterator[Item]:
    """The same pieces; the holes in the heap are given back after each PIECES of them, and at the end of more."""
    number = 0
    for number, piece in enumerate(pieces, 1):
        yield piece
        if number % PIECES == 0:
            give_back()
    if number > PIECES:
        give_back()


def give_back() -> None:
    """Give unused memory back to the system, if the C library can."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
