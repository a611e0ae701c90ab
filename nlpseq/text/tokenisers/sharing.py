"""The pieces of a corpus to this process and, if there are many, to worker processes.

The first pieces are worked on here, because workers take a while to start; a small corpus is done by then. A result
depends on its piece alone, so results do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from nlpseq.workers import available_cores, in_order

Result = TypeVar("Result")


def share_pieces(
    here: Callable[[str], Result],
    function: str,
    settings: Any,
    pieces: Iterable[str],
    processes: int | None,
    alone: int | None,
) -> Iterator[Result]:
    """Results for pieces of text, in order: of the first `alone` characters (None: all) by `here`, then by workers.

    `function`, with its `settings`, is the same as `here` in the notation of `nlpseq.workers.in_order`. `processes` is
    by default the number of available cores. Raises RunError if a worker is killed.
    """
    processes = processes or available_cores()
    characters, pieces = 0, iter(pieces)
    for piece in pieces:
        yield here(piece)
        characters += len(piece)
        if processes > 1 and alone is not None and characters >= alone:
            yield from in_order(function, settings, pieces, processes)
