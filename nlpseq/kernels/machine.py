"""The machine of a timing, in words: no figure means anything without it.

The processor's name is read from /proc/cpuinfo. Without that file it is Python's answer, which is often only the
architecture.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

CPU_INFORMATION = Path("/proc/cpuinfo")


def processor_name() -> str:
    """The processor's model, such as `Intel(R) Xeon(R) Processor @ 2.50GHz`."""
    try:
        lines = CPU_INFORMATION.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((name for name in named if name), platform.processor() or platform.machine() or "unknown processor")


def describe_machine(device: str = "cpu") -> str:
    """The processor, the cores this process may use, torch's threads and version; on cuda first the GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    words = [processor_name(), _counted(cores, "core"), _counted(threads, "thread"), f"torch {torch.__version__}"]
    if device == "cuda":
        words.insert(0, torch.cuda.get_device_name())
    return ", ".join(words)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
