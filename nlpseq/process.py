"""Settings of this process, made before NumPy or torch is imported: for its threads, and for signals during imports.

Those for threads are environment variables that the libraries read once, when they load. A variable that is set already
is left as it is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def leave_busy_cores(*, has_threads: bool) -> None:
    """Keep NumPy's matrix products to one core if the others are busy, or if a command has threads of its own.

    NumPy's threads wait for each other after each product. On a core that another program uses, that wait is a time
    slice, and generating gets ten times slower instead of faster.
    """
    if has_threads or (hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.7 * (os.cpu_count() or 1)):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # of compiled code and torch, and of NumPy


def use_threads(count: int) -> None:
    """Let compiled code, NumPy and torch have this number of threads each, whatever other variables say."""
    for name in THREADS:
        os.environ[name] = str(count)


def wait_without_spinning() -> None:
    """Let torch's threads sleep soon when they wait for each other.

    By default they burn a core for milliseconds after each operation. On a core that another program uses, that made a
    training step 1.9 seconds long instead of 0.4; on an idle machine it made no difference.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Inside, SIGINT or SIGTERM ends the process with status 128 + its number, unless the signal is ignored.

    It is for imports, in the middle of which some libraries drop an exception or raise another in its place.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    held = {number: signal.signal(number, lambda number, frame: os._exit(128 + number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
