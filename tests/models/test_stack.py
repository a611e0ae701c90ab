"""Layers on layers, in one direction and in both, against torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nlpseq.cells import CELLS, run_directions, unroll
from nlpseq.kernels.cpu.recurrence import unroll as fast
from nlpseq.models.stack import read_layers, run_stack, start_state

Close = Callable[..., None]

KINDS: dict[str, type[torch.nn.RNNBase]] = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
STEPS, BATCH, SIZE, HIDDEN = 6, 3, 4, 5


def _layer(name: str, **options: Any) -> torch.nn.RNNBase:
    torch.manual_seed(1)
    return KINDS[name](SIZE, HIDDEN, num_layers=2, **options).double()


def _weights(layer: torch.nn.RNNBase) -> dict[str, np.ndarray]:
    """torch's parameters under our names: weight_ih_l1_reverse -> layers.1.weight_ih_reverse."""
    named = {}
    for name, value in layer.named_parameters():
        field, _, rest = name.rpartition("_l")
        depth, _, reverse = rest.partition("_")
        named[f"layers.{depth}.{field}{'_reverse' if reverse else ''}"] = value.detach().numpy()
    return named


@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both directions"])
@pytest.mark.parametrize("name", KINDS)
def test_two_layers_are_torchs(name: str, both: bool, assert_close: Close) -> None:
    layer = _layer(name, bidirectional=both)
    layers = read_layers(_weights(layer), 2)
    assert [len(directions) for directions in layers] == [1 + both] * 2
    inputs = np.random.default_rng(0).normal(size=(STEPS, BATCH, SIZE))
    with torch.no_grad():
        expected, last = layer(torch.from_numpy(inputs))
    outputs, state = run_stack(CELLS[name], layers, inputs, start_state(CELLS[name], layers, BATCH))
    assert_close(outputs, expected)
    hidden = [one.hidden for directions in state for one in directions]
    assert_close(np.stack(hidden), last[0] if name == "lstm" else last)


