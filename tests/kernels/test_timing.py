"""What `nlpseq bench` times: that both sides compute the same, and that turns are taken in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights, unroll
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.kernels import decode_timing
from nlpseq.kernels.timing import TORCH_LAYERS, WARM_UP, Shape, median_seconds, torch_layer
from nlpseq.models.language_model import LanguageModelOptions, initial_weights


def test_turns_are_interleaved_and_the_warm_up_is_not_counted() -> None:
    taken: list[str] = []
    seconds = median_seconds([lambda: taken.append("ours"), lambda: taken.append("torch")], repeats=3)
    assert taken == ["ours", "torch"] * (WARM_UP + 3)
    assert len(seconds) == 2
    assert all(0 <= one < 60 for one in seconds)


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_torch_is_timed_with_our_weights(name: str, assert_close: Callable[..., None]) -> None:
    shape, cell = Shape(5, 3, 7), CELLS[name]
    values = layer_values(cell, 7, 7, np.random.default_rng(3))
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    weights = LayerWeights(**values)
    expected, _ = unroll(cell, weights, inputs.numpy(), zero_state(cell, 3, 7, values["weight_hh"]))
    with torch.no_grad():
        assert_close(torch_layer(name, [values])(inputs)[0], expected, "float32")


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("tied", [False, True])
def test_both_sides_of_decode_predict_the_same(cell: str, tied: bool, assert_close: Callable[..., None]) -> None:
    options = LanguageModelOptions(cell=cell, layers=2, hidden_size=6, embedding_size=5, tied=tied)
    weights = initial_weights(options, 256, seed=4)
    ours, theirs = decode_timing._our_step(weights, options), decode_timing._torch_step(weights, options)
    for token in (10, 104, 101, 108):
        assert_close(theirs(token), ours(token), "float32")
