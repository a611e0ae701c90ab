"""Chooses the kernel, the device and the precision, with the reason in words.

Only this file decides the device: parameters are created on it, and everything computed from them stays there. An
explicit request is met or refused with the reason. `auto` chooses, and the choice is shown. It chooses a GPU if there
is one that can run our kernels. It chooses bf16 only on hardware that multiplies it, which GPUs and processors with AMX
or AVX512-BF16 do; elsewhere bf16 products are computed in 32 bits, at the speed of fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nlpseq.cells import Cell, Unroll, run_directions
from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import State
from nlpseq.device import need_gpu
from nlpseq.errors import BackendError
from nlpseq.kernels import torch_layers
from nlpseq.kernels.cpu import compiled, eager, recurrence
from nlpseq.kernels.cpu.pointwise import POINTWISE
from nlpseq.kernels.gpu import parallel as gpu_parallel
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.gpu.cache import ensure_cache
from nlpseq.native.extension import Unavailable
from nlpseq.native.recurrence import CELLS, ROUNDED, bf16_products

CPU = torch.device("cpu")
ON_GPU = ("auto", "triton", "torch")  # backends


@dataclass(frozen=True)
class Choice:
    """The function that runs a layer over time, the type of its products' operands, and the reason in words."""

    run_layer: Unroll
    operands: torch.dtype
    reason: str
    device: torch.device = CPU
    exact: Unroll = recurrence.unroll  # the same device's layers in fp32, for final scores


@contextmanager
def rounded_products(choice: Choice) -> Iterator[None]:
    """Inside, torch may round the operands of its own fp32 products as far as the fastest instructions for them do.

    That is tf32 on a GPU, and bf16 on a CPU. Without effect if layers do not round theirs.
    """
    if choice.operands == torch.float32:
        yield
        return
    previous = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if choice.device.type == "cuda" else "medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(previous)


