"""torch's own layers under our signature: the plain loop's results for all that they can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nlpseq.cells import unroll as plain
from nlpseq.kernels.torch_layers import OPERATORS, lacks, unroll
from tests.kernels.test_recurrence import SHAPES, Case


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("option", ["plain", "lengths"])
@pytest.mark.parametrize("name", OPERATORS)
def test_values_and_gradients_are_the_plain_loops(
    name: str, option: str, reverse: bool, assert_close: Callable[..., None]
) -> None:
    for shape in SHAPES:
        case = Case(name, option, shape)
        found, expected = case.results(unroll, reverse=reverse), case.results(plain, reverse=reverse)
        for what in expected:
            assert_close(found[what], expected[what], what=f"{what} of {shape}")


@pytest.mark.parametrize("name", OPERATORS)
def test_a_finished_product_may_be_given(name: str, assert_close: Callable[..., None]) -> None:
    case = Case(name)
    weights = case.weights._replace(weight_ih=None, bias_ih=None)
    product = case.inputs @ case.weights.weight_ih.T
    found, expected = (one(case.cell, weights, product, case.state)[0] for one in (unroll, plain))
    assert_close(found, expected)


@pytest.mark.parametrize("name", OPERATORS)
def test_half_precision_is_near(name: str, assert_close: Callable[..., None]) -> None:
    case = Case(name, dtype=torch.float32, scale=0.2)
    outputs, _ = unroll(case.cell, case.weights, case.inputs, case.state, operands=torch.bfloat16)
    assert outputs.dtype == torch.float32
    assert_close(outputs, plain(case.cell, case.weights, case.inputs, case.state)[0], "bfloat16")


def test_what_torch_lacks_is_named() -> None:
    assert lacks("lstm", layer_normalisation=False, zoneout=0.0) is None
    assert lacks("rnn-sigmoid", layer_normalisation=False, zoneout=0.0) == "the cell rnn-sigmoid"
    assert lacks("lstm", layer_normalisation=True, zoneout=0.0) == "layer normalisation"
    assert lacks("lstm", layer_normalisation=False, zoneout=0.1) == "zoneout"
