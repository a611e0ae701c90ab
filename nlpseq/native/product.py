"""The compiled product of matrices: its arguments, and running it.

Arrays come as addresses, as in `recurrence`. The caller keeps them alive; they hold 32-bit floats.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from typing import Any

from nlpseq.native.extension import load_library

CHUNK = 64  # columns whose largest is looked for together, as in interface.h


class Product(ctypes.Structure):
    """`struct product` of interface.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "columns", "depth")),
        *((name, ctypes.c_void_p) for name in ("left", "matrix", "packed", "bias", "out")),
        *((name, ctypes.c_void_p) for name in ("maxima", "sums", "log_sums", "targets", "losses")),
    )


def run(kind: int, arguments: Mapping[str, Any]) -> None:
    """Make a product of the fields of Product: in the main thread with helpers, in any other alone.

    Other threads exist only if each core has its work already.
    """
    made = Product(**arguments)
    main = threading.get_ident() == threading.main_thread().ident
    load_library().nlpseq_multiply(kind, ctypes.byref(made), not main)


def packed_size(kind: int, depth: int, columns: int) -> int:
    """How many floats a matrix [columns, depth] takes when it is packed."""
    return int(load_library().nlpseq_packed_size(kind, depth, columns))


def pack(kind: int, arguments: Mapping[str, Any], packed: int) -> None:
    """Pack the `matrix` of a product to the address `packed`."""
    load_library().nlpseq_pack(kind, ctypes.byref(Product(**arguments)), packed)


def multiply_in_registers(kind: int, times: int, pieces: int) -> int:
    """Multiply and add without any memory, to see how fast that can be; the number of operations.

    Each of `pieces`, which the helpers share, multiplies and adds 12 vectors `times` times.
    """
    floats = load_library().nlpseq_multiply_in_registers(kind, times, pieces)
    return int(2 * 12 * floats * times * pieces)