@pytest.mark.parametrize("name", KINDS)
def test_unequal_lengths_are_torchs_packed_sequences(name: str, assert_close: Close) -> None:
    layer = _layer(name, bidirectional=True)
    inputs = np.random.default_rng(2).normal(size=(STEPS, BATCH, SIZE))
    lengths = np.array([3, 6, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(inputs), torch.from_numpy(lengths), enforce_sorted=False
    )
    with torch.no_grad():
        result, last = layer(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(result)
    layers = read_layers(_weights(layer), 2)
    outputs, state = run_stack(CELLS[name], layers, inputs, start_state(CELLS[name], layers, BATCH), lengths)
    assert_close(outputs, expected)
    hidden = [one.hidden for directions in state for one in directions]
    assert_close(np.stack(hidden), last[0] if name == "lstm" else last)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_through_the_stack_are_torchs(name: str, assert_close: Close) -> None:
    layer = _layer(name, bidirectional=True)
    inputs = torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weights = {key: torch.from_numpy(value.copy()).requires_grad_() for key, value in _weights(layer).items()}
    layers = read_layers(weights, 2)
    outputs, _ = run_stack(CELLS[name], layers, inputs, start_state(CELLS[name], layers, BATCH), run_layer=fast)
    found = torch.autograd.grad(outputs.square().sum(), list(weights.values()))
    expected = torch.autograd.grad(layer(inputs)[0].square().sum(), list(layer.parameters()))
    for key, grad, wanted in zip(weights, found, expected, strict=True):
        assert_close(grad, wanted, what=key)


def test_the_state_carries_a_stack_from_call_to_call(assert_close: Close) -> None:
    layers = read_layers(_weights(_layer("lstm")), 2)
    inputs = np.random.default_rng(4).normal(size=(STEPS, BATCH, SIZE))
    begun = start_state(CELLS["lstm"], layers, BATCH)
    whole, end = run_stack(CELLS["lstm"], layers, inputs, begun)
    first, between = run_stack(CELLS["lstm"], layers, inputs[:2], begun)
    second, last = run_stack(CELLS["lstm"], layers, inputs[2:], between)
    assert_close(np.concatenate([first, second]), whole)
    assert_close(last[1][0].memory, end[1][0].memory)


class _Doubling:
    """Noise that can be recognised: everything between layers is doubled, recurrent weights are halved."""

    drops_inputs = False

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def inputs(self, embedded: Any, ids: Any) -> Any:
        raise AssertionError("inputs are not dropped")

    def ngrams(self, table: Any, shape: Any) -> Any:
        raise AssertionError("a stack has no n-grams")

    def between(self, outputs: Any) -> Any:
        self.shapes.append(outputs.shape)
        return outputs * 2

    def recurrent(self, weight: Any) -> Any:
        return weight / 2

    def zoneout_masks(self, shape: tuple[int, int, int]) -> Any:
        return np.ones(shape)


def test_noise_falls_between_layers_and_on_recurrent_weights(assert_close: Close) -> None:
    named = _weights(_layer("gru"))
    inputs = np.random.default_rng(5).normal(size=(STEPS, BATCH, SIZE))
    layers, noise = read_layers(named, 2), _Doubling()
    begun = start_state(CELLS["gru"], layers, BATCH)
    found, _ = run_stack(CELLS["gru"], layers, inputs, begun, noise=noise)
    assert noise.shapes == [(STEPS, BATCH, HIDDEN)], "once, between two layers"
    changed = {key: value / 2 if "weight_hh" in key else value for key, value in named.items()}
    changed["layers.1.weight_ih"] = changed["layers.1.weight_ih"] * 2
    expected, _ = run_stack(CELLS["gru"], read_layers(changed, 2), inputs, begun)
    assert_close(found, expected)


def test_masks_of_ones_hold_every_layer_where_it_was() -> None:
    layers = read_layers(_weights(_layer("lstm")), 2)
    begun = start_state(CELLS["lstm"], layers, BATCH)
    outputs, last = run_stack(
        CELLS["lstm"], layers, np.ones((STEPS, BATCH, SIZE)), begun, zoneout=0.5, noise=_Doubling()
    )
    assert not outputs.any()
    assert not any(value.any() for directions in last for one in directions for value in one)


class _BothAtOnce:
    """What runs a layer, with a way of its own for both directions."""

    def __init__(self) -> None:
        self.layers = 0

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return unroll(*arguments, **settings)

    def run_directions(self, *arguments: Any, **settings: Any) -> Any:
        self.layers += 1
        return run_directions(unroll, *arguments, **settings)


class _Numbered(_Doubling):
    """Noise that is other at each call, as what is drawn at random is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def recurrent(self, weight: Any) -> Any:
        self.calls.append("weight")
        return weight / len(self.calls)

    def zoneout_masks(self, shape: tuple[int, int, int]) -> Any:
        self.calls.append("masks")
        return np.arange(np.prod(shape)).reshape(shape) % (1 + len(self.calls)) == 0


@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both directions"])
def test_both_directions_may_be_run_at_once(both: bool) -> None:
    """By what runs a layer, which is given the same noise and lengths."""
    layers = read_layers(_weights(_layer("lstm", bidirectional=both)), 2)
    inputs = np.random.default_rng(6).normal(size=(STEPS, BATCH, SIZE))
    begun, lengths = start_state(CELLS["lstm"], layers, BATCH), np.array([3, 6, 1])
    results = []
    for run_layer in (_BothAtOnce(), unroll):
        noise = _Numbered()
        results.append(
            run_stack(CELLS["lstm"], layers, inputs, begun, lengths, zoneout=0.5, run_layer=run_layer, noise=noise)
        )
        assert noise.calls == ["weight", "masks"] * (4 if both else 2)
        if isinstance(run_layer, _BothAtOnce):
            assert run_layer.layers == (2 if both else 0)
    (found, after), (expected, last) = results
    np.testing.assert_array_equal(found, expected)
    for one, other in zip(after, last, strict=True):
        np.testing.assert_array_equal(np.stack(one), np.stack(other))
