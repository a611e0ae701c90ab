"""The compiled loop over time: what it is given, and its threads.

Arrays come as addresses, so that this file knows neither torch nor NumPy; whoever calls sees to it that they live,
are contiguous and of the type that is said. The threads are those of an OpenMP runtime that the process has anyway.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache

from nlpseq.native import extension

# in the order of EACH_CELL in interface.h
CELLS = ("rnn", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before", "mingru", "minlstm")
AUTOMATIC, UNITS, SEQUENCES = range(3)  # who does what: `enum share` of interface.h
FULL, ROUNDED, TILES_IN_HARDWARE, TILES_IMITATED = range(4)  # what products are made of: `enum half`

INTEGERS = ("cell", "gates", "steps", "batch", "size", "reverse", "training", "half", "share", "want_first")
ADDRESSES = (
    *("rows", "offsets", "weight", "bias", "gain", "from_input", "input_bias", "masks", "hidden", "memory"),
    *("activations", "held", "normalised", "deviation", "grad_outputs", "grad_hidden", "grad_memory"),
    *("grad_gates", "grad_product", "grad_bare"),
)


class Layer(ctypes.Structure):
    """`struct recurrence` of interface.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in INTEGERS),
        ("zoneout", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ADDRESSES),
    )


class Threads(ctypes.Structure):
    """`struct threads` of interface.h."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ("parallel", "number", "count")), ("wanted", ctypes.c_int64))


def has_tiles() -> bool:
    """Whether bf16 numbers are multiplied on matrix tiles (AMX), which were seen to do it right. Raises Unavailable."""
    return extension.instructions() == "amx"


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

    `arguments` are the fields of Layer; `kind` is a place in `extension.at_hand()`, by default that of the set in use.
    """
    library = extension.load_library()
    layer = Layer(**arguments)
    chosen = extension.kind() if kind is None else kind
    if library.nlpseq_recurrence(ctypes.addressof(layer), backward, doubles, chosen, ctypes.addressof(threads)):
        raise MemoryError("no memory for a layer's packed weights")
