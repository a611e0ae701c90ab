"""A cell with peepholes: weights between a unit's own state and its gates, which the cell's step is given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from nlpseq.arrays import Array, sigmoid, tanh
from nlpseq.cells import Cell, LayerWeights, unroll
from nlpseq.cells.initial import layer_values
from nlpseq.cells.lstm import LSTMState

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 7


def _step(from_input: Array, from_hidden: Array, state: LSTMState, peepholes: Array) -> LSTMState:
    """A long short-term memory whose forget gate sees the memory."""
    size = state.hidden.shape[-1]
    gates = from_input + from_hidden
    kept = sigmoid(gates[:, size : 2 * size] + peepholes[0] * state.memory)
    memory = kept * state.memory + sigmoid(gates[:, :size]) * tanh(gates[:, 2 * size : 3 * size])
    return LSTMState(sigmoid(gates[:, 3 * size :]) * tanh(memory), memory)


PEEPHOLE = Cell("peephole", 4, LSTMState, _step, peepholes=1)


def _drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape)


def _weights() -> LayerWeights:
    width = 4 * HIDDEN
    matrices = _drawn(width, INPUTS), _drawn(width, HIDDEN), _drawn(width), _drawn(width + 1)[1:]
    return LayerWeights(*matrices, peepholes=_drawn(1, HIDDEN))


def test_peepholes_of_zero_leave_torchs_lstm(assert_close: Callable[..., None]) -> None:
    weights = _weights()._replace(peepholes=np.zeros((1, HIDDEN)))
    layer = torch.nn.LSTM(INPUTS, HIDDEN).double()
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{name}_l0").copy_(torch.from_numpy(getattr(weights, name)))
        inputs = _drawn(STEPS, BATCH, INPUTS)
        expected, _ = layer(torch.from_numpy(inputs))
    zeros = LSTMState(np.zeros((BATCH, HIDDEN)), np.zeros((BATCH, HIDDEN)))
    assert_close(unroll(PEEPHOLE, weights, inputs, zeros)[0], expected)


def test_a_unit_sees_its_own_memory_alone(assert_close: Callable[..., None]) -> None:
    weights, inputs = _weights(), _drawn(STEPS, BATCH, INPUTS)
    state = LSTMState(_drawn(BATCH, HIDDEN), _drawn(BATCH, HIDDEN + 1)[:, 1:])
    hidden, memory = state
    for vector in inputs:
        product = vector @ weights.weight_ih.T + hidden @ weights.weight_hh.T + weights.bias_ih + weights.bias_hh
        admit, forget, candidate, show = np.split(product, 4, -1)
        forget = forget + weights.peepholes * memory
        memory = memory / (1 + np.exp(-forget)) + np.tanh(candidate) / (1 + np.exp(-admit))
        hidden = np.tanh(memory) / (1 + np.exp(-show))
    _, last = unroll(PEEPHOLE, weights, inputs, state)
    assert_close(last.hidden, hidden)
    assert_close(last.memory, memory)


def test_peepholes_have_a_gradient() -> None:
    weights = LayerWeights(*(None if value is None else torch.from_numpy(value) for value in _weights()))
    inputs = torch.from_numpy(_drawn(STEPS, BATCH, INPUTS))
    state = LSTMState(torch.ones(BATCH, HIDDEN).double(), torch.ones(BATCH, HIDDEN).double())

    def run(peepholes: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = unroll(PEEPHOLE, weights._replace(peepholes=peepholes), inputs, state)[0]
        return outputs

    assert torch.autograd.gradcheck(run, weights.peepholes.clone().requires_grad_())


def test_peepholes_are_drawn_as_zeros() -> None:
    drawn = layer_values(PEEPHOLE, INPUTS, HIDDEN, np.random.default_rng(0))
    assert drawn["peepholes"].shape == (1, HIDDEN)
    assert not drawn["peepholes"].any()
