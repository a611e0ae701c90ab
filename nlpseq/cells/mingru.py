"""The minimal gated recurrent unit, a parallel cell: its gate sees the input only."""

from __future__ import annotations

from typing import NamedTuple

from nlpseq.arrays import Array, sigmoid
from nlpseq.cells.cell import Cell


class MinGRUState(NamedTuple):
    """The state of a minimal gated recurrent unit."""

    hidden: Array  # [B, H]


def step(from_input: Array, from_hidden: None, state: MinGRUState) -> MinGRUState:
    """Advance by one time step; the input's product is [B, 2H], in the blocks z n, and is the only product.

        h_t = (1 - z) * h_{t-1} + z * n

    with z a sigmoid of its block and n its block as it is. Feng et al. (2024), minGRU in its first, linear form.
    """
    size = state.hidden.shape[-1]
    update, candidate = sigmoid(from_input[:, :size]), from_input[:, size:]
    return MinGRUState(state.hidden + update * (candidate - state.hidden))


MINGRU = Cell("mingru", 2, MinGRUState, step, parallel=True)
