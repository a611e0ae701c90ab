"""Memory that the processes of one machine share, and waiting for each other in it.

It is for processors of the x86 family only, which keep the order of writes, and for systems that keep the files of a
folder in memory. The file has no name any more once all have opened it, so nothing is left of it when they end.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.training.distribution.processes import Processes, ProcessLost

FOLDER = Path("/dev/shm")
PAGE = 4096  # bytes of a process's page, in which it tells the others numbers
MOST_NUMBERS = 16  # that are told at once
SPINS = 2000  # times that a process looks for the others before it sleeps
NAP_SECONDS = 1e-4
NAPS = 500  # between two looks whether the others are alive


class SharedMemory:
    """An area for each process, and one for a result; each process has all of them in its view."""

    def __init__(self, memory: NDArray[np.uint8], index: int, count: int, explain: Callable[[], None]) -> None:
        """`explain` is called when a process has ended, and raises ProcessLost if it finds out how."""
        self.index, self.count, self.explain = index, count, explain
        pages = memory[: count * PAGE]
        self._rounds, self._identities = pages.view(np.int64).reshape(count, -1)[:, :2].T
        self._told = pages.view(np.float64).reshape(count, -1)[:, -2 * MOST_NUMBERS :].reshape(count, 2, MOST_NUMBERS)
        self._rest = memory[count * PAGE :]
        self._round = 0
        self._identities[index] = os.getpid()

    def view(self, start: int, kind: Any, shape: Sequence[int]) -> NDArray[Any]:
        """An array in the shared bytes from `start` on."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        array: NDArray[Any] = self._rest[start : start + size].view(kind).reshape(shape)
        return array

    def tell(self, numbers: Sequence[float]) -> NDArray[np.float64]:
        """Tell all processes some numbers, and wait for theirs: those of all [N, K]. Raises ProcessLost."""
        turn = self._round % 2  # another process may still read what was told before
        self._told[self.index, turn, : len(numbers)] = numbers
        self.meet()
        return np.array(self._told[:, turn, : len(numbers)])

    def meet(self) -> None:
        """Wait until all processes have come here. Raises ProcessLost if one has ended."""
        self._round += 1
        self._rounds[self.index] = self._round
        tries = 0
        while self._rounds.min() < self._round:
            tries += 1
            os.sched_yield() if tries < SPINS else time.sleep(NAP_SECONDS)
            if tries % NAPS == 0:
                self._look()

    def _look(self) -> None:
        for index, identity in enumerate(self._identities.tolist()):
            if identity and not is_alive(identity):
                self.explain()
                raise ProcessLost(f"process {index + 1} of {self.count} has ended")


def is_alive(identity: int) -> bool:
    """Whether a process of this machine is there, and was not killed."""
    try:
        os.kill(identity, 0)
        return Path(f"/proc/{identity}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (ProcessLookupError, FileNotFoundError):
        return False
    except OSError:  # it is another user's
        return True


def open_shared(processes: Processes, size: int, explain: Callable[[], None]) -> SharedMemory | None:
    """Memory with `size` shared bytes, set to zero; None if some process cannot share it."""
    whole = processes.count * PAGE + size
    path = processes.from_first(_create(whole) if processes.is_first else None)
    memory = None
    if path is not None:
        with suppress(OSError):
            memory = np.memmap(path, np.uint8, "r+", shape=(whole,))
    shared = int(processes.sum(np.array([memory is not None], np.int64))[0]) == processes.count
    if processes.is_first and path is not None:
        path.unlink()
    if memory is None or not shared:
        return None
    return SharedMemory(memory, processes.index, processes.count, explain)


def _create(size: int) -> Path | None:
    """A file in memory, or None if there is no room for it."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not FOLDER.is_dir():
        return None
    try:
        descriptor, name = tempfile.mkstemp(prefix="nlpseq-", dir=FOLDER)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, size)  # what has no room fails now, and not when it is written
        return Path(name)
    except OSError:
        os.unlink(name)
        return None
    finally:
        os.close(descriptor)
