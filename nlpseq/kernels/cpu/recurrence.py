"""A layer over time on the CPU, by the fastest loop that has the cell.

The compiled loop is several times faster than the eager one, which runs if the package was built without a C compiler
or the compiled code cannot be loaded. The plain loop, in full precision, runs a cell that neither of them has. Without
compiled code it also runs the parallel cells: their whole step is pointwise, so the eager loop would gain nothing.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.kernels.cpu import compiled, eager
from nlpseq.kernels.cpu.pointwise import POINTWISE
from nlpseq.native.recurrence import CELLS


def unroll(
    cell: Cell, weights: LayerWeights, inputs: Tensor, state: State, lengths: Tensor | None = None, **settings: Any
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, faster; `operands` is the type of the products' operands, by default the state's.

    The plain loop ignores `operands`.
    """
    if why_plain(cell.name):
        settings.pop("operands", None)
        return plain_unroll(cell, weights, inputs, state, lengths, **settings)
    run = eager.unroll if compiled.unavailable() else compiled.unroll
    return run(cell, weights, inputs, state, lengths, **settings)


def why_plain(cell: str) -> str | None:
    """The reason why only the plain loop can run a cell here, or None."""
    if cell not in CELLS and cell not in POINTWISE:
        return f"no compiled kernel for {cell}"
    return None if cell in POINTWISE else compiled.unavailable()


def describe() -> str:
    """The loop that runs here, and the reason, in words."""
    reason = compiled.unavailable()
    return f"eager loop ({reason})" if reason else compiled.describe()
