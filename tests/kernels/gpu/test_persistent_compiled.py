"""The persistent kernels compiled for Hopper without one: nothing spills, and shared memory is enough.

The host's own code runs up to the launch. A layer has one time step, because a kernel's code does not depend on their
number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.gpu import ways
from nlpseq.kernels.gpu.persistent.tiles import holds_both
from tests.kernels.gpu.test_triton_recurrence import SHARED, Driver, resources

SHAPES = [
    (20, 650),
    (64, 256),
    (32, 512),
    (64, 1024),
    (128, 1024),
    (128, 2048),
    (256, 512),
    (512, 512),
    (8, 64),
]  # B, H
PLAIN: dict[str, Any] = {}
EVERYTHING: dict[str, Any] = {"zoneout": 0.1, "masks": True, "lengths": True, "reverse": True}
NORMALISED: dict[str, Any] = {"normalised": True}
BOTH: dict[str, Any] = {"both": True}
OPTIONS = [PLAIN, EVERYTHING, NORMALISED, {"zoneout": 0.1}, {"lengths": True}, {"reverse": True}, {"training": False}]
OPTIONS += [BOTH, {**EVERYTHING, **BOTH}, {**NORMALISED, **BOTH}]

# cell, B, H, options, type of the operands; the last ones only where all are asked for
FEW = [
    ("lstm", 128, 2048, EVERYTHING, torch.bfloat16),
    ("gru", 64, 256, PLAIN, torch.float16),
    ("rnn", 20, 650, EVERYTHING, torch.bfloat16),
    ("gru-reset-before", 64, 1024, PLAIN, torch.bfloat16),
    ("lstm", 128, 1024, {**EVERYTHING, **NORMALISED}, torch.bfloat16),
    ("lstm", 64, 512, BOTH, torch.bfloat16),
    ("gru", 64, 1024, {**EVERYTHING, **BOTH}, torch.bfloat16),
]
MANY = [
    (cell, *shape, options, kind)
    for cell in ("lstm", "gru", "gru-reset-before", "rnn", "rnn-relu", "rnn-sigmoid")
    for shape in SHAPES
    for options in OPTIONS
    for kind in (torch.bfloat16, torch.float16)
    if cell in ("lstm", "gru", "rnn") or options in (PLAIN, EVERYTHING, BOTH)
    if "both" not in options or holds_both(cell, 1, *shape, 132)
    if cell != "gru-reset-before" or shape[1] <= 1024
]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[Any]]:
    """`compiled(run)`: the kernels that `run` would launch."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter compiles nothing")
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    made: list[Any] = []
    driver = Driver()
    driver.capability = 90

    def compile_only(fixed: Any, programs: Any, tensors: Any, numbers: Any) -> None:
        made.append(persistent_recurrence.compile_kernel(fixed, programs, (*tensors, *numbers)))

    monkeypatch.setattr(persistent_recurrence, "launch", compile_only)
    monkeypatch.setattr(ways, "device_of", lambda device: ways.Device(132, (9, 0), None))
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)

    def run(body: Callable[[], object]) -> list[Any]:
        made.clear()
        body()
        return list(made)

    return run


def run_layer(name: str, batch: int, size: int, options: dict[str, Any], operands: torch.dtype) -> None:
    """A layer forwards, and backwards if it is for training; in both directions at once if they are asked for."""
    cell, training = CELLS[name], options.get("training", True)
    width = cell.gates * size

    def draw(*sizes: int) -> torch.Tensor:
        return torch.zeros(sizes, requires_grad=training)

    def weights(inputs: int | None) -> LayerWeights:
        gain = draw(width) if "normalised" in options else None
        given = (None, None, None) if inputs is None else (draw(width, inputs), draw(width), gain)
        return LayerWeights(given[0], draw(width, size), given[1], draw(width), given[2], gain)

    def state() -> Any:
        return cell.state(*(draw(batch, size) for _ in cell.state._fields))  # type: ignore[attr-defined]

    masks = torch.zeros(1, batch, size, dtype=torch.bool) if "masks" in options else None
    lengths = torch.ones(batch, dtype=torch.long) if "lengths" in options else None
    if "both" in options:
        made = gpu_recurrence.unroll_both(
            cell, [weights(8), weights(8)], draw(1, batch, 8), [state(), state()], lengths, operands=operands,
            masks=[masks, masks], zoneout=options.get("zoneout", 0.0),
        )  # fmt: skip
        assert made is not None
        outputs = made[0]
    else:
        outputs, _ = gpu_recurrence.unroll(
            cell, weights(None), draw(1, batch, width), state(), lengths, operands=operands, way="persistent",
            masks=masks, zoneout=options.get("zoneout", 0.0), reverse=options.get("reverse", False),
        )  # fmt: skip
    if training:
        outputs.sum().backward()


def check(compiled: Any, folder: Path, case: tuple[Any, ...]) -> list[Any]:
    kernels = compiled(lambda: run_layer(*case))
    assert len(kernels) == 1 + case[3].get("training", True)
    for kernel in kernels:
        used = resources(kernel, folder)
        assert used["STACK"] == used["LOCAL"] == 0, f"{kernel.name} spills: {used}"
        assert kernel.metadata.shared <= SHARED[90], f"{kernel.name} wants {kernel.metadata.shared} bytes"
        assert kernel.name.startswith("both" if "both" in case[3] else "persistent")
    return list(kernels)


@pytest.mark.parametrize("case", FEW, ids=lambda case: "-".join(map(str, case[:3])))
def test_kernels_compile_and_keep_to_registers(compiled: Any, tmp_path: Path, case: tuple[Any, ...]) -> None:
    for kernel in check(compiled, tmp_path, case):
        text = kernel.asm["ptx"]
        assert kernel.metadata.launch_cooperative_grid, "only that promises that all programs run at once"
        assert re.search(r"red\.release\.gpu", text) and re.search(r"ld\.acquire\.gpu", text)
        assert "wgmma.mma_async" in text and "cp.async.cg.shared.global" in text


@pytest.mark.skipif("NLPSEQ_EVERY_KERNEL" not in os.environ, reason="set NLPSEQ_EVERY_KERNEL=1: takes many minutes")
@pytest.mark.parametrize("case", MANY, ids=lambda case: "-".join(map(str, case)))
def test_every_kernel_compiles_and_keeps_to_registers(compiled: Any, tmp_path: Path, case: tuple[Any, ...]) -> None:
    check(compiled, tmp_path, case)
