"""Signals during a training run: Ctrl-C, SIGTERM and a lost terminal end it after the step in hand, all saved.

A signal that is ignored, as SIGHUP under nohup, stays so.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from nlpseq.errors import Interrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Stoppable(Protocol):
    """What a signal needs of a run."""

    signal_number: int | None


@contextmanager
def stopping_on_signals(run: Stoppable) -> Iterator[None]:
    """Inside, a signal of SIGNALS ends the run after the current step, all saved; a second one stops it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if run.signal_number is not None:
            raise Interrupted(number)
        run.signal_number = number

    numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    held = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
