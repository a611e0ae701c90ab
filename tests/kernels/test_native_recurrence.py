"""The compiled loop on every kind of processor it was compiled for, with its work shared out either way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells import unroll as plain
from nlpseq.kernels.cpu import compiled as native_recurrence
from nlpseq.kernels.cpu import recurrence
from nlpseq.native import extension
from nlpseq.native import recurrence as native
from tests.kernels.test_recurrence import Case

Close = Callable[..., None]

if native_recurrence.unavailable():
    pytest.skip(f"no compiled loop: {native_recurrence.unavailable()}", allow_module_level=True)

KINDS = extension.available_sets()
SHARES = {"units": native.UNITS, "sequences": native.SEQUENCES}
LARGE = (5, 37, 9, 70)  # several tiles of rows, several panels, and a last one that is not full
DEEP = (3, 9, 5, 300)  # a product in parts
MANY = (2, 150, 3, 20)  # more rows than are multiplied at once
SHORT = {  # ways to multiply numbers of 16 bits, and the instructions that they need
    "tiles": (native.TILES_IMITATED, "avx512"),
    "tiles in hardware": (native.TILES_IN_HARDWARE, "amx"),
    "pairs": (native.PAIRS, "avx512bf16"),
}


@pytest.fixture(params=SHORT)
def short(request: pytest.FixtureRequest) -> int:
    """How numbers of 16 bits are multiplied."""
    half, needed = SHORT[request.param]
    if needed not in KINDS:
        pytest.skip(f"this processor has no {needed}")
    return half


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
@pytest.mark.parametrize("option", ["plain", "lengths", "all"])
@pytest.mark.parametrize("name", native.CELLS)
def test_every_kind_and_share_equals_the_plain_loop(
    name: str, option: str, kind: int, share: str, assert_close: Close
) -> None:
    for number, shape in enumerate((LARGE, DEEP, MANY)):
        reverse = bool(number % 2)
        case = Case(name, option, shape, scale=shape[3] ** -0.5)
        expected = case.results(plain, reverse=reverse)
        found = case.results(native_recurrence.unroll, reverse=reverse, kind=kind, share=SHARES[share])
        for what in expected:
            assert_close(found[what], expected[what], what=f"{what} of {shape}")


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
@pytest.mark.parametrize("name", native.CELLS)
def test_single_precision_is_near_float64(name: str, kind: int) -> None:
    """Relative to float64, over values as large as a layer's; 1e-5 is what is promised of gradients."""
    if name == "rnn-relu":
        pytest.skip("where a rectifier's kink is near, rounding decides whether there is a gradient")
    shape, scale = (12, 20, 96, 200), 200**-0.5
    found = Case(name, "lengths", shape, torch.float32, scale).results(native_recurrence.unroll, kind=kind)
    expected = Case(name, "lengths", shape, scale=scale).results(plain)
    for what in expected:
        error = (found[what].double() - expected[what]).norm() / expected[what].norm()
        assert error.item() < 1e-5, what


def check_near_the_truth(name: str, option: str, share: str, half: int) -> None:
    """Compare with the plain loop in float64, within what bf16 can hold."""
    if name == "rnn-relu":
        pytest.skip("where a rectifier's kink is near, rounding decides whether there is a gradient")
    for reverse, shape in enumerate([(6, 8, 16, 24), LARGE]):
        settings: dict[str, Any] = {"reverse": bool(reverse), "half": half, "share": SHARES[share]}
        scale = shape[3] ** -0.5
        found = Case(name, option, shape, torch.float32, scale).results(native_recurrence.unroll, **settings)
        expected = Case(name, option, shape, scale=scale).results(plain, reverse=bool(reverse))
        for what in expected:
            error = (found[what].double() - expected[what]).norm() / expected[what].norm()
            assert error.item() < 2e-2, f"{what} of {shape}"


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("option", ["plain", "lengths", "normalised", "all"])
@pytest.mark.parametrize("name", native.CELLS)
def test_rounded_numbers_stay_near_the_truth(name: str, option: str, share: str) -> None:
    check_near_the_truth(name, option, share, native.ROUNDED)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("option", ["plain", "lengths", "normalised", "all"])
@pytest.mark.parametrize("name", native.CELLS)
def test_short_numbers_stay_near_the_truth(name: str, option: str, share: str, short: int) -> None:
    check_near_the_truth(name, option, share, short)


