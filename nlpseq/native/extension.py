"""Finding and loading the compiled library, and choosing the instructions that it uses.

All compiled code is one library, with code for each kind of processor of its family. The best kind that this processor
supports runs, unless NLPSEQ_INSTRUCTIONS names another, so that each kind can be tested and timed. If the library
cannot be loaded, NumPy and torch do the work, and messages give the reason.
"""

from __future__ import annotations

import ctypes
import os
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec

from nlpseq.errors import BackendError

MODULE = "nlpseq.native._compiled"
INTERFACE = 15  # the version in interface.h
MOST_THREADS = 16  # more threads do not read memory any faster
SETTING = "NLPSEQ_INSTRUCTIONS"
INSTRUCTIONS = ("sse2", "avx2", "avx512", "avx512bf16", "amx", "neon")  # the values of SETTING


class Unavailable(Exception):
    """The compiled library cannot be used here, or cannot do this; the message says why."""


def threads() -> int:
    """The number of threads of a step: OMP_NUM_THREADS if it is set, else the cores this process may run on."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(setting) if setting.isdecimal() else allowed, MOST_THREADS))


@cache
def load_library() -> ctypes.CDLL:
    """The library, its helper threads started. Raises Unavailable."""
    spec = find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise Unavailable("the package was built without a C compiler")
    try:
        library = ctypes.CDLL(spec.origin)
        if (version := library.nlpseq_interface()) != INTERFACE:
            raise AttributeError(f"its interface is {version}, but {INTERFACE} is needed")
        _declare(library)
    except OSError as error:
        raise Unavailable(f"{spec.origin} cannot be loaded: {error}") from error
    except AttributeError as error:
        raise Unavailable(f"{spec.origin} is not from this version of nlpseq: {error}") from error
    library.nlpseq_start(threads())
    return library


def _declare(library: ctypes.CDLL) -> None:
    pointer, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    library.nlpseq_kind_name.restype = ctypes.c_char_p
    library.nlpseq_packed_size.restype = size
    for name, arguments in {
        "start": [number],
        "linear": [number, pointer, pointer, pointer, pointer],
        "advance": [number, pointer, size, pointer, pointer],
        "log_softmax": [number, pointer, size],
        "pack": [number, pointer, pointer],
        "multiply": [number, pointer, number],
        "finish_step": [number, pointer, pointer],
    }.items():
        function = getattr(library, f"nlpseq_{name}")
        function.argtypes, function.restype = arguments, None
    library.nlpseq_multiply_in_registers.argtypes = [number, size, size]
    library.nlpseq_packed_size.argtypes = [number, size, size]
    library.nlpseq_recurrence.argtypes = [pointer, number, number, number, pointer]


@cache
def available_sets() -> tuple[str, ...]:
    """The instruction sets that can run here, the plainest first. Raises Unavailable."""
    library = load_library()
    return tuple(library.nlpseq_kind_name(kind).decode() for kind in range(library.nlpseq_best_kind() + 1))


def kind() -> int:
    """The index in `available_sets` of the set to use.

    Raises Unavailable, and BackendError if NLPSEQ_INSTRUCTIONS asks for a set that this processor does not have.
    """
    setting = os.environ.get(SETTING, "").strip().lower()
    if not setting:
        return len(available_sets()) - 1
    if setting not in INSTRUCTIONS:
        near = get_close_matches(setting, INSTRUCTIONS, 1)
        hint = f"export {SETTING}={near[0]}" if near else f"unset {SETTING}"
        raise BackendError(SETTING, f"must be one of {', '.join(INSTRUCTIONS)}, was {setting!r}", hint)
    try:
        sets = available_sets()
    except Unavailable as reason:
        raise BackendError(
            SETTING, f"is {setting}, but nothing compiled can run: {reason}", f"unset {SETTING}"
        ) from None
    if setting not in sets:
        what = f"is {setting}, which this processor does not have: it has {', '.join(sets)}"
        raise BackendError(SETTING, what, f"export {SETTING}={sets[-1]}")
    return sets.index(setting)


def is_available() -> bool:
    """Whether compiled code can run here. Raises BackendError as `kind` does."""
    try:
        kind()
    except Unavailable:
        return False
    return True


def instructions() -> str:
    """The name of the set in use. Raises as `kind` does."""
    return available_sets()[kind()]


def describe() -> str:
    """What runs the steps of a single text here, in a few words, and why."""
    try:
        named = instructions()
    except Unavailable as reason:
        return f"NumPy ({reason})"
    count = threads()
    return f"native step ({named}, {count} thread{'s' * (count > 1)})"
