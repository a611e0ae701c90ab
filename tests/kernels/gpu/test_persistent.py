"""The persistent kernels without a GPU: what they compute, under an emulator of Gluon, and what they compile to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from nlpseq.cells import unroll as plain
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.gpu import ways
from nlpseq.kernels.gpu.persistent import tiles as persistent_tiles
from nlpseq.kernels.gpu.persistent.tiles import Tiles
from tests.kernels.gpu.no_waiting import NoWaiting
from tests.kernels.gpu.rounded import rounded_unroll
from tests.kernels.test_recurrence import Case

pytest.importorskip("triton", reason="Triton is not installed")

Close = Callable[..., None]

SMALL, ODD, TALL = (3, 5, 7, 64), (3, 4, 5, 37), (2, 70, 4, 33)  # T, B, I, H
ALL = 99


def use_tiles(monkeypatch: pytest.MonkeyPatch, forward: Tiles, backward: Tiles) -> None:
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    monkeypatch.setattr(persistent_recurrence, "tiles_of", lambda *_, **__: (forward, backward))


def errors(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, float]:
    """By name, the largest difference as a share of the largest value; infinite if anything is not a number."""
    return {what: float(value.max()) for what, value in differences(found, expected).items()}


def differences(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By name, all differences as shares of the largest value."""
    assert found.keys() == expected.keys()
    made = {}
    for what, wanted in expected.items():
        assert found[what].dtype == torch.float32 and found[what].shape == wanted.shape
        difference = (found[what].double() - wanted).detach().abs()
        made[what] = (difference / wanted.detach().abs().max().clamp(min=1e-6)).nan_to_num(float("inf"))
    return made


def compare(*case: Any) -> dict[str, float]:
    """The largest differences from the oracle, by name."""
    return errors(*both_results(*case))


