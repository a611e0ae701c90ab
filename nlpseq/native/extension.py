"""Finding and loading the compiled step; where that fails, the reason in words."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib.util import find_spec

MODULE = "nlpseq.native._step"
MOST_THREADS = 16  # more do not read memory any faster


class Unavailable(Exception):
    """The compiled step cannot be used here; the message says why."""


def threads() -> int:
    """How many threads a step uses: OMP_NUM_THREADS where that is set, else the cores this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(wanted) if wanted.isdecimal() else allowed, MOST_THREADS))


def open_library(module: str) -> ctypes.CDLL:
    """A compiled part of this package. Raises Unavailable."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise Unavailable("the package was built without a C compiler")
    try:
        return ctypes.CDLL(spec.origin)
    except OSError as error:
        raise Unavailable(f"{spec.origin} cannot be loaded: {error}") from error


@cache
def load_library() -> ctypes.CDLL:
    """The library of the step, its helper threads started. Raises Unavailable."""
    library = open_library(MODULE)
    try:
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        library.nlpseq_start.argtypes = [ctypes.c_int]
        library.nlpseq_product.argtypes = [pointer, pointer, pointer, pointer]
        library.nlpseq_advance.argtypes = [pointer, size, pointer, pointer]
        library.nlpseq_log_softmax.argtypes = [pointer, size]
        library.nlpseq_output.argtypes = [pointer]
    except AttributeError as error:
        raise Unavailable(f"{library._name} is not of this version: {error}") from error
    for name in ("start", "product", "advance", "log_softmax", "output"):
        getattr(library, f"nlpseq_{name}").restype = None
    library.nlpseq_start(threads())
    return library


def describe() -> str:
    """In a few words what runs a single text's steps here, and why."""
    try:
        load_library()
    except Unavailable as reason:
        return f"NumPy ({reason})"
    number = threads()
    return f"native step on {number} thread{'s' * (number > 1)}"
