"""A layer over time on the CPU, as fast as this machine can: which of the loops runs it.

The compiled loop is several times faster than the eager one; that is what runs where the package was built without a C
compiler, or its compiled part is broken. The eager loop has no parallel cells: all of them is pointwise, and there the
plain loop is as good.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.kernels.cpu import compiled as native_recurrence
from nlpseq.kernels.cpu import eager as eager_recurrence


def unroll(
    cell: Cell, weights: LayerWeights, inputs: Tensor, state: State, lengths: Tensor | None = None, **settings: Any
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, faster; `operands` is the type of the products' operands, by default the state's."""
    if not native_recurrence.unavailable():
        return native_recurrence.unroll(cell, weights, inputs, state, lengths, **settings)
    if cell.parallel:
        settings.pop("operands", None)
        return plain_unroll(cell, weights, inputs, state, lengths, **settings)
    return eager_recurrence.unroll(cell, weights, inputs, state, lengths, **settings)


def describe() -> str:
    """In a few words which loop runs, and why."""
    reason = native_recurrence.unavailable()
    return f"eager loop ({reason})" if reason else native_recurrence.describe()
