"""How far the reading of a corpus is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

Watch = Callable[[str, int, int | None], None]  # the work in words, what is done of it, and all of it if known


def unwatched(work: str, done: int, total: int | None) -> None:
    """A Watch that shows nothing."""
