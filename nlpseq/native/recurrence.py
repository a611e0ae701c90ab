"""The compiled loop over time: its arguments and its threads.

Arrays are passed as addresses, so that this file needs neither torch nor NumPy. The caller keeps the arrays alive,
contiguous and of the right type. The threads are those of an OpenMP runtime that the process has loaded anyway.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

from nlpseq.native import extension

# in the order of EACH_CELL in interface.h
CELLS = ("rnn", "rnn-relu", "rnn-sigmoid", "lstm", "gru", "gru-reset-before", "mingru", "minlstm")
AUTOMATIC, UNITS, SEQUENCES = range(3)  # how threads divide the work: `enum share` of interface.h
FULL, ROUNDED, TILES_IN_HARDWARE, TILES_IMITATED, PAIRS = range(5)  # how products multiply: `enum half`

INTEGERS = ("cell", "gates", "steps", "batch", "size", "reverse", "training", "half", "share", "want_first")
ADDRESSES = (
    *("rows", "offsets", "weight", "bias", "gain", "from_input", "input_bias", "masks", "hidden", "memory"),
    *("activations", "held", "normalised", "deviation", "grad_outputs", "grad_hidden", "grad_memory"),
    *("grad_gates", "grad_product", "grad_bare"),
)


EXACT = ("weight", "bias", "gain", "input_bias")  # arrays that are of one layer


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


def bf16_products() -> int:
    """How numbers rounded to bf16 are multiplied here: on matrix tiles, in pairs, or in fp32. Raises Unavailable.

    Tiles (AMX) gave right results in a trial.
    """
    return {"amx": TILES_IN_HARDWARE, "avx512bf16": PAIRS}.get(extension.instructions(), ROUNDED)


@cache
def openmp_threads(path: str | None, wanted: int) -> Threads:
    """Threads of the OpenMP runtime at `path`; a single thread if it is None or the runtime misses a function."""
    try:
        runtime = ctypes.CDLL(path) if path else None
        functions = (runtime.GOMP_parallel, runtime.omp_get_thread_num, runtime.omp_get_num_threads)  # type: ignore[union-attr]
    except (OSError, AttributeError):
        return Threads(None, None, None, 1)
    return Threads(*(ctypes.cast(function, ctypes.c_void_p) for function in functions), wanted)


def check_sizes(sizes: Mapping[str, int], numbers: Mapping[str, Any], real: int) -> None:
    """Compare the sizes of the arrays of a layer with its numbers; the compiled loop compares nothing.

    `sizes` are numbers in each array, by the names of Layer; `real` is N, the number of real steps. Raises ValueError
    if an array is missing or too small.
    """
    steps, batch, size = numbers["steps"], numbers["batch"], numbers["size"]
    width, kept = numbers["gates"] * size, real if numbers.get("training") else batch
    needed = {
        **dict.fromkeys(("rows", "offsets"), steps),
        "weight": width * size,
        **dict.fromkeys(("bias", "gain", "input_bias"), width),
        "from_input": real * width,
        **dict.fromkeys(("masks", "grad_outputs"), real * size),
        "hidden": (steps + 1) * batch * size,
        "memory": (steps + 1 if numbers.get("training") else 1) * batch * size,
        "activations": kept * width,
        "held": kept * size,
        **dict.fromkeys(("normalised", "grad_gates", "grad_product", "grad_bare"), real * width),
        "deviation": real * 2,
        **dict.fromkeys(("grad_hidden", "grad_memory"), batch * size),
    }
    for name, found in sizes.items():
        if found < needed[name] or (name in EXACT and found != needed[name]):
            raise ValueError(f"{name} has {found} numbers, but the layer needs {needed[name]}")
    if "hidden" not in sizes:
        raise ValueError("the layer has no array of hidden states")


def run(
    arguments: Mapping[str, int | float | None],
    *,
    backward: bool,
    doubles: bool,
    threads: Threads,
    kind: int | None = None,
) -> None:
    """Run a layer over time. Raises MemoryError and Unavailable.

    `arguments` are the fields of Layer; `kind` is an index of `extension.available_sets()`, by default the set in use.
    """
    library = extension.load_library()
    layer = Layer(**arguments)
    chosen = extension.kind() if kind is None else kind
    if library.nlpseq_recurrence(ctypes.addressof(layer), backward, doubles, chosen, ctypes.addressof(threads)):
        raise MemoryError("no memory for a layer's packed weights")
