"""What to do when a run's folder can no longer be written: a hint that continues the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nlpseq.errors import RunError
from nlpseq.files import FULL


@contextmanager
def saying_how_to_go_on(command: Callable[[], str]) -> Iterator[None]:
    """Inside, a RunError about a full or failing disk gets the `command` that continues the run as its hint."""
    try:
        yield
    except RunError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        space = "free some space, then " if cause.errno in FULL else ""
        raise RunError(error.where, error.what, space + command()) from cause
