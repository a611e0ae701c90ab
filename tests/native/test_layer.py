"""The compiled ways to run a layer on NumPy arrays give what the plain loop gives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import numpy as np
import pytest

from nlpseq.cells import CELLS, LayerWeights, unroll
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import project_inputs
from nlpseq.native import extension, layer, steps
from nlpseq.native.matrix import PackedMatrix

pytestmark = pytest.mark.usefixtures("instructions")

SIZES = [(1, 1, 3, 5), (9, 4, 6, 17), (5, 33, 7, 8)]  # T, B, I, H
WAYS = {"layer": layer.unroll, "shared": layer.unroll_shared, "steps": steps.unroll}


@pytest.mark.parametrize("options", ["plain", "layer_normalisation", "zoneout"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CELLS)
def test_it_is_the_plain_loop(
    name: str, way: str, sizes: tuple[int, ...], reverse: bool, options: str, assert_close: Callable[..., None]
) -> None:
    length, batch, width, hidden = sizes
    generator, cell = np.random.default_rng(3), CELLS[name]
    values = layer_values(cell, width, hidden, generator, layer_normalisation=options == "layer_normalisation")
    values = {
        key: value + 0.1 * generator.standard_normal(value.shape).astype(np.float32) for key, value in values.items()
    }
    weights = LayerWeights(*(values.get(field) for field in LayerWeights._fields))
    given = generator.standard_normal((length, batch, width)).astype(np.float32)
    state = cell.state(*(generator.standard_normal((batch, hidden)).astype(np.float32) for _ in cell.state._fields))
    settings = {"reverse": reverse, "zoneout": 0.3 if options == "zoneout" else 0.0}
    packed = weights._replace(weight_ih=PackedMatrix.of(weights.weight_ih))
    product, bare = project_inputs(weights, given), weights._replace(weight_ih=None)
    for lengths in (None, generator.integers(1, length + 1, batch)):
        for inputs, used in ((given, weights), (given, packed), (product, bare)):
            made, last = WAYS[way](cell, used, inputs, state, lengths, **settings)
            expected, expected_last = unroll(cell, used, inputs, state, lengths, **settings)
            assert_close(made, expected, "float32", "outputs")
            for one, other in zip(last, expected_last, strict=True):
                assert_close(one, other, "float32", "last state")


def test_without_the_library_it_is_the_plain_loop_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "is_available", lambda: False)
    cell = CELLS["gru"]
    values = layer_values(cell, 3, 4, np.random.default_rng(1))
    weights = LayerWeights(*(values.get(field) for field in LayerWeights._fields))
    given, state = np.ones((2, 1, 3), np.float32), cell.state(np.zeros((1, 4), np.float32))
    assert np.array_equal(layer.unroll(cell, weights, given, state)[0], unroll(cell, weights, given, state)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "threads", lambda: 2)
    cell = CELLS["gru"]
    values = layer_values(cell, 3, 4, np.random.default_rng(1))
    weights = LayerWeights(*(values.get(field) for field in LayerWeights._fields))
    given, state = np.ones((2, 5, 3), np.float32), cell.state(np.zeros((5, 4), np.float32))
    expected = layer.unroll_shared(cell, weights, given, state)[0]
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(0 if (layer.unroll_shared(cell, weights, given, state)[0] == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
