"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from nlpseq.errors import OptionError

MOST = 1024  # worker processes
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all cores in each period, and the period


def available_cores(quota: Path = QUOTA) -> int:
    """The number of cores that the operating system lets this process use: at most its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(time) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # there is no quota
        return cores


def check_processes(processes: int, device: str) -> None:
    """Raises OptionError unless there may be this number of worker processes, from 1 to MOST, and 1 on a GPU."""
    if not isinstance(processes, int) or not 1 <= processes <= MOST:
        raise OptionError("processes", f"must be a whole number from 1 to {MOST:,}, was {processes!r}", "--processes 1")
    if device == "cuda" and processes > 1:
        raise OptionError("processes", f"must be 1 on a GPU, was {processes}", "--device cpu")


def threads_each(processes: int) -> int:
    """The number of threads of each of several processes that share the cores."""
    return max(1, available_cores() // processes)


def usual_processes() -> int:
    """A process for each core, but not more than compiled code may have threads (OMP_NUM_THREADS)."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return min(available_cores(), max(1, int(setting))) if setting.isdecimal() else available_cores()
