"""The floor under a layer's time: its matrix products alone, into memory that is already allocated.

No layer that computes the same products step after step can be faster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.cells import Cell
from nlpseq.timing.clocks import Turn
from nlpseq.timing.layer_turns import DTYPES, TimedLayer


class Products(NamedTuple):
    """Blocks of H rows in a layer's weights of its input and of its hidden state; 0: the cell has no such product."""

    from_input: int
    from_hidden: int


def products_of(cell: Cell) -> Products:
    """The matrix products in one step of a cell."""
    return Products(cell.gates, 0 if cell.parallel else cell.gates)


def product_turn(layer: TimedLayer) -> Turn:
    """The layer's matrix products: one of the input for all steps, and one of the hidden state for each step.

    If lengths differ, only the rows within a sequence are multiplied.
    """
    size, all_steps, each_step = layer.shape.hidden_size, *_rows(layer)
    random = partial(torch.randn, dtype=DTYPES[layer.dtype], device=layer.plan.device)
    blocks = products_of(layer.cell)
    operands = {count: _Operands.draw(all_steps[0].stop, count * size, size, random) for count in set(blocks) if count}
    work = [(operands[count], slices) for count, slices in zip(blocks, (all_steps, each_step), strict=True) if count]
    backward = layer.direction == "both"

    def multiply() -> None:
        for matrices, slices in work:
            for rows in slices:
                torch.mm(matrices.values[rows], matrices.weight.t(), out=matrices.products[rows])
        for matrices, slices in reversed(work) if backward else ():
            for rows in reversed(slices):
                torch.mm(matrices.upstream[rows], matrices.weight, out=matrices.values_gradient[rows])
            torch.mm(matrices.upstream.t(), matrices.values, out=matrices.weight_gradient)

    return multiply


def _rows(layer: TimedLayer) -> tuple[list[slice], list[slice]]:
    """The rows of all steps, as one slice from 0; and those of each step that has any."""
    steps, batch, _ = layer.shape
    lengths = layer.lengths()
    counts = [batch] * steps if lengths is None else [int((lengths > step).sum()) for step in range(steps)]
    ends: list[int] = np.cumsum(counts).tolist()
    each_step = [slice(end - count, end) for end, count in zip(ends, counts, strict=True) if count]
    return [slice(0, ends[-1])], each_step


class _Operands(NamedTuple):
    """The matrices of a product and of its gradients: N rows, a weight of G*H rows."""

    weight: Tensor  # [G*H, H]
    values: Tensor  # [N, H]
    products: Tensor  # [N, G*H]
    upstream: Tensor  # [N, G*H]
    values_gradient: Tensor  # [N, H]
    weight_gradient: Tensor  # [G*H, H]

    @classmethod
    def draw(cls, rows: int, width: int, size: int, random: Callable[..., Tensor]) -> _Operands:
        """Random matrices: a product of zeros, or of whatever memory held, may take another time."""
        shapes = ((width, size), (rows, size), (rows, width), (rows, width), (rows, size), (width, size))
        return cls(*(random(*shape) for shape in shapes))
