"""The simple recurrent network, with a choice of activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells.cell import Cell


class RNNState(NamedTuple):
    """The state of a simple recurrent network."""

    hidden: Array  # [B, H]


def _step(activation: Callable[[Array], Array]) -> Callable[[Array, Array, RNNState], RNNState]:
    def step(from_input: Array, from_hidden: Array, state: RNNState) -> RNNState:
        """Advance by one time step: h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

        Both products are [B, H]. Elman (1990). Laid out as in torch.nn.RNN.
        """
        return RNNState(activation(from_input + from_hidden))

    return step


RNN_TANH = Cell("rnn", 1, RNNState, _step(arrays.tanh))
RNN_RELU = Cell("rnn-relu", 1, RNNState, _step(arrays.relu))
RNN_SIGMOID = Cell("rnn-sigmoid", 1, RNNState, _step(arrays.sigmoid))
