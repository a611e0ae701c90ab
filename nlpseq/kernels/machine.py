"""What a timing was taken on, in words: without it no figure means anything.

The processor's name is the kernel's own, read from /proc/cpuinfo; without that file it is what Python knows,
which is often only the architecture.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

CPU_INFORMATION = Path("/proc/cpuinfo")


def processor_name() -> str:
    """The processor's model, as `Intel(R) Xeon(R) Processor @ 2.50GHz`."""
    try:
        lines = CPU_INFORMATION.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((name for name in named if name), platform.processor() or platform.machine() or "unknown processor")


def describe_machine(device: str = "cpu") -> str:
    """Processor, the cores this process may use, torch's threads and version; on cuda the GPU before them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    words = [processor_name(), _counted(cores, "core"), _counted(threads, "thread"), f"torch {torch.__version__}"]
    if device == "cuda":
        words.insert(0, torch.cuda.get_device_name())
    return ", ".join(words)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
