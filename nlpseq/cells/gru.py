"""Gated recurrent units, in both forms: reset gate after or before the hidden state's product."""

from __future__ import annotations

from typing import NamedTuple

from nlpseq import arrays
from nlpseq.arrays import Array, sigmoid, tanh
from nlpseq.cells.cell import Cell


class GRUState(NamedTuple):
    """The state of a gated recurrent unit."""

    hidden: Array  # [B, H]


def step_reset_after(from_input: Array, from_hidden: Array, state: GRUState) -> GRUState:
    """Advance by one time step; both products are [B, 3H], in the blocks r z n.

        n = tanh(x_n + r * h_n)        h_t = (1 - z) * n + z * h_{t-1}

    with r and z sigmoids of the summed products, and x_n, h_n the last blocks of the two products. The reset gate r is
    applied after the product, as in the first version of Cho et al. (2014), in torch.nn.GRU and in cuDNN.
    """
    size = state.hidden.shape[-1]
    gates = sigmoid(from_input[:, : 2 * size] + from_hidden[:, : 2 * size])
    reset, update = gates[:, :size], gates[:, size:]
    candidate = tanh(from_input[:, 2 * size :] + reset * from_hidden[:, 2 * size :])
    return GRUState(candidate + update * (state.hidden - candidate))


def reset_hidden(from_input: Array, from_hidden: Array, state: GRUState) -> Array:
    """r * h_{t-1}, [B, H], which `step_reset_before` multiplies with the last block of the recurrent weights."""
    size = state.hidden.shape[-1]
    return arrays.sigmoid(from_input[:, :size] + from_hidden[:, :size]) * state.hidden


def step_reset_before(from_input: Array, from_hidden: Array, state: GRUState) -> GRUState:
    """Advance by one time step; as `step_reset_after`, but the last block of `from_hidden` is W_n (r * h_{t-1}) + b_n.

    Cho et al. (2014), as published. torch.nn does not have this cell.
    """
    size = state.hidden.shape[-1]
    update = sigmoid(from_input[:, size : 2 * size] + from_hidden[:, size : 2 * size])
    candidate = tanh(from_input[:, 2 * size :] + from_hidden[:, 2 * size :])
    return GRUState(candidate + update * (state.hidden - candidate))


GRU = Cell("gru", 3, GRUState, step_reset_after)
GRU_RESET_BEFORE = Cell("gru-reset-before", 3, GRUState, step_reset_before, reset_hidden)