def both_results(
    name: str, option: str, shape: tuple[int, ...], operands: torch.dtype, reverse: bool
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What the kernels compute, and the oracle."""
    unroll = partial(gpu_recurrence.unroll, way="persistent", operands=operands)
    scale = shape[3] ** -0.5
    found = Case(name, option, shape, torch.float32, scale).results(unroll, reverse=reverse)
    exact = Case(name, option, shape, torch.float32, scale)
    double = Case(name, option, shape, torch.float64, scale)
    for one, other in zip(exact.parameters().values(), double.parameters().values(), strict=True):
        other.data = one.data.double()
    double.grad_outputs = exact.grad_outputs.double()
    double.grad_last = [value.double() for value in exact.grad_last]
    oracle = plain if operands == torch.float32 else partial(rounded_unroll, operands=operands)
    return found, double.results(oracle, reverse=reverse)


NAMES = ("lstm", "gru", "gru-reset-before", "rnn", "rnn-relu", "rnn-sigmoid")
OPTIONS = [
    ("plain", SMALL, False),
    ("plain", ODD, True),
    ("zoneout-masks", ODD, True),
    ("zoneout-mean", ODD, False),
    ("lengths", TALL, True),
    ("lengths", ODD, False),
    ("normalised", SMALL, False),
    ("all", ODD, True),
]


CASES = [
    (name, *case)
    for name in NAMES
    for case in OPTIONS
    if name != persistent_tiles.RESETS or case[0] not in ("normalised", "all")
]


@pytest.mark.parametrize("late", [(), ("copies",), ("products",)], ids=["at-once", "late-copies", "late-products"])
@pytest.mark.parametrize(("name", "option", "shape", "reverse"), CASES)
def test_values_and_gradients_are_the_plain_loops(
    emulated: dict[str, Any], name: str, option: str, shape: tuple[int, ...], reverse: bool, late: tuple[str, ...]
) -> None:
    """With operands in fp32, so that nothing is rounded."""
    emulated["late"] = late
    found = compare(name, option, shape, torch.float32, reverse)
    assert max(found.values()) < 3e-6, found


@pytest.mark.parametrize("operands", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize(("name", "option", "shape", "reverse"), CASES)
def test_nothing_but_what_is_meant_to_is_rounded(
    emulated: dict[str, Any], name: str, option: str, shape: tuple[int, ...], reverse: bool, operands: torch.dtype
) -> None:
    """A value between two numbers of 16 bits may be rounded to the other one, which changes its row or column."""
    for what, far in differences(*both_results(name, option, shape, operands, reverse)).items():
        assert far.max() < 3e-3 and (far > 1e-4).double().mean() < 0.05, what


DESIGNS = [
    ("lstm", (2, 3, 4, 128), Tiles(64, 16, 1, ALL, 2, 4), Tiles(64, 16, 4, ALL, 2, 4)),
    ("lstm", (3, 66, 4, 192), Tiles(64, 16, 1, 1, 2, 4), Tiles(64, 16, 4, 1, 2, 4)),
    ("gru", (2, 130, 4, 150), Tiles(128, 16, 1, 0, 2, 8), Tiles(128, 16, 4, 2, 2, 8)),
    ("gru", (3, 2, 4, 190), Tiles(64, 8, 1, 2, 3, 4), Tiles(64, 8, 2, ALL, 3, 4)),
    ("rnn", (3, 66, 4, 256), Tiles(64, 64, 1, 2, 3, 4), Tiles(64, 32, 1, 1, 2, 4)),
]


@pytest.mark.parametrize("late", [("copies",), ("products",)], ids=["late-copies", "late-products"])
@pytest.mark.parametrize(("name", "shape", "forward", "backward"), DESIGNS)
def test_work_may_be_divided_in_many_ways(
    emulated: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    shape: tuple[int, ...],
    forward: Tiles,
    backward: Tiles,
    late: tuple[str, ...],
) -> None:
    """Weights held or read again, few buffers, products shared by programs, several tiles of sequences."""
    use_tiles(monkeypatch, forward, backward)
    emulated["late"] = late
    found = compare(name, "all" if name == "gru" else "lengths", shape, torch.float32, True)
    assert max(found.values()) < 3e-6, found


FAULTS: dict[str, Callable[[Any], Any]] = {
    "wait": lambda kernel: lambda counter, wanted, failed: 0,
    "arrive": lambda kernel: lambda counter: None,
    "weight_rows": lambda kernel: lambda frame: kernel(frame) * 0,
    "exchange": lambda kernel: lambda sums, *rest: kernel(sums, *rest) + 1e-4,
    "unite": lambda kernel: lambda tiles, frame: kernel(tiles[::-1], frame),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_emulator_shows_faults(emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    use_tiles(monkeypatch, Tiles(64, 16, 1, ALL, 2, 4), Tiles(64, 16, 4, ALL, 2, 4))
    emulated["changed"] = {fault: FAULTS[fault]}
    try:
        found = compare("lstm", "plain", (3, 4, 5, 128), torch.float32, False)
    except RuntimeError as error:
        assert fault == "arrive" and "for ever" in str(error)
    else:
        assert not max(found.values()) < 3e-6


@pytest.mark.parametrize(("name", "lengths"), [("lstm", True), ("gru", False), ("rnn", True)])
def test_a_batch_that_no_launch_can_hold_runs_in_pieces(
    emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, lengths: bool
) -> None:
    few = replace(ways.device_of(torch.device("cpu")), processors=4)
    monkeypatch.setattr(ways, "device_of", lambda device: few)
    shape = (2, 600 if name == "rnn" else 140, 3, 60)
    assert persistent_tiles.most_sequences(name, shape[0], shape[1], shape[3], 4) < shape[1]
    found = compare(name, "lengths" if lengths else "zoneout-masks", shape, torch.float32, True)
    assert max(found.values()) < 3e-6, found


def test_the_inputs_product_may_be_given(emulated: dict[str, Any], assert_close: Close) -> None:
    for name in ("lstm", "gru"):
        results = []
        for dtype, unroll in ((torch.float32, gpu_recurrence.unroll), (torch.float64, plain)):
            case = Case(name, "plain", ODD, dtype)
            width = case.weights.weight_hh.shape[0]
            product = torch.linspace(-1, 1, ODD[0] * ODD[1] * width, dtype=dtype).view(*ODD[:2], width).requires_grad_()
            weights = case.weights._replace(weight_ih=None, bias_ih=None)
            outputs, _ = unroll(case.cell, weights, product, case.state)
            wanted = product, weights.weight_hh, weights.bias_hh
            results.append((outputs, *torch.autograd.grad(outputs, wanted, case.grad_outputs)))
        for found, expected in zip(*results, strict=True):
            assert_close(found, expected, "float32")


def test_without_a_gradient_nothing_is_saved(emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    seen: list[tuple[bool, ...]] = []
    run = persistent_recurrence.run

    def look(layer: Any, fixed: Any, tensors: Any) -> None:
        memories, saved = tensors[3:5]
        seen.append((fixed.save, memories is not None, saved is not None))
        run(layer, fixed, tensors)

    monkeypatch.setattr(persistent_recurrence, "run", look)
    case = Case("lstm", "plain", ODD, torch.float32)
    unroll = partial(gpu_recurrence.unroll, way="persistent", operands=torch.float16)
    with torch.no_grad():
        without, _ = unroll(case.cell, case.weights, case.inputs, case.state)
    outputs, _ = unroll(case.cell, case.weights, case.inputs, case.state)
    assert torch.equal(without, outputs.detach())
    assert seen == [(False,) * 3, (True,) * 3]


def test_padding_takes_part_in_nothing(emulated: dict[str, Any]) -> None:
    """Whatever it holds, as long as it is finite."""
    unroll = partial(gpu_recurrence.unroll, way="persistent", operands=torch.float16)
    case = Case("lstm", "lengths", (5, 4, 3, 40), torch.float32)
    before = case.results(unroll)
    padding = torch.arange(5)[:, None] >= case.lengths[None, :]
    assert padding.any()
    case.inputs.data[padding] = 1e4
    after = case.results(unroll)
    for what, value in before.items():
        assert torch.equal(after[what], value), what
    assert not after["outputs"][padding].any() and not after["gradient of inputs"][padding].any()


def test_nothing_waits_for_the_device(emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    monkeypatch.setattr(persistent_recurrence, "raise_if_stuck", lambda: None)
    case = Case("gru", "lengths", ODD, torch.float32)
    case.settings = {"zoneout": 0.2, "masks": torch.ones(ODD[0], ODD[1], ODD[3], dtype=torch.bool)}
    with NoWaiting():
        case.results(partial(gpu_recurrence.unroll, way="persistent", operands=torch.bfloat16), reverse=True)
