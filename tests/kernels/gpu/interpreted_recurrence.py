"""Triton's kernels under its interpreter: what `test_triton_recurrence` runs in a process of its own.

The interpreter runs one program after another, so programs that wait for each other are tested where there is one only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from nlpseq.cells import CELLS
from nlpseq.cells import unroll as plain
from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import launch as gpu_launch
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.gpu import signals
from tests.kernels.gpu.no_waiting import NoWaiting
from tests.kernels.gpu.rounded import rounded_unroll
from tests.kernels.test_recurrence import Case

Close = Callable[..., None]

ODD, ONE_STEP, ONE_SEQUENCE, TWO_TILES = (4, 3, 4, 7), (1, 3, 4, 7), (3, 1, 4, 5), (2, 17, 3, 19)  # T, B, I, H

COLUMN = [(name, option) for name in CELLS if gpu_recurrence.has_cell(name) for option in ("plain", "all")]
OTHERS = [
    ("column", "lstm", "zoneout-mean", ODD),
    ("column", "gru", "lengths", TWO_TILES),
    ("column", "gru-reset-before", "normalised", ONE_SEQUENCE),
    ("column", "lstm", "plain", ONE_STEP),
    ("column", "rnn", "plain", (2, 2, 1, 1)),
    ("steps", "rnn", "lengths", ODD),
    ("steps", "lstm", "plain", (2, 2, 3, 35)),
    ("steps", "lstm", "lengths", ODD),
    ("steps", "gru", "zoneout-masks", TWO_TILES),
    ("steps", "gru", "plain", ONE_STEP),
    ("grid", "rnn-relu", "plain", ONE_SEQUENCE),
    ("grid", "lstm", "lengths", ODD),
    ("grid", "lstm", "zoneout-masks", ONE_STEP),
    ("grid", "gru", "lengths", (3, 17, 4, 7)),
    ("rows", "gru-reset-before", "all", ODD),
    ("rows", "gru-reset-before", "plain", ONE_STEP),
    ("rows", "lstm", "all", ODD),
    ("rows", "gru", "normalised", ONE_SEQUENCE),
    ("rows", "rnn", "plain", (2, 3, 4, 19)),
]


def check(way: str | None, name: str, option: str, shape: tuple[int, ...], reverse: bool, assert_close: Close) -> None:
    """Single precision by the kernels, against the plain loop in double precision."""
    unroll = partial(gpu_recurrence.unroll, way=way)
    found = Case(name, option, shape, torch.float32).results(unroll, reverse=reverse)
    expected = Case(name, option, shape).results(plain, reverse=reverse)
    assert found.keys() == expected.keys()
    for what in expected:
        assert found[what].dtype == torch.float32
        assert_close(found[what], expected[what], "float32", f"{what} of {shape} by {way}")


@pytest.mark.parametrize(("name", "option"), COLUMN)
def test_every_cell_in_one_program(name: str, option: str, assert_close: Close) -> None:
    check("column", name, option, ODD, option == "all", assert_close)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(("way", "name", "option", "shape"), OTHERS)
def test_every_way(
    way: str, name: str, option: str, shape: tuple[int, ...], reverse: bool, assert_close: Close
) -> None:
    check(way, name, option, shape, reverse, assert_close)


@pytest.mark.parametrize("way", ["column", "grid", "steps", "rows"])
def test_half_precision_operands_stay_near_the_truth(way: str, assert_close: Close) -> None:
    """fp16: the interpreter's bf16 products are wrong."""
    shape, scale = (3, 5, 6, 13), 13**-0.5
    unroll = partial(gpu_recurrence.unroll, way=way, operands=torch.float16)
    found = Case("lstm", "lengths", shape, torch.float32, scale).results(unroll)
    expected = Case("lstm", "lengths", shape, scale=scale).results(plain)
    full = Case("lstm", "lengths", shape, torch.float32, scale).results(plain)
    assert not torch.equal(found["outputs"], full["outputs"]), "the operands are really rounded"
    for what in expected:
        assert found[what].dtype == torch.float32, "the state and all gradients stay in fp32"
        assert_close(found[what], expected[what], "bfloat16", what)


ROUNDED = [
    *((way, name, "zoneout-masks") for way in ("column", "grid", "steps", "rows") for name in ("lstm", "gru", "rnn")),
    *((way, name, "all") for way in ("column", "rows") for name in ("lstm", "gru", "gru-reset-before")),
    ("rows", "rnn-relu", "normalised"),
]


