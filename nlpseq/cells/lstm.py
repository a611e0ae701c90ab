"""Long short-term memory."""

from __future__ import annotations

from typing import NamedTuple

from nlpseq.arrays import Array, sigmoid, tanh
from nlpseq.cells.cell import Cell


class LSTMState(NamedTuple):
    """The state of a long short-term memory."""

    hidden: Array  # [B, H], what the next layer sees
    memory: Array  # [B, H], what only the cell sees


def step(from_input: Array, from_hidden: Array, state: LSTMState) -> LSTMState:
    """Advance by one time step; both products are [B, 4H], in the blocks i f g o.

    The input gate i admits part of the candidate g, the forget gate f keeps part of the old memory, and the output
    gate o decides how much of the result is shown:

        c_t = f * c_{t-1} + i * g        h_t = o * tanh(c_t)

    with i, f, o sigmoids and g a tanh of the summed products. Hochreiter and Schmidhuber (1997); the forget gate is
    from Gers et al. (2000), and its bias of one at the start from Jozefowicz et al. (2015). Laid out as in
    torch.nn.LSTM.
    """
    size = state.hidden.shape[-1]
    gates = from_input + from_hidden
    opened = sigmoid(gates[:, : 2 * size])
    admitted, kept = opened[:, :size], opened[:, size:]
    candidate, shown = tanh(gates[:, 2 * size : 3 * size]), sigmoid(gates[:, 3 * size :])
    memory = kept * state.memory + admitted * candidate
    return LSTMState(shown * tanh(memory), memory)


LSTM = Cell("lstm", 4, LSTMState, step, initial_biases=(0.0, 1.0, 0.0, 0.0))
