"""The cells' equations: against torch.nn, against formulas written by hand, and NumPy against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights, unroll
from nlpseq.cells.initial import layer_values

Close = Callable[..., None]

TORCH_LAYERS: dict[str, Callable[..., torch.nn.RNNBase]] = {
    "rnn": lambda *sizes, **options: torch.nn.RNN(*sizes, nonlinearity="tanh", **options),
    "rnn-relu": lambda *sizes, **options: torch.nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}
SHAPES = [(5, 3, 4, 7), (1, 3, 4, 7), (5, 1, 4, 7), (3, 2, 1, 1)]  # T, B, I, H


def _random_weights(name: str, inputs: int, hidden: int, seed: int = 0, *, gains: bool = False) -> LayerWeights:
    """Weights in float64 of which no two values are alike, biases and gains included."""
    generator = np.random.default_rng(seed)
    width = CELLS[name].gates * hidden
    shapes = [(width, inputs), (width, hidden), (width,), (width,), (width,), (width,)]
    made = LayerWeights(*(generator.normal(0, 0.5, shape) for shape in (shapes if gains else shapes[:4])))
    if count := CELLS[name].peepholes:
        made = made._replace(peepholes=generator.normal(0, 0.5, (count, hidden)))
    return made._replace(weight_hh=None, bias_hh=None, gain_hh=None) if CELLS[name].parallel else made


def _to_torch(values: tuple[Any, ...]) -> Any:
    made = [None if value is None else torch.from_numpy(value) for value in values]
    return type(values)(*made)


def _state(name: str, batch: int, hidden: int, seed: int = 9) -> Any:
    generator = np.random.default_rng(seed)
    kind = CELLS[name].state
    return kind(*(generator.normal(0, 0.5, (batch, hidden)) for _ in kind._fields))  # type: ignore[attr-defined]


def _torch_layer(name: str, weights: LayerWeights, **options: Any) -> torch.nn.RNNBase:
    assert weights.weight_ih is not None
    layer = TORCH_LAYERS[name](weights.weight_ih.shape[1], weights.weight_hh.shape[1], **options).double()
    with torch.no_grad():
        for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{field}_l0").copy_(torch.from_numpy(getattr(weights, field)))
    return layer


def _run_torch(name: str, layer: torch.nn.RNNBase, inputs: np.ndarray, state: Any) -> tuple[Any, tuple[Any, ...]]:
    first = [torch.from_numpy(value)[None] for value in state]
    with torch.no_grad():
        outputs, last = layer(torch.from_numpy(inputs), tuple(first) if name == "lstm" else first[0])
    return outputs, tuple(value[0] for value in (last if name == "lstm" else (last,)))


@pytest.mark.parametrize("name", TORCH_LAYERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_plain_loop_is_torchs_layer(name: str, shape: tuple[int, ...], assert_close: Close) -> None:
    steps, batch, size, hidden = shape
    weights, state = _random_weights(name, size, hidden), _state(name, batch, hidden)
    inputs = np.random.default_rng(1).normal(size=(steps, batch, size))
    outputs, last = unroll(CELLS[name], weights, inputs, state)
    expected, expected_last = _run_torch(name, _torch_layer(name, weights), inputs, state)
    assert_close(outputs, expected, what="outputs")
    for field, value, wanted in zip(state._fields, last, expected_last, strict=True):
        assert_close(value, wanted, what=field)


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_a_step_is_torchs_cell(name: str, assert_close: Close) -> None:
    weights, state = _random_weights(name, 4, 7), _state(name, 3, 7)
    inputs = np.random.default_rng(2).normal(size=(3, 4))
    kinds = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}
    kind = kinds.get(name) or (
        lambda i, h: torch.nn.RNNCell(i, h, nonlinearity=name.split("-")[-1].replace("rnn", "tanh"))
    )
    cell = kind(4, 7).double()
    with torch.no_grad():
        for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, field).copy_(torch.from_numpy(getattr(weights, field)))
        given = tuple(torch.from_numpy(value) for value in state)
        expected = cell(torch.from_numpy(inputs), given if name == "lstm" else given[0])
    from_input = inputs @ weights.weight_ih.T + weights.bias_ih
    from_hidden = state.hidden @ weights.weight_hh.T + weights.bias_hh
    after = CELLS[name].step(from_input, from_hidden, state)
    for value, wanted in zip(after, expected if name == "lstm" else (expected,), strict=True):
        assert_close(value, wanted)


def test_the_sigmoid_cell_is_its_formula(assert_close: Close) -> None:
    weights, state = _random_weights("rnn-sigmoid", 4, 7), _state("rnn-sigmoid", 3, 7)
    inputs = np.random.default_rng(3).normal(size=(5, 3, 4))
    hidden, expected = state.hidden, []
    for row in inputs:
        total = row @ weights.weight_ih.T + weights.bias_ih + hidden @ weights.weight_hh.T + weights.bias_hh
        hidden = 1 / (1 + np.exp(-total))
        expected.append(hidden)
    assert_close(unroll(CELLS["rnn-sigmoid"], weights, inputs, state)[0], np.stack(expected))


def test_the_published_gru_resets_before_the_product(assert_close: Close) -> None:
    """Cho et al. (2014), with biases: h~ = tanh(W x + b + U (r * h) + c); h' = z h + (1 - z) h~."""
    weights, state = _random_weights("gru-reset-before", 4, 7), _state("gru-reset-before", 3, 7)
    inputs = np.random.default_rng(4).normal(size=(5, 3, 4))
    w_r, w_z, w_n = np.split(weights.weight_ih, 3)
    u_r, u_z, u_n = np.split(weights.weight_hh, 3)
    b_r, b_z, b_n = np.split(weights.bias_ih, 3)
    c_r, c_z, c_n = np.split(weights.bias_hh, 3)
    hidden, expected = state.hidden, []
    for row in inputs:
        reset = 1 / (1 + np.exp(-(row @ w_r.T + b_r + hidden @ u_r.T + c_r)))
        update = 1 / (1 + np.exp(-(row @ w_z.T + b_z + hidden @ u_z.T + c_z)))
        candidate = np.tanh(row @ w_n.T + b_n + (reset * hidden) @ u_n.T + c_n)
        hidden = update * hidden + (1 - update) * candidate
        expected.append(hidden)
    outputs, last = unroll(CELLS["gru-reset-before"], weights, inputs, state)
    assert_close(outputs, np.stack(expected))
    assert_close(last.hidden, hidden)


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_a_parallel_cell_is_a_weighted_sum_over_time(name: str, assert_close: Close) -> None:
    """Feng et al. (2024): what each step admits, times the shares that all later steps keep."""
    weights, state = _random_weights(name, 4, 7), _state(name, 3, 7)
    inputs = np.random.default_rng(4).normal(size=(6, 3, 4))
    blocks = np.split(inputs @ weights.weight_ih.T + weights.bias_ih, CELLS[name].gates, axis=-1)
    gates = [1 / (1 + np.exp(-block)) for block in blocks[:-1]]
    kept = 1 - gates[0] if name == "mingru" else gates[0] / (gates[0] + gates[1])
    outputs, last = unroll(CELLS[name], weights, inputs, state)
    for time in range(6):
        expected = state.hidden * kept[: time + 1].prod(0)
        for earlier in range(time + 1):
            expected = expected + (1 - kept[earlier]) * blocks[-1][earlier] * kept[earlier + 1 : time + 1].prod(0)
        assert_close(outputs[time], expected)
    assert_close(last.hidden, outputs[-1])