@pytest.mark.parametrize(("way", "name", "option"), ROUNDED)
def test_nothing_but_what_is_meant_to_is_rounded(way: str, name: str, option: str) -> None:
    """Layer normalisation divides by deviations, and so multiplies rounding that is one bit off."""
    shape, scale = (3, 5, 6, 13), 13**-0.5
    unroll = partial(gpu_recurrence.unroll, way=way, operands=torch.float16)
    found = Case(name, option, shape, torch.float32, scale).results(unroll, reverse=True)
    oracle = partial(rounded_unroll, operands=torch.float16, rounds_gates=False)
    expected = Case(name, option, shape, scale=scale).results(oracle, reverse=True)
    for what, wanted in expected.items():
        error = (found[what].detach() - wanted).abs().max() / wanted.detach().abs().max()
        assert error < 1e-4, what


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("way", ["column", "grid", "steps", "rows"])
def test_nothing_waits_for_the_device(way: str, reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = gpu_launch.launch

    def launch_outside(*arguments: Any) -> None:
        with _disable_current_modes():
            launch(*arguments)

    monkeypatch.setattr(gpu_launch, "launch", launch_outside)
    monkeypatch.setattr(gpu_launch, "raise_if_stuck", lambda: None)
    case = Case("lstm", "lengths", ODD, torch.float32)
    case.settings = {"zoneout": 0.2, "masks": torch.ones(ODD[0], ODD[1], ODD[3])}
    with NoWaiting():
        case.results(partial(gpu_recurrence.unroll, way=way), reverse=reverse)


def test_the_inputs_product_may_be_given(assert_close: Close) -> None:
    results = []
    for dtype, unroll in ((torch.float32, gpu_recurrence.unroll), (torch.float64, plain)):
        case = Case("gru", dtype=dtype)
        width = case.weights.weight_hh.shape[0]
        product = torch.linspace(-1, 1, 5 * 3 * width, dtype=dtype).view(5, 3, width).requires_grad_()
        weights = case.weights._replace(weight_ih=None, bias_ih=None)
        outputs, _ = unroll(case.cell, weights, product, case.state)
        results.append((outputs, torch.autograd.grad(outputs, product, case.grad_outputs)[0]))
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, "float32")


def test_without_a_gradient_only_states_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[Any] = []
    forward = gpu_launch.forward

    def look(cell: str, way: str, given: Any, room: Any, *rest: Any) -> None:
        rooms.append(room)
        forward(cell, way, given, room, *rest)

    monkeypatch.setattr(gpu_launch, "forward", look)
    case = Case("lstm", "normalised", dtype=torch.float32)
    with torch.no_grad():
        gpu_recurrence.unroll(case.cell, case.weights, case.inputs, case.state)
    gpu_recurrence.unroll(case.cell, case.weights, case.inputs, case.state)
    without, with_gradient = rooms
    assert [name for name, value in without._asdict().items() if value is None] == [
        "memories",
        "saved",
        "normalised",
        "deviations",
    ]
    assert None not in with_gradient


def test_a_wait_that_was_given_up_raises() -> None:
    signal = signals.signal_for(torch.device("cpu"), 1)
    signals.watch(signal)
    signals.raise_if_stuck()
    signal.failed.add_(1)
    signals.watch(signal)
    with pytest.raises(BackendError, match="waited too long"):
        signals.raise_if_stuck()
    signals.raise_if_stuck(wait=True)


def test_what_the_kernels_do_not_have_is_refused() -> None:
    case = Case("lstm", "normalised")
    with pytest.raises(BackendError, match="fp32"):
        gpu_recurrence.unroll(case.cell, case.weights, case.inputs, case.state)
    case = Case("lstm", "normalised", dtype=torch.float32)
    with pytest.raises(BackendError, match="normalisation"):
        gpu_recurrence.unroll(case.cell, case.weights, case.inputs, case.state, way="grid")


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value):RuntimeWarning")  # in the branch that is not taken
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_exponentials_keep_their_digits(name: str) -> None:
    """Also of numbers near zero and of huge ones."""
    from tests.kernels.gpu import triton_activation

    numbers = torch.cat([torch.logspace(-12, 2.5, 120), torch.tensor([0.0, 0.2499, 0.25, 1e4, 3e38])])
    numbers = torch.cat([numbers, -numbers])
    found = triton_activation.run(name, numbers).double()
    expected = getattr(torch, name)(numbers.double())
    assert bool(found.isfinite().all())
    assert float(((found - expected).abs() / expected.abs().clamp(min=1e-37)).max()) < 1e-6
