"""Both directions of a layer in one launch of the persistent kernels, emulated, against the plain loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nlpseq.cells import run_directions
from nlpseq.cells import unroll as plain
from nlpseq.kernels.choice import TritonLayers
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.gpu import ways
from nlpseq.kernels.gpu.persistent import tiles as persistent_tiles
from nlpseq.kernels.gpu.persistent.tiles import Tiles
from nlpseq.models.stack import run_stack
from tests.kernels.gpu.no_waiting import NoWaiting
from tests.kernels.gpu.rounded import rounded_unroll
from tests.kernels.gpu.test_persistent import ALL, NAMES, differences, errors, use_tiles
from tests.kernels.test_recurrence import Case

pytest.importorskip("triton", reason="Triton is not installed")

Close = Callable[..., None]

SMALL, ODD, TALL = (3, 5, 7, 64), (4, 4, 5, 37), (3, 70, 4, 33)  # T, B, I, H


class Both:
    """What a layer of two directions is given: the second has the first one's values in another order."""

    def __init__(self, name: str, option: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        scale = shape[3] ** -0.5
        self.cases = [Case(name, option, shape, torch.float32, scale) for _ in range(2)]
        first, second = self.cases
        for value in second.parameters().values():
            value.data = value.data.flip(*range(value.ndim))
        second.grad_outputs = second.grad_outputs.flip(0, 1)
        second.grad_last = [value.flip(1) for value in second.grad_last]
        if "masks" in second.settings:
            second.settings["masks"] = second.settings["masks"].flip(0)
        second.inputs = first.inputs
        for case in self.cases:
            for value in case.parameters().values():
                value.data = value.data.to(dtype)
            case.grad_outputs = case.grad_outputs.to(dtype)
            case.grad_last = [value.to(dtype) for value in case.grad_last]

    def results(self, run: Callable[..., Any]) -> dict[str, Tensor]:
        """Outputs, last states and all gradients, by name."""
        first = self.cases[0]
        masks = [case.settings.get("masks") for case in self.cases]
        outputs, last = run(
            first.cell, [case.weights for case in self.cases], first.inputs, [case.state for case in self.cases],
            first.lengths, zoneout=first.settings.get("zoneout", 0.0), masks=masks,
        )  # fmt: skip
        total = (outputs * torch.cat([case.grad_outputs for case in self.cases], -1)).sum()
        named: dict[str, Tensor] = {"outputs": outputs}
        wanted: dict[str, Tensor] = {}
        for number, (case, end) in enumerate(zip(self.cases, last, strict=True)):
            for value, grad in zip(end, case.grad_last, strict=True):
                total = total + (value * grad).sum()
            named |= {f"last {name} {number}": value for name, value in end._asdict().items()}
            wanted |= {f"gradient of {name} {number}": value for name, value in case.parameters().items()}
        del wanted["gradient of inputs 1"]
        return named | dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))


def at_once(operands: torch.dtype = torch.float32) -> Callable[..., Any]:
    return partial(gpu_recurrence.unroll_both, operands=operands)


def compare(name: str, option: str, shape: tuple[int, ...]) -> dict[str, float]:
    """The largest differences from the plain loop in double precision, by name."""
    expected = Both(name, option, shape, torch.float64).results(partial(run_directions, plain))
    return errors(Both(name, option, shape).results(at_once()), expected)


OPTIONS = [
    ("plain", SMALL),
    ("zoneout-masks", ODD),
    ("zoneout-mean", ODD),
    ("lengths", TALL),
    ("normalised", SMALL),
    ("all", ODD),
]
CASES = [
    (name, *case)
    for name in NAMES
    for case in OPTIONS
    if name != persistent_tiles.RESETS or case[0] not in ("normalised", "all")
]


@pytest.mark.parametrize("late", [(), ("copies",)], ids=["at-once", "late-copies"])
@pytest.mark.parametrize(("name", "option", "shape"), CASES)
def test_both_directions_are_the_plain_loops(
    emulated: dict[str, Any], name: str, option: str, shape: tuple[int, ...], late: tuple[str, ...]
) -> None:
    """With operands in fp32, so that nothing is rounded."""
    emulated["late"] = late
    found = compare(name, option, shape)
    assert max(found.values()) < 3e-6, found


@pytest.mark.parametrize(("name", "option", "shape"), [("lstm", "lengths", TALL), ("gru", "all", ODD)])
def test_nothing_but_what_is_meant_to_is_rounded(
    emulated: dict[str, Any], name: str, option: str, shape: tuple[int, ...]
) -> None:
    found = Both(name, option, shape).results(at_once(torch.bfloat16))
    oracle = partial(run_directions, partial(rounded_unroll, operands=torch.bfloat16))
    for what, far in differences(found, Both(name, option, shape, torch.float64).results(oracle)).items():
        assert far.max() < 3e-3 and (far > 1e-4).double().mean() < 0.05, what


