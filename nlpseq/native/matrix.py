"""Matrices that many rows are multiplied with, packed once for the compiled product.

A search multiplies a few hundred rows with the same few matrices in every step. NumPy's own product leaves its threads
waiting at full speed, in the way of whoever computes next, and packs the matrix anew each time. Here a matrix is held
a second time, in the order in which it is read, and rows are shared out among the helpers of the compiled step. A row's
product is the same to the bit whatever rows are beside it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.native.extension import Unavailable, load_library

Values = NDArray[Any]  # floats

CHUNK = 64  # rows of a matrix that are read together, as in step.c


class _Output(ctypes.Structure):
    """`struct output` of step.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("features", "weight", "bias", "logits", "maxima", "sums")),
        *((name, ctypes.c_int64) for name in ("rows", "size", "vocabulary", "chunks")),
    )


class Packed:
    """A matrix [O, I] of float32 in chunks [C, I, CHUNK], and a bias [C * CHUNK]."""

    def __init__(self, weight: Values, bias: Values | None = None, beyond: float = 0.0) -> None:
        """`beyond` is the bias of the last chunk's rows that are none. Raises Unavailable."""
        self._library = load_library()
        if weight.dtype != np.float32:
            raise Unavailable(f"it multiplies float32, not {weight.dtype}")
        self.outputs, self.inputs = weight.shape
        self.chunks = -(-self.outputs // CHUNK)
        padded = np.zeros((self.chunks * CHUNK, self.inputs), np.float32)
        padded[: self.outputs] = weight
        self._weight = np.ascontiguousarray(padded.reshape(self.chunks, CHUNK, self.inputs).swapaxes(1, 2))
        self._bias = np.full(self.chunks * CHUNK, beyond, np.float32)
        self._bias[: self.outputs] = 0 if bias is None else bias

    def multiply(self, rows: Values, maxima: Values | None = None, sums: Values | None = None) -> Values:
        """Rows [R, I] -> [R, O]; into `maxima` and `sums` [R, C] each chunk's largest and sum(exp(x - largest))."""
        rows = np.ascontiguousarray(rows, np.float32)
        made = np.empty((len(rows), self.outputs), np.float32)
        arrays = (rows, self._weight, self._bias, made, maxima, sums)
        addresses = [None if one is None else one.ctypes.data for one in arrays]
        self._library.nlpseq_output(
            ctypes.byref(_Output(*addresses, len(rows), self.inputs, self.outputs, self.chunks))
        )
        return made


class _Turned:
    """A packed matrix, transposed: what stands on the right of an `@`."""

    __array_ufunc__ = None  # so that an array leaves the product to __rmatmul__

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def __rmatmul__(self, rows: Values) -> Values:
        product = self._packed.multiply(rows.reshape(-1, rows.shape[-1]))
        return product.reshape(*rows.shape[:-1], -1)


class PackedMatrix(np.ndarray):
    """An array [O, I] for whose transpose there is a compiled product; what is cut from it is an ordinary array."""

    _turned: _Turned | None = None

    @classmethod
    def of(cls, weight: Values) -> Values:
        """The matrix, or `weight` itself where the compiled product cannot serve it."""
        try:
            turned = _Turned(Packed(weight))
        except Unavailable:
            return weight
        made = weight.view(cls)
        made._turned = turned
        return made

    @property
    def T(self) -> Any:
        """The transpose."""
        return np.asarray(self).T if self._turned is None else self._turned