def test_two_closed_gates_divide_nothing_by_nothing() -> None:
    cell = CELLS["minlstm"]
    for dtype in (np.float32, np.float64):
        product = np.array([[-800.0, -800.0, 2.0]], dtype)
        assert abs(cell.step(product, None, cell.state(np.ones((1, 1), dtype))).hidden - 1.5) < 1e-6


def test_layer_normalisation_is_torchs_around_both_products(assert_close: Close) -> None:
    weights, state = _random_weights("lstm", 4, 7, gains=True), _state("lstm", 3, 7)
    inputs = torch.from_numpy(np.random.default_rng(5).normal(size=(1, 3, 4)))
    tensors = _to_torch(weights)
    norm = torch.nn.functional.layer_norm
    gates = norm(inputs[0] @ tensors.weight_ih.T, [28], tensors.gain_ih) + tensors.bias_ih
    gates = gates + norm(torch.from_numpy(state.hidden) @ tensors.weight_hh.T, [28], tensors.gain_hh) + tensors.bias_hh
    i, f, g, o = gates.chunk(4, 1)
    memory = f.sigmoid() * torch.from_numpy(state.memory) + i.sigmoid() * g.tanh()
    _, last = unroll(CELLS["lstm"], weights, inputs.numpy(), state)
    assert_close(last.memory, memory)
    assert_close(last.hidden, o.sigmoid() * memory.tanh())


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_numpy_and_torch_give_the_same(name: str, dtype: str, reverse: bool, assert_close: Close) -> None:
    def cast(values: Any) -> Any:
        return type(values)(*(None if value is None else value.astype(dtype) for value in values))

    weights, state = cast(_random_weights(name, 4, 7, gains=True)), cast(_state(name, 3, 7))
    generator = np.random.default_rng(6)
    inputs = generator.normal(size=(5, 3, 4)).astype(dtype)
    masks = (generator.random((5, 3, 7)) < 0.3).astype(dtype)
    lengths = np.array([2, 5, 3])
    settings = {"reverse": reverse, "zoneout": 0.3}
    found = unroll(CELLS[name], weights, inputs, state, lengths, masks=masks, **settings)
    tensors = (_to_torch(weights), torch.from_numpy(inputs), _to_torch(state), torch.from_numpy(lengths))
    expected = unroll(CELLS[name], *tensors, masks=torch.from_numpy(masks), **settings)
    assert found[0].dtype == dtype
    assert_close(found[0], expected[0], dtype)
    for value, wanted in zip(found[1], expected[1], strict=True):
        assert_close(value, wanted, dtype)