DESIGNS = [
    ("lstm", "lengths", (3, 66, 4, 192), Tiles(64, 16, 1, 1, 2, 4), Tiles(64, 16, 4, 1, 2, 4)),
    ("gru", "all", (2, 130, 4, 150), Tiles(128, 16, 1, 0, 2, 8), Tiles(128, 16, 4, 2, 2, 8)),
    ("gru-reset-before", "lengths", (3, 66, 4, 128), Tiles(64, 16, 1, ALL, 2, 4), Tiles(64, 16, 4, ALL, 2, 4)),
    ("rnn", "zoneout-masks", (3, 66, 4, 256), Tiles(64, 64, 1, 2, 3, 4), Tiles(64, 32, 1, 1, 2, 4)),
]


@pytest.mark.parametrize(("name", "option", "shape", "forward", "backward"), DESIGNS)
def test_work_may_be_divided_in_many_ways(
    emulated: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    option: str,
    shape: tuple[int, ...],
    forward: Tiles,
    backward: Tiles,
) -> None:
    use_tiles(monkeypatch, forward, backward)
    found = compare(name, option, shape)
    assert max(found.values()) < 3e-6, found


FAULTS: dict[str, Callable[[Any], Any]] = {
    "tile_number": lambda kernel: lambda frame: kernel(frame) * 0,
    "time_of": lambda kernel: lambda step, steps, frame: step,
    "index_before": lambda kernel: lambda time, frame: time,
    "index_after": lambda kernel: lambda time, frame: time + 1,
    "wait": lambda kernel: lambda counter, wanted, failed: 0,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_emulator_shows_faults(emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    use_tiles(monkeypatch, Tiles(64, 16, 1, ALL, 2, 4), Tiles(64, 16, 4, ALL, 2, 4))
    emulated["changed"] = {fault: FAULTS[fault]}
    assert not max(compare("lstm", "plain", (3, 4, 5, 128)).values()) < 3e-6


def test_directions_that_no_launch_can_hold_run_one_after_the_other(
    emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = TritonLayers(torch.float32)
    expected = Both("lstm", "all", ODD, torch.float64).results(partial(run_directions, plain))
    for processors, directions in ((132, [2, 2]), (7, [1, 1, 1, 1])):
        device = ways.Device(processors, (9, 0), None)
        monkeypatch.setattr(ways, "device_of", lambda _, device=device: device)
        emulated["launches"] = []
        found = errors(Both("lstm", "all", ODD).results(layers.run_directions), expected)
        assert max(found.values()) < 3e-6, found
        assert emulated.pop("launches") == directions


def test_a_stack_runs_each_of_its_layers_in_one_launch(emulated: dict[str, Any], assert_close: Close) -> None:
    first, second = Both("gru", "lengths", (3, 4, 74, 37)).cases
    layers = [[first.weights, second.weights], [second.weights, first.weights]]
    states = ((first.state, second.state),) * 2
    expected, last = run_stack(first.cell, layers, first.inputs, states, first.lengths)
    emulated["launches"] = []
    found, after = run_stack(
        first.cell, layers, first.inputs, states, first.lengths, run_layer=TritonLayers(torch.float32)
    )
    assert emulated["launches"] == [2, 2]
    assert_close(found, expected, "float32")
    assert_close(after[1][1].hidden, last[1][1].hidden, "float32")


def test_a_launch_has_a_multiprocessor_for_each_program_of_both() -> None:
    for batch, size in ((64, 512), (64, 1024), (20, 650), (128, 1024), (3, 37)):
        assert persistent_tiles.holds_both("lstm", 100, batch, size, 132)
        for tiles in persistent_tiles.tiles_of("lstm", batch, size, 132 // 2) or ():
            across, down = tiles.programs(batch, size)
            assert 2 * across * down <= 132
    assert not persistent_tiles.holds_both("lstm", 100, 128, 2048, 132)
    assert persistent_tiles.holds_both("rnn", 100, 64, 2048, 132)
    assert not persistent_tiles.holds_both("rnn", 100, 128, 2048, 132), "it spills registers"
    assert not persistent_tiles.holds_both("lstm", 100_000, 128, 1024, 132), "addresses are of 32 bits"


def test_without_a_gradient_nothing_else_changes(emulated: dict[str, Any]) -> None:
    first, second = Both("lstm", "zoneout-masks", ODD).cases
    arguments = first.cell, [first.weights, second.weights], first.inputs, [first.state, second.state]
    settings = {"zoneout": 0.3, "masks": [first.settings["masks"], second.settings["masks"]]}
    with torch.no_grad():
        without, _ = at_once(torch.float16)(*arguments, **settings)
    outputs, _ = at_once(torch.float16)(*arguments, **settings)
    assert not without.requires_grad and torch.equal(without, outputs.detach())


def test_nothing_waits_for_the_device(emulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    monkeypatch.setattr(persistent_recurrence, "raise_if_stuck", lambda: None)
    both = Both("gru", "all", ODD)
    with NoWaiting():
        both.results(at_once(torch.bfloat16))