@pytest.mark.parametrize("shape", [LARGE, DEEP, MANY], ids=["large", "deep", "many"])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_short_numbers_multiply_as_rounded_ones(name: str, shape: tuple[int, int, int, int], short: int) -> None:
    """The first step is the same but for the order of additions; later ones may round their operands differently."""
    case = Case(name, "plain", shape, torch.float32, shape[3] ** -0.5)
    weights = case.weights._replace(weight_ih=None, bias_ih=None)
    generator = torch.Generator().manual_seed(1)
    product = torch.randn(*shape[:2], case.cell.gates * shape[3], generator=generator)
    rounded, found = (
        native_recurrence.unroll(case.cell, weights, product, case.state, half=half)[0]
        for half in (native.ROUNDED, short)
    )
    assert torch.allclose(rounded[0], found[0], atol=2e-6)
    assert torch.allclose(rounded, found, atol=2e-3)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_any_number_of_threads_computes_the_same(count: int, assert_close: Close) -> None:
    """More threads than cores, and than there are units or sequences, only take longer."""
    case = Case("gru", "all", (4, 3, 2, 17))
    expected = case.results(plain)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        for share in SHARES.values():
            found = case.results(native_recurrence.unroll, share=share)
            for what in expected:
                assert_close(found[what], expected[what], what=what)
    finally:
        torch.set_num_threads(before)


def test_without_an_openmp_runtime_one_thread_works(assert_close: Close, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = native.openmp_threads("/nowhere/libgomp.so", 2)
    assert (alone.parallel, alone.wanted) == (None, 1)
    monkeypatch.setattr(native_recurrence, "threads", lambda: alone)
    case = Case("lstm", "all", LARGE)
    expected, found = case.results(plain), case.results(native_recurrence.unroll)
    for what in expected:
        assert_close(found[what], expected[what], what=what)
    assert "1 thread)" in native_recurrence.describe()


@pytest.mark.parametrize("name", native.CELLS)
def test_extreme_values_saturate_and_nan_stays(name: str) -> None:
    cell = CELLS[name]
    sizes = [(cell.gates * 5, 4), (cell.gates * 5, 5), (cell.gates * 5,), (cell.gates * 5,)]
    weights = LayerWeights(*(torch.full(size, 0.5) for size in sizes))
    for value in (1e30, -1e30, float("nan")):
        inputs = torch.full((3, 2, 4), value)
        state = cell.state(*(torch.full((2, 5), 0.1) for _ in cell.state._fields))  # type: ignore[attr-defined]
        found, expected = (unroll(cell, weights, inputs, state)[0] for unroll in (native_recurrence.unroll, plain))
        assert torch.allclose(found, expected, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("function", ["tanh", "sigmoid"])
@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_activations_are_right_near_zero_and_far_from_it(function: str, kind: int) -> None:
    values = np.concatenate([10.0 ** np.arange(-12, 2), -(10.0 ** np.arange(-12, 2)), np.linspace(-12, 12, 996)])
    cell = CELLS["rnn" if function == "tanh" else "rnn-sigmoid"]
    weights = LayerWeights(None, torch.zeros(1, 1), None, torch.zeros(1))
    inputs = torch.from_numpy(values).float().reshape(-1, 1, 1)
    found = native_recurrence.unroll(cell, weights, inputs, cell.state(torch.zeros(1, 1)), kind=kind)[0]
    expected: Tensor = getattr(torch, function)(inputs.double())
    assert ((found.double() - expected).abs() / expected.abs()).max().item() < 5e-7


def test_one_can_differentiate_twice_through_what_was_kept() -> None:
    case = Case("lstm")
    total = native_recurrence.unroll(case.cell, case.weights, case.inputs, case.state)[0].sum()
    first, second = (torch.autograd.grad(total, case.inputs, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_where_it_is_missing_the_eager_loop_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_recurrence, "unavailable", lambda: "it was not compiled")
    assert recurrence.describe() == "eager loop (it was not compiled)"
    case = Case("gru", dtype=torch.float32)
    assert recurrence.unroll(case.cell, case.weights, case.inputs, case.state)[0].shape == case.grad_outputs.shape


def test_the_description_names_instructions_and_threads() -> None:
    assert native_recurrence.describe().startswith("compiled loop (")
    assert f"{torch.get_num_threads()} thread" in native_recurrence.describe()
