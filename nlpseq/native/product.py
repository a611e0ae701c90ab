"""The compiled matrix product: its arguments, and running it.

Arrays are passed as addresses, as in `recurrence`. The caller keeps them alive; they hold 32-bit floats.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from typing import Any

from nlpseq.native.extension import load_library

CHUNK = 64  # columns that have a maximum together, as in interface.h


class Product(ctypes.Structure):
    """`struct product` of interface.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "columns", "depth")),
        *((name, ctypes.c_void_p) for name in ("left", "matrix", "packed", "bias", "out")),
        *((name, ctypes.c_void_p) for name in ("maxima", "sums", "log_sums", "targets", "losses")),
    )


def run(kind: int, arguments: Mapping[str, Any]) -> None:
    """Compute a product; `arguments` are the fields of Product.

    The main thread divides the work among the helper threads. Any other thread works alone, because there are other
    threads only if each core already has work.
    """
    product = Product(**arguments)
    main = threading.get_ident() == threading.main_thread().ident
    load_library().nlpseq_multiply(kind, ctypes.byref(product), not main)


def packed_size(kind: int, depth: int, columns: int) -> int:
    """The number of floats of a packed matrix [columns, depth]."""
    return int(load_library().nlpseq_packed_size(kind, depth, columns))


def pack(kind: int, arguments: Mapping[str, Any], packed: int) -> None:
    """Pack the `matrix` of a product to the address `packed`."""
    load_library().nlpseq_pack(kind, ctypes.byref(Product(**arguments)), packed)


def multiply_in_registers(kind: int, times: int, pieces: int) -> int:
    """Multiply and add in registers alone, to measure the processor's limit; the number of operations.

    There are `pieces` jobs, divided among the helper threads. Each multiplies and adds 12 vectors `times` times.
    """
    floats = load_library().nlpseq_multiply_in_registers(kind, times, pieces)
    return int(2 * 12 * floats * times * pieces)
