"""Signals during a training run: Ctrl-C and SIGTERM end it after the step in hand, all saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from nlpseq.errors import Interrupted


class Stoppable(Protocol):
    """What a signal needs of a run."""

    signal_number: int | None


@contextmanager
def stopping_on_signals(run: Stoppable) -> Iterator[None]:
    """Inside, SIGINT or SIGTERM ends the run after the current step, all saved; a second signal stops it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if run.signal_number is not None:
            raise Interrupted(number)
        run.signal_number = number

    held = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
