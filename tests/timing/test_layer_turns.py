"""Our layer, torch.nn's and the products alone do the same work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nlpseq.cells import CELLS, LayerWeights, unroll
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.timing.clocks import Turn
from nlpseq.timing.layer_products import product_turn
from nlpseq.timing.layer_turns import TORCH_LAYERS, TimedLayer, our_turn, torch_layer, torch_turn
from nlpseq.timing.plan import OPTIONS, Plan
from nlpseq.timing.shapes import Shape

SMALL = Shape(6, 3, 7)


def _layer(
    cell: str, option: str = "none", *, direction: str = "both", backend: str = "auto", shape: Shape = SMALL
) -> TimedLayer:
    plan = Plan(cells=[cell], shapes=[shape], options=[option], backend=backend)
    return TimedLayer(plan, CELLS[cell], shape, "fp32", direction, option)


def _results(make: Callable[..., Turn], *arguments: Any) -> list[torch.Tensor]:
    torch.manual_seed(5)
    found: Any = make(*arguments)()
    return [found] if isinstance(found, torch.Tensor) else list(found)


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_torch_is_timed_with_our_weights(name: str, assert_close: Callable[..., None]) -> None:
    shape, cell = Shape(5, 3, 7), CELLS[name]
    values = layer_values(cell, 7, 7, np.random.default_rng(3))
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    weights = LayerWeights(**values)
    expected, _ = unroll(cell, weights, inputs.numpy(), zero_state(cell, 3, 7, values["weight_hh"]))
    with torch.no_grad():
        assert_close(torch_layer(name, [values])(inputs)[0], expected, "float32")


@pytest.mark.parametrize("backend", ["auto", "plain", "torch"])
@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("option", ["none", "lengths"])
@pytest.mark.parametrize("cell", TORCH_LAYERS)
def test_both_sides_of_a_row_compute_the_same(
    cell: str, option: str, direction: str, backend: str, assert_close: Callable[..., None]
) -> None:
    layer = _layer(cell, option, direction=direction, backend=backend)
    ours, theirs = _results(our_turn, layer), _results(torch_turn, layer, "fp32")
    assert len(ours) == len(theirs) == (1 if direction == "forward" else 5)
    for left, right in zip(ours, theirs, strict=True):
        assert_close(left, right, "float32")


@pytest.mark.parametrize("option", OPTIONS[1:])
def test_an_option_changes_what_is_computed(option: str) -> None:
    plain = _results(our_turn, _layer("gru", direction="forward"))[0]
    changed = _results(our_turn, _layer("gru", option, direction="forward"))[0]
    assert plain.shape == changed.shape
    assert not torch.allclose(plain, changed)


def test_lengths_are_uniform_from_one_to_all_steps() -> None:
    lengths = _layer("gru", "lengths", shape=Shape(4, 1000, 1)).lengths()
    assert lengths is not None
    counts = torch.bincount(lengths, minlength=5)
    assert counts[0] == 0
    assert len(counts) == 5
    assert int(counts[1:].min()) > 200


@pytest.mark.parametrize(("direction", "passes"), [("forward", 1), ("both", 3)])
@pytest.mark.parametrize("option", ["none", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_products_are_those_of_a_layer_and_of_real_rows_alone(
    cell: str, option: str, direction: str, passes: int
) -> None:
    layer = _layer(cell, option, direction=direction)
    lengths = layer.lengths()
    rows = 6 * 3 if lengths is None else int(lengths.sum())
    turn = product_turn(layer)
    with FlopCounterMode(display=False) as counter:
        turn()
    products = passes * (1 if CELLS[cell].parallel else 2)  # of the input, and of the hidden state
    assert counter.get_total_flops() == products * 2 * rows * 7 * 7 * CELLS[cell].gates
