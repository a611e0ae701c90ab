"""Checks whether Gluon can be used here, and finds names that moved between releases of Triton.

Gluon is Triton's second, lower-level language. It is part of the package and still called experimental: from 3.6 to 3.9
two names that the persistent kernels need changed. Only this file looks for the names, so a release that moves another
name costs one line. If a name is missing, the kernels are not used, and the reason is given.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

HERE = "triton.experimental.gluon"
NEEDED = {
    HERE: ("jit",),
    f"{HERE}.language": ("DistributedLinearLayout", "NVMMADistributedLayout", "NVMMASharedLayout"),
    f"{HERE}.language.nvidia.ampere.async_copy": ("commit_group", "wait_group"),
    f"{HERE}.language.nvidia.hopper": ("fence_async_shared", "warpgroup_mma", "warpgroup_mma_wait"),
}
BARRIERS = ("thread_barrier", "barrier")  # of a program's threads, in Triton 3.6 and in 3.9
COPIES = ("async_load", "async_copy_global_to_shared")  # in 3.9, where the old name still exists but raises, and in 3.6


def moved_names(language: Any, async_copy: Any) -> tuple[Any, Any]:
    """The barrier of a program's threads and the copy to shared memory. Raises ImportError if one is missing."""
    return _first(language, BARRIERS), _first(async_copy, COPIES)


def _first(module: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if hasattr(module, name):
            return getattr(module, name)
    raise ImportError(f"there is no {' or '.join(names)}")


def missing_names() -> str | None:
    """The reason why Gluon cannot be used, or None. Imports Triton."""
    try:
        modules = {path: import_module(path) for path in NEEDED}
    except ImportError as error:
        return f"Triton's Gluon cannot be imported ({error})"
    missing = [name for path, names in NEEDED.items() for name in names if not hasattr(modules[path], name)]
    if missing:
        return f"Triton's Gluon lacks {', '.join(missing)}"
    try:
        moved_names(*(modules[f"{HERE}.language{part}"] for part in ("", ".nvidia.ampere.async_copy")))
    except ImportError as error:
        return f"Triton's Gluon lacks a name: {error}"
    return None


@cache
def unavailable() -> str | None:
    """As `missing_names`, looked up once."""
    return missing_names()
