"""A layer over time on NumPy arrays: each step runs for all sequences at once, on all threads.

It is for a search, whose texts grow by a token at a time, and for few sequences on all cores. Its products are those of
packed matrices, and the cell's own arithmetic is compiled. `layer` is for whole texts, with a thread for each group of
texts.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.cells import Cell, LayerWeights
from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import State
from nlpseq.native import extension, recurrence
from nlpseq.native.matrix import Values, address
from nlpseq.native.shapes import check_array, check_layer


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Values,  # [T, B, I], or [T, B, G*H] if weights has no weight_ih
    state: State,
    lengths: NDArray[np.int64] | None = None,  # [B]
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: None = None,
) -> tuple[Values, State]:
    """As `nlpseq.cells.unroll`, faster if the compiled step can run it; zoneout is its expectation only."""
    if not _can_run(cell, weights, inputs):
        return plain_unroll(cell, weights, inputs, state, lengths, reverse=reverse, zoneout=zoneout, masks=masks)
    steps, shape = len(inputs), state.hidden.shape
    check_layer(cell, weights, inputs.shape[2], shape[1])
    if any(value.shape != shape for value in state) or inputs.shape[1] != shape[0]:
        raise ValueError(f"a state of {[value.shape for value in state]} does not fit inputs of {inputs.shape}")
    from_input = np.ascontiguousarray(inputs if weights.weight_ih is None else inputs @ weights.weight_ih.T)
    check_array("the input's product", from_input, (steps, shape[0], cell.gates * shape[1]))
    run_step = _Step(cell, weights, shape, zoneout)
    hidden = np.empty((steps + 1, *shape), np.float32)  # in the order in which steps run
    hidden[0] = state.hidden
    memory = [np.array(value, np.float32) for value in state[1:]]
    times = np.arange(steps)[::-1] if reverse else np.arange(steps)
    for step, time in enumerate(times):
        product = None if cell.parallel else hidden[step] @ weights.weight_hh.T
        before = [value.copy() for value in memory] if lengths is not None else []
        run_step(from_input[time], product, hidden[step : step + 2], memory)
        if lengths is not None:
            ended = lengths <= time
            for fresh, old in zip((hidden[step + 1], *memory), (hidden[step], *before), strict=True):
                fresh[ended] = old[ended]
    last = cell.state(hidden[-1].copy(), *memory)
    outputs = hidden[1:][::-1] if reverse else hidden[1:]
    if lengths is not None:
        outputs[np.arange(steps)[:, None] >= lengths] = 0
    return outputs, last


def _can_run(cell: Cell, weights: LayerWeights, inputs: Values) -> bool:
    plain = cell.reset is None and weights.gain_ih is None and weights.gain_hh is None
    return plain and cell.name in recurrence.CELLS and inputs.dtype == np.float32 and extension.is_available()


class _Step:
    """The compiled arithmetic of a cell: from its products to its next state, for a batch."""

    def __init__(self, cell: Cell, weights: LayerWeights, shape: tuple[int, ...], zoneout: float) -> None:
        self.kind = extension.kind()
        self.finish = extension.load_library().nlpseq_finish_step
        biases = {"bias": weights.bias_hh, "input_bias": None if weights.weight_ih is None else weights.bias_ih}
        self.biases = {name: None if array is None else np.ascontiguousarray(array) for name, array in biases.items()}
        self.fixed: dict[str, Any] = {
            **{name: None if array is None else address(array) for name, array in self.biases.items()},
            "cell": recurrence.CELLS.index(cell.name),
            "gates": cell.gates,
            "steps": 1,
            "batch": shape[0],
            "size": shape[1],
            "zoneout": zoneout,
        }

    def __call__(self, from_input: Values, product: Values | None, hidden: Values, memory: list[Values]) -> None:
        """Compute hidden[1] from hidden[0], of [2, B, H], and change `memory` in place; products are [B, G*H]."""
        layer = recurrence.Layer(
            **self.fixed,
            hidden=address(hidden),
            memory=address(memory[0]) if memory else None,
            from_input=address(from_input),
        )
        if product is not None:
            check_array("the hidden state's product", product, from_input.shape)
        product_address = None if product is None else address(product)
        self.finish(self.kind, ctypes.byref(layer), product_address)