def has_fast_bf16() -> bool:
    """Whether bf16 matrices are multiplied in hardware: the processor can do it, and no setting forbids it.

    Raises BackendError if NLPSEQ_INSTRUCTIONS asks for instructions that this processor does not have.
    """
    if not (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return False
    try:
        return bf16_products() != ROUNDED
    except Unavailable:
        return True


def find_device(device: str, backend: str = "auto", cell: str | None = None) -> torch.device:
    """The device for a request: `auto`, `cpu` or `cuda`. `auto` is a GPU only if our kernels for it run the cell.

    Raises BackendError if a GPU was asked for and torch cannot use one.
    """
    if device == "cuda":
        need_gpu()
    if device == "auto":
        has_kernels = backend in ON_GPU and why_not_triton(cell) is None
        device = "cuda" if has_kernels else "cpu"
    return torch.device(device)


def why_not_triton(cell: str | None = None) -> str | None:
    """The reason why Triton's kernels cannot run a cell, or cannot run at all, or None."""
    reason = gpu_recurrence.unavailable()
    if reason is None and cell is not None and not (cell in gpu_parallel.FACTORS or gpu_recurrence.has_cell(cell)):
        return f"no kernel for {cell}"
    return reason


def choose(
    backend: str,
    precision: str,
    device: str,
    cell: str | None = None,
    *,
    layer_normalisation: bool = False,
    zoneout: float = 0.0,
) -> Choice:
    """The kernel for a request: for a cell and these options of its layers, or for any cell.

    Raises BackendError if the request cannot be met here, with a hint that can.
    """
    if device == "cuda" and backend not in ON_GPU:
        raise BackendError("backend", f"{backend} runs on the CPU, but the device is cuda", "--backend auto")
    chosen = find_device(device, backend, cell)
    if cell is not None:
        refuse(backend, cell, layer_normalisation=layer_normalisation, zoneout=zoneout)
    if chosen.type == "cuda":
        torch_runs = cell is None or torch_layers.why_not(cell, layer_normalisation, zoneout) is None
        return _choose_on_gpu(backend, precision, chosen, cell, torch_runs=torch_runs)
    return _choose_on_cpu(backend, precision, cell)


def _choose_on_cpu(backend: str, precision: str, cell: str | None) -> Choice:
    if backend == "triton":
        raise BackendError("backend", "triton runs on a GPU, but the device is the CPU", "--backend auto")
    if precision == "fp16":
        raise BackendError("precision", "fp16 products need a GPU, but the device is the CPU", "--precision auto")
    if backend == "plain":
        return _choose_plain(precision, "as asked", CPU, "--backend auto")
    reason = None if cell is None or backend != "auto" else recurrence.why_plain(cell)
    if reason:
        return _choose_plain(precision, reason, CPU)
    fast = has_fast_bf16()
    operands = torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32
    why = "as asked" if precision != "auto" else "in hardware" if fast else "no bf16 in hardware"
    name = "bf16" if operands == torch.bfloat16 else "fp32"
    if backend == "torch":
        exact = torch_layers.TorchLayers(torch.float32)
        return Choice(torch_layers.TorchLayers(operands), operands, f"torch's operators, {name} ({why})", exact=exact)
    run_layer, loop = _loop(backend)
    run = partial(run_layer, operands=operands)
    return Choice(run, operands, f"{loop}, {name} products ({why})", exact=run_layer)


def _choose_plain(precision: str, reason: str, device: torch.device, hint: str = "--precision auto") -> Choice:
    """The plain loop. Raises BackendError if a precision other than fp32 was asked for."""
    if precision not in ("auto", "fp32"):
        raise BackendError("precision", f"the plain loop runs in fp32 only ({reason})", hint)
    return Choice(plain_unroll, torch.float32, f"plain loop, fp32: {reason}", device, plain_unroll)


def _choose_on_gpu(backend: str, precision: str, device: torch.device, cell: str | None, *, torch_runs: bool) -> Choice:
    """Triton's kernels, or torch's operators if they were asked for or Triton's cannot run. Raises BackendError.

    The plain loop runs a layer that neither can run.
    """
    name = "bf16" if precision == "auto" else precision
    operands = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    reason = why_not_triton(cell)
    if backend == "triton" and reason:
        hint = "--backend torch" if torch_runs else "--backend auto"
        raise BackendError("backend", f"triton cannot run here: {reason}", hint)
    if backend == "auto" and reason and not torch_runs:
        return _choose_plain(precision, reason, device)
    why = "as asked" if precision != "auto" else "the GPU has them"
    run: Callable[[torch.dtype], Unroll]
    if backend == "torch" or reason:
        because = f"; no Triton: {reason}" if backend == "auto" else ""
        kernels, run = f"torch's operators, {name} ({why}){because}", torch_layers.TorchLayers
    else:
        ensure_cache()
        products = gpu_recurrence.describe_fp32() if operands == torch.float32 else f"{name} products"
        kernels, run = f"Triton's kernels, {products} ({why})", TritonLayers
    return Choice(run(operands), operands, kernels, device, run(torch.float32))


@dataclass(frozen=True)
class TritonLayers:
    """Runs a layer with our kernels for GPUs; the type of the products' operands is fixed.

    The plain loop runs a cell without such a kernel, in fp32.
    """

    operands: torch.dtype

    def __call__(self, cell: Cell, *arguments: Any, **settings: Any) -> tuple[Tensor, State]:
        """As `nlpseq.cells.unroll`."""
        if cell.name in gpu_parallel.FACTORS:
            return gpu_parallel.unroll(cell, *arguments, operands=self.operands, **settings)
        if gpu_recurrence.has_cell(cell.name):
            return gpu_recurrence.unroll(cell, *arguments, operands=self.operands, **settings)
        return plain_unroll(cell, *arguments, **settings)

    def run_directions(self, cell: Cell, *arguments: Any, **settings: Any) -> tuple[Tensor, list[State]]:
        """As `nlpseq.cells.run_directions`: both at once if one launch can hold them."""
        results = None
        if gpu_recurrence.has_cell(cell.name):
            results = gpu_recurrence.unroll_both(cell, *arguments, operands=self.operands, **settings)
        return results or run_directions(self, cell, *arguments, **settings)


def refuse(backend: str, cell: str, *, layer_normalisation: bool = False, zoneout: float = 0.0) -> None:
    """Raises BackendError if a requested backend does not have a layer's cell or option."""
    if backend == "torch":
        torch_layers.refuse(cell, layer_normalisation=layer_normalisation, zoneout=zoneout)
    cells = {"eager": POINTWISE, "native": CELLS}.get(backend)
    if cells is not None and cell not in cells:
        raise BackendError("backend", f"{backend} has no kernel for the cell {cell}", "--backend auto")


def _loop(backend: str) -> tuple[Unroll, str]:
    """Our loop on the CPU, and its description. Raises BackendError."""
    if backend == "native":
        reason = compiled.unavailable()
        if reason:
            raise BackendError("backend", f"native cannot run here: {reason}", "--backend auto")
        return compiled.unroll, compiled.describe()
    if backend == "eager":
        return eager.unroll, "eager loop"
    return recurrence.unroll, recurrence.describe()