@pytest.mark.parametrize("name", CELLS)
def test_an_input_product_made_beforehand_changes_nothing(name: str, assert_close: Close) -> None:
    weights, state = _random_weights(name, 4, 7), _state(name, 3, 7)
    inputs = np.random.default_rng(7).normal(size=(5, 3, 4))
    product = inputs @ weights.weight_ih.T + weights.bias_ih
    found = unroll(CELLS[name], weights._replace(weight_ih=None, bias_ih=None), product, state)
    assert_close(found[0], unroll(CELLS[name], weights, inputs, state)[0])


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_backwards_is_the_reverse_half_of_torchs_bidirectional_layer(name: str, assert_close: Close) -> None:
    ahead, behind = _random_weights(name, 4, 7, 0), _random_weights(name, 4, 7, 1)
    layer = _torch_layer(name, ahead, bidirectional=True)
    with torch.no_grad():
        for field in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{field}_l0_reverse").copy_(torch.from_numpy(getattr(behind, field)))
        inputs = np.random.default_rng(8).normal(size=(5, 3, 4))
        states = [_state(name, 3, 7, seed) for seed in (1, 2)]
        first = tuple(torch.from_numpy(np.stack(pair)) for pair in zip(*states, strict=True))
        expected, _ = layer(torch.from_numpy(inputs), first if name == "lstm" else first[0])
    assert_close(unroll(CELLS[name], behind, inputs, states[1], reverse=True)[0], expected[..., 7:])
    assert_close(unroll(CELLS[name], ahead, inputs, states[0])[0], expected[..., :7])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_a_padded_sequence_runs_as_if_it_were_alone(name: str, reverse: bool, assert_close: Close) -> None:
    weights, state = _random_weights(name, 4, 7), _state(name, 4, 7)
    inputs = np.random.default_rng(9).normal(size=(5, 4, 4))
    lengths = np.array([2, 5, 1, 4])
    outputs, last = unroll(CELLS[name], weights, inputs, state, lengths, reverse=reverse)
    for row, length in enumerate(lengths):
        alone = type(state)(*(value[row : row + 1] for value in state))
        cut = inputs[:length, row : row + 1]
        expected, expected_last = unroll(CELLS[name], weights, cut, alone, reverse=reverse)
        assert_close(outputs[:length, row : row + 1], expected)
        assert not outputs[length:, row].any(), "padding must give zero"
        for value, wanted in zip(last, expected_last, strict=True):
            assert_close(value[row : row + 1], wanted)


