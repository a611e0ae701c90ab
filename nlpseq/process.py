"""Settings of this process for its threads, made before NumPy or torch is imported.

They are environment variables that the libraries read once, when they load. A variable that is set already is left as
it is.
"""

from __future__ import annotations

import os


def leave_busy_cores(*, has_threads: bool) -> None:
    """Keep NumPy's matrix products to one core if the others are busy, or if a command has threads of its own.

    NumPy's threads wait for each other after each product. On a core that another program uses, that wait is a time
    slice, and generating gets ten times slower instead of faster.
    """
    if has_threads or (hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.7 * (os.cpu_count() or 1)):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def wait_without_spinning() -> None:
    """Let torch's threads sleep soon when they wait for each other.

    By default they burn a core for milliseconds after each operation. On a core that another program uses, that made a
    training step 1.9 seconds long instead of 0.4; on an idle machine it made no difference.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
