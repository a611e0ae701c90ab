"""The minimal long short-term memory, a parallel cell: its gates see the input only."""

from __future__ import annotations

from typing import NamedTuple

from nlpseq.arrays import Array, sigmoid, softplus
from nlpseq.cells.cell import Cell


class MinLSTMState(NamedTuple):
    """The state of a minimal long short-term memory."""

    hidden: Array  # [B, H]


def step(from_input: Array, from_hidden: None, state: MinLSTMState) -> MinLSTMState:
    """Advance by one time step; the input's product is [B, 3H], in the blocks f i n, and is the only product.

        h_t = f' * h_{t-1} + i' * n        f' = f / (f + i)        i' = i / (f + i)

    with f and i sigmoids of their blocks and n its block as it is. Feng et al. (2024), minLSTM with gates that sum to
    one. f' is computed as the sigmoid of log f - log i, so that two closed gates do not divide zero by zero.
    """
    size = state.hidden.shape[-1]
    forget, admit = from_input[:, :size], from_input[:, size : 2 * size]
    kept = sigmoid(softplus(-admit) - softplus(-forget))
    candidate = from_input[:, 2 * size :]
    return MinLSTMState(candidate + kept * (state.hidden - candidate))


MINLSTM = Cell("minlstm", 3, MinLSTMState, step, parallel=True, initial_biases=(2.0, 0.0, 0.0))
