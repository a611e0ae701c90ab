"""Compiled code compares nothing, so arrays that do not fit are refused before their addresses are passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.native import layer, recurrence, steps
from nlpseq.native.extension import is_available
from nlpseq.native.matrix import Packed
from nlpseq.native.stack import NativeLinear, NativeStack

INPUTS, HIDDEN = 5, 4
SEQUENTIAL = [name for name in recurrence.CELLS if not CELLS[name].parallel]

pytestmark = pytest.mark.skipif(not is_available(), reason="nothing is compiled")


def _weights(cell: str, **changed: Any) -> LayerWeights:
    values = layer_values(CELLS[cell], INPUTS, HIDDEN, np.random.default_rng(1), layer_normalisation=False)
    return LayerWeights(**{**dict.fromkeys(LayerWeights._fields), **values, **changed})


def _run(run: Callable[..., Any], cell: str, weights: LayerWeights, inputs: int = INPUTS, batch: int = 2) -> Any:
    read = np.ones((3, 2, inputs), np.float32)
    return run(CELLS[cell], weights, read, zero_state(CELLS[cell], batch, HIDDEN, read))


def _stack(cell: str, weights: LayerWeights) -> NativeStack:
    state = zero_state(CELLS[cell], 1, HIDDEN, np.zeros(1, np.float32))
    return NativeStack(CELLS[cell], [weights], [state], 0.0)


WRONG: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "missing": lambda value: None,
    "shorter": lambda value: value[:-1],
    "longer": lambda value: np.concatenate([value, value]),
    "of doubles": lambda value: value.astype(np.float64),
    "of more dimensions": lambda value: value[None],
}


@pytest.mark.parametrize("cell", SEQUENTIAL)
@pytest.mark.parametrize("field", ["weight_hh", "bias_hh", "bias_ih"])
@pytest.mark.parametrize("wrong", WRONG)
def test_weights_that_do_not_fit_are_refused(cell: str, field: str, wrong: str) -> None:
    weights = _weights(cell)
    changed = weights._replace(**{field: WRONG[wrong](getattr(weights, field))})
    for run in (layer.unroll, steps.unroll):
        if run is steps.unroll and CELLS[cell].reset is not None:
            continue  # which the plain loop runs
        _run(run, cell, weights)
        with pytest.raises(ValueError, match=field):
            _run(run, cell, changed)
    _stack(cell, weights)
    with pytest.raises((ValueError, Exception), match=rf"{field}|32-bit"):
        _stack(cell, changed)


def test_inputs_and_states_that_do_not_fit_are_refused() -> None:
    for run in (layer.unroll, steps.unroll):
        with pytest.raises(ValueError, match="weight_ih"):
            _run(run, "gru", _weights("gru"), inputs=INPUTS + 1)
        with pytest.raises(ValueError, match="does not fit"):
            _run(run, "gru", _weights("gru"), batch=3)
        with pytest.raises(ValueError, match="no input product of 5"):
            _run(run, "gru", _weights("gru")._replace(weight_ih=None))


def test_a_gain_of_one_side_and_foreign_peepholes_are_refused() -> None:
    gain = np.ones(3 * HIDDEN, np.float32)
    with pytest.raises(ValueError, match="gain_ih"):
        _run(layer.unroll, "gru", _weights("gru", gain_hh=gain))
    with pytest.raises(ValueError, match="has peepholes"):
        _run(layer.unroll, "gru", _weights("gru", peepholes=np.ones((3, HIDDEN), np.float32)))
    with pytest.raises(ValueError, match="has weight_hh"):
        _run(layer.unroll, "mingru", _weights("mingru", weight_hh=np.ones((2 * HIDDEN, HIDDEN), np.float32)))


@pytest.mark.parametrize("token", [-1, 7, 10**9])
def test_a_token_beyond_the_table_is_refused(token: int) -> None:
    state = zero_state(CELLS["gru"], 1, HIDDEN, np.zeros(1, np.float32))
    products = np.zeros((7, 3 * HIDDEN), np.float32)
    stack = NativeStack(CELLS["gru"], [_weights("gru")], [state], 0.0, products)
    stack.advance(6, None)
    with pytest.raises(IndexError, match=f"none of token {token}"):
        stack.advance(token, None)


def test_products_of_tokens_that_do_not_fit_are_refused() -> None:
    state = zero_state(CELLS["gru"], 1, HIDDEN, np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="products of tokens"):
        NativeStack(CELLS["gru"], [_weights("gru")], [state], 0.0, np.zeros((7, HIDDEN), np.float32))


def test_a_linear_map_of_other_sizes_is_refused() -> None:
    weight, bias, inputs = np.ones((6, 5), np.float32), np.ones(6, np.float32), np.ones((1, 5), np.float32)
    NativeLinear(weight, bias, inputs).apply()
    with pytest.raises(ValueError, match="the bias"):
        NativeLinear(weight, bias[:5], inputs)
    with pytest.raises(ValueError, match="the input"):
        NativeLinear(weight, bias, inputs[:, :4])


def test_rows_and_targets_that_do_not_fit_a_matrix_are_refused() -> None:
    packed = Packed(np.ones((6, 5), np.float32), np.ones(6, np.float32))
    rows = np.ones((3, 5), np.float32)
    packed.losses(rows, np.array([0, 5, 2]))
    for targets in ([0, 6, 2], [0, -1, 2], [0, 1 << 40, 2]):
        with pytest.raises(IndexError, match="not one of 6 outputs"):
            packed.losses(rows, np.array(targets))
    with pytest.raises(ValueError, match="targets"):
        packed.losses(rows, np.array([0, 1]))
    with pytest.raises(ValueError, match="rows"):
        packed.multiply(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="bias"):
        Packed(np.ones((6, 5), np.float32), np.ones(7, np.float32))


def test_sizes_of_a_layer_are_compared_in_training_too() -> None:
    numbers = {"gates": 3, "steps": 2, "batch": 3, "size": 4, "training": True}
    sizes = {"hidden": 3 * 3 * 4, "from_input": 6 * 12, "weight": 48, "bias": 12}
    recurrence.check_sizes(sizes, numbers, 6)
    for name, size in (("hidden", 35), ("weight", 47), ("weight", 49), ("bias", 13), ("from_input", 71)):
        with pytest.raises(ValueError, match=f"{name} has {size} numbers"):
            recurrence.check_sizes({**sizes, name: size}, numbers, 6)
    with pytest.raises(ValueError, match="no array of hidden states"):
        recurrence.check_sizes({"weight": 48}, numbers, 6)