@pytest.mark.parametrize("name", CELLS)
def test_a_padded_input_is_never_read(name: str) -> None:
    weights, state = _random_weights(name, 4, 7), _state(name, 2, 7)
    inputs = np.random.default_rng(10).normal(size=(5, 2, 4))
    other = inputs.copy()
    other[2:, 0] = 1e3
    lengths = np.array([2, 5])
    for reverse in (False, True):
        one, other_result = (
            unroll(CELLS[name], weights, each, state, lengths, reverse=reverse) for each in (inputs, other)
        )
        assert np.array_equal(one[0], other_result[0])
        assert all(np.array_equal(a, b) for a, b in zip(one[1], other_result[1], strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_zoneout_masks_keep_the_old_units_and_only_those(name: str) -> None:
    weights, state = _random_weights(name, 4, 7), _state(name, 3, 7)
    inputs = np.random.default_rng(11).normal(size=(1, 3, 4))
    masks = (np.random.default_rng(12).random((1, 3, 7)) < 0.4).astype(float)
    _, plain = unroll(CELLS[name], weights, inputs, state)
    _, zoned = unroll(CELLS[name], weights, inputs, state, zoneout=0.4, masks=masks)
    for before, without, found in zip(state, plain, zoned, strict=True):
        assert np.allclose(found, np.where(masks[0] == 1, before, without), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_zoneout_without_masks_is_the_mean_over_masks(name: str, assert_close: Close) -> None:
    weights, state = _random_weights(name, 4, 7), _state(name, 3, 7)
    inputs = np.random.default_rng(13).normal(size=(1, 3, 4))
    _, expectation = unroll(CELLS[name], weights, inputs, state, zoneout=0.25)
    _, plain = unroll(CELLS[name], weights, inputs, state)
    for before, without, found in zip(state, plain, expectation, strict=True):
        assert_close(found, 0.25 * before + 0.75 * without)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_the_plain_loop_are_right(name: str) -> None:
    weights = _to_torch(_random_weights(name, 2, 3, gains=True))
    state = _to_torch(_state(name, 2, 3))
    inputs = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = {**weights._asdict(), "inputs": inputs, **state._asdict()}
    given = {key: value.requires_grad_() for key, value in given.items() if value is not None}

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(given, values, strict=True))
        drawn = LayerWeights(*(named.get(field) for field in LayerWeights._fields))
        outputs, last = unroll(CELLS[name], drawn, named["inputs"], type(state)(*(named[key] for key in state._fields)))
        return (outputs, *last)

    assert torch.autograd.gradcheck(run, list(given.values()), fast_mode=True)


def test_weights_drawn_for_a_layer_have_torchs_shapes() -> None:
    for name, make in TORCH_LAYERS.items():
        layer = make(4, 7)
        drawn = layer_values(CELLS[name], 4, 7, np.random.default_rng(0))
        for field, value in drawn.items():
            assert value.shape == tuple(getattr(layer, f"{field}_l0").shape)
            assert value.dtype == np.float32
