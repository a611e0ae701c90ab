"""The compiled loop over time: what it is given, and its threads.

Arrays come as addresses, so that this file knows neither torch nor NumPy; whoever calls sees to it that they live,
are contiguous and of the type that is said. The threads are those of an OpenMP runtime that the process has anyway.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache

from nlpseq.native.extension import Unavailable, open_library

MODULE = "nlpseq.native._recurrence"
CELLS = (
    "rnn",
    "rnn-relu",
    "rnn-sigmoid",
    "lstm",
    "gru",
    "gru-reset-before",
    "mingru",
    "minlstm",
)  # in the order of recurrence.h
AUTOMATIC, UNITS, SEQUENCES = range(3)  # who does what: `enum share` of recurrence.h
FULL, ROUNDED, TILES_IN_HARDWARE, TILES_IMITATED = range(4)  # what products are made of: `enum half`

INTEGERS = ("cell", "gates", "steps", "batch", "size", "reverse", "training", "half", "share", "want_first")
ADDRESSES = (
    *(
        "rows",
        "offsets",
        "weight",
        "bias",
        "gain",
        "from_input",
        "input_bias",
        "masks",
        "hidden",
        "memory",
        "activations",
        "held",
    ),
    *("normalised", "deviation", "grad_outputs", "grad_hidden", "grad_memory"),
    *("grad_gates", "grad_product", "grad_bare"),
)


class Layer(ctypes.Structure):
    """`struct recurrence` of recurrence.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in INTEGERS),
        ("zoneout", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ADDRESSES),
    )


class Threads(ctypes.Structure):
    """`struct threads` of recurrence.c."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ("parallel", "number", "count")), ("wanted", ctypes.c_int64))


@cache
def load_library() -> ctypes.CDLL:
    """The library. Raises Unavailable."""
    library = open_library(MODULE)
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    try:
        library.nlpseq_recurrence.argtypes = [pointer, integer, integer, integer, pointer]
        library.nlpseq_recurrence_name.restype = ctypes.c_char_p
        library.nlpseq_recurrence_best()
    except AttributeError as error:
        raise Unavailable(f"{library._name} is not of this version: {error}") from error
    return library


@cache
def instructions() -> tuple[str, ...]:
    """What this processor may run, the plainest first: names of instruction sets, empty for none in particular."""
    library = load_library()
    return tuple(library.nlpseq_recurrence_name(kind).decode() for kind in range(library.nlpseq_recurrence_best() + 1))


@cache
def has_tiles() -> bool:
    """Whether this processor multiplies bf16 numbers on matrix tiles (AMX), and was seen to do it right."""
    return instructions()[-1] == "AVX-512" and bool(load_library().nlpseq_recurrence_has_tiles())


@cache
def openmp_threads(path: str | None, wanted: int) -> Threads:
    """So many threads of the OpenMP runtime at `path`, or one where it is None or lacks what is needed."""
    try:
        runtime = ctypes.CDLL(path) if path else None
        functions = (runtime.GOMP_parallel, runtime.omp_get_thread_num, runtime.omp_get_num_threads)  # type: ignore[union-attr]
    except (OSError, AttributeError):
        return Threads(None, None, None, 1)
    return Threads(*(ctypes.cast(one, ctypes.c_void_p) for one in functions), wanted)


def run(
    arguments: Mapping[str, int | float | None],
    *,
    backward: bool,
    doubles: bool,
    threads: Threads,
    kind: int | None = None,
) -> None:
    """Run a layer over time. Raises MemoryError and Unavailable.

    `arguments` are the fields of Layer; `kind` is an index of `instructions()`, by default the last.
    """
    library = load_library()
    layer = Layer(**arguments)
    chosen = len(instructions()) - 1 if kind is None else kind
    if library.nlpseq_recurrence(ctypes.addressof(layer), backward, doubles, chosen, ctypes.addressof(threads)):
        raise MemoryError("no memory for a layer's packed weights")
