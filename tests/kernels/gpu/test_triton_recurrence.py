"""Triton's kernels without a GPU: what they compute, under its interpreter, and what they compile to.

The interpreter is switched on when kernels are defined, so it has a process of its own. Compiled is for a driver that
is not there: by the way that a launch takes, up to the launch. What registers and memory a kernel uses is read from its
machine code.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.kernels.gpu import recurrence as gpu_recurrence

ROOT = Path(__file__).parents[3]
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}  # bytes that a program may have, by compute capability

# way, cell, normalised, H, type of the operands, compute capability; the last ones only where all are asked for
FEW = [
    ("column", "lstm", False, 128, torch.bfloat16, 80),
    ("grid", "lstm", False, 512, torch.bfloat16, 90),
    ("steps", "lstm", False, 1024, torch.float32, 80),
    ("steps", "gru", False, 650, torch.bfloat16, 100),
]
MANY = [
    *((None, name, normalised, size, kind, capability)
      for name in ("rnn", "lstm", "gru", "gru-reset-before")
      for normalised in (False, True)
      for size in (64, 128, 256, 512, 650, 1024)
      for kind in (torch.bfloat16, torch.float32)
      for capability in (80, 90, 100)),
]  # fmt: skip


def run_interpreted(name: str) -> None:
    """Run a file of tests with Triton's interpreter."""
    of_triton = "ignore:Conversion of an array:DeprecationWarning"  # which the interpreter of 3.6 causes in NumPy
    options = ["-q", "-p", "no:cacheprovider", "-W", of_triton]
    program = [sys.executable, "-m", "pytest", *options, str(Path(__file__).parent / name)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_kernels_under_the_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    run_interpreted("interpreted_recurrence.py")


class Driver:
    """What Triton asks of a driver before a launch."""

    capability = 80

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, Any]]]:
    """`compiled(capability, run)`: the kernels that `run` would launch, compiled for that compute capability."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter compiles nothing")
    from nlpseq.kernels.gpu import launch as gpu_launch
    from nlpseq.kernels.gpu import scan as gpu_scan

    driver = Driver()
    made: list[tuple[str, Any]] = []

    def compile_only(kernel: Any, how: Any, *arguments: Any) -> None:
        grid, options = (how.programs, how.options) if isinstance(how, gpu_launch.Plan) else (how, {"num_warps": 4})
        done = kernel.warmup(*arguments, grid=grid, enable_fp_fusion=True, **options)
        if all(done is not other for _, other in made):
            made.append((kernel.fn.__name__, done))

    for module in (gpu_launch, gpu_scan):
        monkeypatch.setattr(module, "launch", compile_only)
    monkeypatch.setattr(gpu_launch, "watch", lambda signal: None)
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)

    def run(capability: int, body: Callable[[], object]) -> list[tuple[str, Any]]:
        driver.capability = capability
        made.clear()
        body()
        return list(made)

    return run


def resources(kernel: Any, folder: Path) -> dict[str, int]:
    """Registers, and bytes of local memory and of the stack, that a compiled kernel uses."""
    import triton

    path = folder / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    reader = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    shown = subprocess.run([reader, "--dump-resource-usage", path], capture_output=True, text=True, check=True).stdout
    line = next(line for line in reversed(shown.splitlines()) if "REG:" in line)
    fields = dict(part.split(":") for part in line.split() if part.count(":") == 1)
    return {name: int(fields[name]) for name in ("REG", "STACK", "LOCAL")}


def run_layer(way: str | None, name: str, normalised: bool, size: int, operands: torch.dtype) -> None:
    """A layer forwards and backwards, with zoneout and lengths."""
    cell = CELLS[name]
    width = cell.gates * size

    def draw(*sizes: int) -> torch.Tensor:
        return torch.zeros(sizes, requires_grad=True)

    gain = draw(width) if normalised else None
    weights = LayerWeights(None, draw(width, size), None, draw(width), None, gain)
    state = cell.state(*(draw(16, size) for _ in cell.state._fields))  # type: ignore[attr-defined]
    outputs, last = gpu_recurrence.unroll(
        cell, weights, draw(2, 16, width), state, torch.full((16,), 2), zoneout=0.1, operands=operands, way=way
    )
    sum(value.sum() for value in (outputs, *last)).backward()  # type: ignore[union-attr]


def check(compiled: Any, folder: Path, case: tuple[Any, ...]) -> None:
    *layer, capability = case
    kernels = compiled(capability, lambda: run_layer(*layer))
    assert kernels
    for name, kernel in kernels:
        used = resources(kernel, folder)
        assert used["STACK"] == used["LOCAL"] == 0, f"{name} spills: {used}"
        assert kernel.metadata.shared <= SHARED[capability], f"{name} wants {kernel.metadata.shared} bytes"


@pytest.mark.parametrize("case", FEW, ids=lambda case: "-".join(map(str, case)))
def test_kernels_compile_and_keep_to_registers(compiled: Any, tmp_path: Path, case: tuple[Any, ...]) -> None:
    check(compiled, tmp_path, case)


@pytest.mark.skipif("NLPSEQ_EVERY_KERNEL" not in os.environ, reason="set NLPSEQ_EVERY_KERNEL=1: takes many minutes")
@pytest.mark.parametrize("case", MANY, ids=lambda case: "-".join(map(str, case)))
def test_every_kernel_compiles_and_keeps_to_registers(compiled: Any, tmp_path: Path, case: tuple[Any, ...]) -> None:
    check(compiled, tmp_path, case)


def test_scan_compiles_and_keeps_to_registers(compiled: Any, tmp_path: Path) -> None:
    from nlpseq.kernels.gpu.scan import scan

    a, b, first = (torch.zeros(sizes, requires_grad=True) for sizes in ((100, 4, 50), (100, 4, 50), (4, 50)))
    kernels = compiled(90, lambda: scan(a, b, first).sum().backward())
    assert {name for name, _ in kernels} == {"chunk_ends", "run_chunks"}
    assert all(resources(kernel, tmp_path)["STACK"] == 0 for _, kernel in kernels)


def test_programs_that_wait_are_launched_together(compiled: Any) -> None:
    """Only a cooperative launch promises that all of them run at once; counting is a release and an acquire."""
    made = compiled(80, lambda: run_layer("grid", "rnn", False, 128, torch.bfloat16))
    assert all(kernel.metadata.launch_cooperative_grid for _, kernel in made)
    text = dict(made)["steps_forward"].asm["ptx"]
    assert re.search(r"(atom|red)\S*\.release\.", text) and re.search(r"(atom|ld)\S*\.acquire\.", text)


def test_the_reason_why_there_is_no_gpu_is_said() -> None:
    reason = gpu_recurrence.unavailable()
    if torch.cuda.is_available():
        assert reason is None or "compiler" in reason or "Triton" in reason or "older" in reason
    else:
        assert reason in ("Triton is not installed", "there is no GPU that torch can use")


def test_nothing_imports_triton_before_it_is_needed() -> None:
    program = "import sys, nlpseq.kernels.gpu.recurrence as t; t.unavailable(); print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False", "and torch does not either"
