"""Keep freed memory in the process.

A training step allocates and frees the same few large buffers. The C library returns each to the operating system and
gets it back page by page, which costs up to a tenth of the step. On glibc that can be switched off; the cost is that
the process never shrinks. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Ask the allocator to keep freed memory; returns whether it will."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
