"""Matrices that are multiplied with many rows, packed once for the compiled product.

A search multiplies a few hundred rows with the same few matrices in every step. NumPy's own product leaves its threads
spinning, which slows down the next computation, and packs the matrix again each time. Here each matrix has a second
copy, in the order in which it is read, and the helper threads of the compiled step divide the rows. The product of a
row is the same to the bit whichever rows are beside it.

It is used wherever it can be: `nlpseq bench products` shows that neither NumPy's product nor torch's is faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.native import extension, product
from nlpseq.native.extension import Unavailable
from nlpseq.native.product import CHUNK
from nlpseq.native.shapes import check_array

Values = NDArray[Any]  # floats


class Packed:
    """A float32 matrix [O, I], packed for the instructions in use at the time, and a bias [O]."""

    def __init__(self, weight: Values, bias: Values | None = None, padding_bias: float = 0.0) -> None:
        """`padding_bias` is the bias of the outputs that pad the last chunk. Raises Unavailable."""
        self._kind = extension.kind()
        if weight.dtype != np.float32:
            raise Unavailable(f"it multiplies float32, not {weight.dtype}")
        weight = np.ascontiguousarray(weight)
        self.outputs, self.inputs = weight.shape
        if bias is not None and bias.shape != (self.outputs,):
            raise ValueError(f"a bias of {bias.shape} does not fit a matrix of {weight.shape}")
        self.chunks = -(-self.outputs // CHUNK)
        self._packed = np.empty(product.packed_size(self._kind, self.inputs, self.outputs), np.float32)
        sizes = {"columns": self.outputs, "depth": self.inputs}
        product.pack(self._kind, {**sizes, "matrix": address(weight)}, address(self._packed))
        self._bias = None
        if bias is not None:
            self._bias = np.full(self.chunks * CHUNK, padding_bias, np.float32)
            self._bias[: self.outputs] = bias
        self._fixed = {
            **sizes,
            "packed": address(self._packed),
            "bias": None if self._bias is None else address(self._bias),
        }

    def multiply(self, rows: Values) -> Values:
        """Rows [R, I] -> [R, O]."""
        outputs = np.empty((len(rows), self.outputs), np.float32)
        self._run(rows, {"out": address(outputs)})
        return outputs

    def multiply_with_sums(self, rows: Values) -> tuple[Values, Values, Values]:
        """Rows [R, I] -> outputs [R, O], the maxima of their chunks [R, C], and each row's log(sum(exp(x))) [R]."""
        outputs = np.empty((len(rows), self.outputs), np.float32)
        maxima, sums = np.empty((2, len(rows), self.chunks), np.float32)
        log_sums = np.empty(len(rows))
        results = {"maxima": maxima, "sums": sums, "log_sums": log_sums, "out": outputs}
        self._run(rows, {name: address(array) for name, array in results.items()})
        return outputs, maxima, log_sums

    def losses(self, rows: Values, targets: NDArray[np.int64]) -> Values:
        """log(sum(exp(x))) of each row's outputs minus its target's output [R]; no outputs are kept."""
        losses = np.empty(len(rows))
        targets = np.ascontiguousarray(targets, np.int64)
        check_array("targets", targets, (len(rows),), np.int64)
        if len(targets) and not 0 <= targets.min() <= targets.max() < self.outputs:
            raise IndexError(f"a target is not one of {self.outputs} outputs")
        self._run(rows, {"targets": address(targets), "losses": address(losses)})
        return losses

    def _run(self, rows: Values, results: dict[str, int]) -> None:
        rows = np.ascontiguousarray(rows, np.float32)
        check_array("rows", rows, (len(rows), self.inputs))
        left = {"rows": len(rows), "left": address(rows)}
        product.run(self._kind, {**self._fixed, **left, **results})


def address(array: Values) -> int:
    """The address of an array's first number."""
    return int(array.__array_interface__["data"][0])


class _Transposed:
    """A packed matrix, transposed: the right side of an `@`."""

    __array_ufunc__ = None  # so that an array leaves the product to __rmatmul__

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def __rmatmul__(self, rows: Values) -> Values:
        product = self._packed.multiply(rows.reshape(-1, rows.shape[-1]))
        return product.reshape(*rows.shape[:-1], -1)


class PackedMatrix(np.ndarray):
    """An array [O, I] whose transpose is multiplied by the compiled product; so is that of a slice of its rows."""

    _transposed: _Transposed | None = None
    _slices: dict[tuple[int, int, int], Values]  # those that were asked for

    @classmethod
    def of(cls, weight: Values) -> Values:
        """The matrix, or `weight` itself if the compiled product cannot run."""
        try:
            transposed = _Transposed(Packed(weight))
        except Unavailable:
            return weight
        matrix = weight.view(cls)
        matrix._transposed, matrix._slices = transposed, {}
        return matrix

    def __getitem__(self, index: Any) -> Any:
        """A slice of rows is packed too; anything else is an ordinary array."""
        if not isinstance(index, slice) or self._transposed is None:
            return np.asarray(self)[index]
        rows = index.indices(len(self))
        if rows not in self._slices:
            self._slices[rows] = PackedMatrix.of(np.asarray(self)[index])
        return self._slices[rows]

    @property
    def T(self) -> Any:
        """The transpose."""
        return np.asarray(self).T if self._transposed is None else self._transposed
