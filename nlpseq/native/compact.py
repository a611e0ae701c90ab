"""Matrices of the compiled step, in as few bits as lose nothing.

A step of one text reads every weight once, so the fewer bytes, the faster. A matrix whose numbers are all bf16 is kept
in 16 bits; one whose rows are whole numbers from -127 to 127 times a scale, as a file of int8 weights holds them, in 8
bits. `models.storage.rounded` makes such matrices. With int8 the compiled step rounds its input, too, to 16 bits.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np

from nlpseq.native.extension import Unavailable

GROUP = 16  # columns of bf16 that lie together, as in stream.c
LINE = 64  # columns of int8 that lie together, as in interface.h
LARGEST = 127  # of the whole numbers


class Matrix(ctypes.Structure):
    """`struct matrix` of interface.h."""

    _fields_ = (
        ("numbers", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "bits")),
        *((name, ctypes.c_void_p) for name in ("scales", "rounded")),
    )


def describe_matrix(weight: np.ndarray) -> tuple[list[np.ndarray], Matrix]:
    """A matrix for the compiled step, and the arrays that must stay alive with it. Raises as `address` does."""
    numbers = address(weight)
    if sys.byteorder == "little":
        if (upper := upper_halves(weight)) is not None:
            packed = pack_upper_halves(upper)
            return [packed], Matrix(packed.ctypes.data, *weight.shape, 16)
        if (found := whole_numbers(weight)) is not None:
            packed, scales = pack_whole_numbers(found[0]), found[1]
            kept = [packed, scales, np.zeros(packed.shape[1], np.int16)]
            numbers, *others = (array.ctypes.data for array in kept)
            return kept, Matrix(numbers, *weight.shape, 8, *others)
    return [weight], Matrix(numbers, *weight.shape, 32)


def upper_halves(weight: np.ndarray) -> np.ndarray | None:
    """32-bit floats as bf16, which is their upper 16 bits, if all lower bits are zero; else None."""
    bits = weight.view(np.uint32)
    if (bits[0] & 0xFFFF).any() or (bits & 0xFFFF).any():  # the first row mostly decides
        return None
    return (bits >> 16).astype(np.uint16)


def whole_numbers(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """32-bit floats [O, I] as int8 [O, I] times the scale of each row [O], if that is exact; else None.

    The largest number of a row must be 127 or -127, and a scale must have at most 16 significant bits.
    """
    return None if _whole(weight[:1]) is None else _whole(weight)  # the first row mostly decides


def _whole(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    scales = np.maximum(weight.max(1), -weight.min(1)) / np.float32(LARGEST)
    if not np.isfinite(scales).all() or (scales.view(np.uint32) & 0xFF).any():
        return None
    whole = np.rint(weight / np.where(scales == 0, np.float32(1), scales)[:, None])
    return (whole.astype(np.int8), scales) if (whole * scales[:, None] == weight).all() else None


def pack_upper_halves(upper: np.ndarray) -> np.ndarray:
    """bf16 [O, I] in the order of `struct matrix`: in each 32 columns the first 16 alternate with the last 16."""
    rows, columns = upper.shape
    packed = upper.copy()
    whole = columns - columns % (2 * GROUP)
    groups = upper[:, :whole].reshape(rows, -1, 2, GROUP)
    packed[:, :whole] = groups.swapaxes(2, 3).reshape(rows, whole)
    return packed


def pack_whole_numbers(whole: np.ndarray) -> np.ndarray:
    """int8 [O, I] in the order of `struct matrix`: in each 64 columns the first 32 alternate with the last 32."""
    rows, columns = whole.shape
    lines = -(-columns // LINE)
    filled = np.zeros((rows, lines * LINE), np.int8)
    filled[:, :columns] = whole
    halves = filled.view(np.uint8).reshape(rows, lines, 2, LINE // 2)
    words = halves[:, :, 1].astype(np.uint16)
    words <<= 8
    words |= halves[:, :, 0]
    return words.reshape(rows, -1).view(np.int8)


def address(array: np.ndarray) -> int:
    """The address of an array's first number. Raises Unavailable unless it holds contiguous 32-bit floats."""
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise Unavailable("it reads 32-bit floats only")
    return array.ctypes.data
