"""Finding and loading the compiled library, and choosing the instructions that it uses.

Everything compiled is one library, with code for each kind of processor of its family. The best kind that this
processor is runs, unless NLPSEQ_INSTRUCTIONS names another: so each can be tested and timed wherever it can run at all.
Where the library cannot be loaded, the reason is kept in words, and NumPy and torch do the work.
"""

from __future__ import annotations

import ctypes
import os
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec

from nlpseq.errors import BackendError

MODULE = "nlpseq.native._compiled"
INTERFACE = 13  # of interface.h
MOST_THREADS = 16  # more do not read memory any faster
SETTING = "NLPSEQ_INSTRUCTIONS"
INSTRUCTIONS = ("sse2", "avx2", "avx512", "amx", "neon")  # that may be asked for


class Unavailable(Exception):
    """The compiled library cannot be used here, or cannot do this; the message says why."""


def threads() -> int:
    """How many threads a step uses: OMP_NUM_THREADS if it is set, else the cores this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(wanted) if wanted.isdecimal() else allowed, MOST_THREADS))


@cache
def load_library() -> ctypes.CDLL:
    """The library, its helper threads started. Raises Unavailable."""
    spec = find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise Unavailable("the package was built without a C compiler")
    try:
        library = ctypes.CDLL(spec.origin)
        if (found := library.nlpseq_interface()) != INTERFACE:
            raise AttributeError(f"it has interface {found}, needed is {INTERFACE}")
        _declare(library)
    except OSError as error:
        raise Unavailable(f"{spec.origin} cannot be loaded: {error}") from error
    except AttributeError as error:
        raise Unavailable(f"{spec.origin} is not of this version of nlpseq: {error}") from error
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
def at_hand() -> tuple[str, ...]:
    """The instruction sets that can run here, the plainest first. Raises Unavailable."""
    library = load_library()
    return tuple(library.nlpseq_kind_name(kind).decode() for kind in range(library.nlpseq_best_kind() + 1))


def kind() -> int:
    """The index in `at_hand` of the set to use.

    Raises Unavailable, and BackendError if NLPSEQ_INSTRUCTIONS asks for a set that this processor lacks.
    """
    wanted = os.environ.get(SETTING, "").strip().lower()
    if not wanted:
        return len(at_hand()) - 1
    if wanted not in INSTRUCTIONS:
        near = get_close_matches(wanted, INSTRUCTIONS, 1)
        hint = f"export {SETTING}={near[0]}" if near else f"unset {SETTING}"
        raise BackendError(SETTING, f"must be one of {', '.join(INSTRUCTIONS)}, was {wanted!r}", hint)
    try:
        sets = at_hand()
    except Unavailable as reason:
        raise BackendError(
            SETTING, f"is {wanted}, but nothing compiled can run: {reason}", f"unset {SETTING}"
        ) from None
    if wanted not in sets:
        what = f"is {wanted}, which this processor lacks: it has {', '.join(sets)}"
        raise BackendError(SETTING, what, f"export {SETTING}={sets[-1]}")
    return sets.index(wanted)


def is_available() -> bool:
    """Whether compiled code can run here. Raises BackendError as `kind` does."""
    try:
        kind()
    except Unavailable:
        return False
    return True


def instructions() -> str:
    """The name of the set in use. Raises as `kind` does."""
    return at_hand()[kind()]


def describe() -> str:
    """In a few words what runs a single text's steps here, and why."""
    try:
        named = instructions()
    except Unavailable as reason:
        return f"NumPy ({reason})"
    number = threads()
    return f"native step ({named}, {number} thread{'s' * (number > 1)})"
