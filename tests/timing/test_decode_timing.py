"""Both sides of a timed stream predict the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nlpseq.models.language_model import LanguageModelOptions, initial_weights
from nlpseq.timing.decode import RANDOM_MODEL, load_weights, our_step, torch_step


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("tied", [False, True])
def test_both_sides_of_decode_predict_the_same(cell: str, tied: bool, assert_close: Callable[..., None]) -> None:
    options = LanguageModelOptions(cell=cell, layers=2, hidden_size=6, embedding_size=5, tied=tied)
    weights = initial_weights(options, 256, seed=4)
    ours, theirs = our_step(weights, options), torch_step(weights, options)
    for token in (10, 104, 101, 108):
        assert_close(theirs(token), ours(token), "float32")


def test_a_model_that_is_not_named_is_random_and_rounded_on_request() -> None:
    exact, options = load_weights(None, "fp32")
    assert options == RANDOM_MODEL
    rounded, _ = load_weights(None, "bf16")
    matrix = rounded["layers.0.weight_hh"]
    assert not np.array_equal(matrix, exact["layers.0.weight_hh"])
    assert not (matrix.view(np.uint32) & 0xFFFF).any()
