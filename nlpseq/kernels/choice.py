"""Which kernel runs, in which precision, and the reason in words.

An explicit request is met or refused with the reason; `auto` chooses, and what it chose is shown. bf16 is chosen only
where the processor multiplies it in hardware (AMX): elsewhere its products are made in 32 bits, at the speed of fp32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import Cell, State
from nlpseq.errors import BackendError
from nlpseq.kernels import eager_recurrence, native_recurrence, recurrence, torch_layers
from nlpseq.kernels.gpu import parallel as gpu_parallel
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.pointwise import POINTWISE
from nlpseq.models.stack import Unroll
from nlpseq.native.extension import Unavailable
from nlpseq.native.recurrence import has_tiles


@dataclass(frozen=True)
class Choice:
    """What runs a layer over time, the type of its products' operands, and why, in words."""

    run_layer: Unroll
    operands: torch.dtype
    reason: str


def has_fast_bf16() -> bool:
    """Whether bf16 matrices are multiplied in hardware: the processor can, and no setting keeps us from it.

    Raises BackendError where NLPSEQ_INSTRUCTIONS asks for what cannot be had.
    """
    if not torch.cpu._is_amx_tile_supported():
        return False
    try:
        return has_tiles()
    except Unavailable:
        return True


def choose(backend: str, precision: str, device: str) -> Choice:
    """The kernel for a request.

    Raises BackendError if what was asked for cannot run here, with what would.
    """
    if device == "cuda":
        return _choose_on_gpu(backend, precision)
    if backend == "triton":
        raise BackendError("--backend", "triton runs on a GPU, and the device is the CPU", "--backend auto")
    if precision == "fp16":
        raise BackendError(
            "--precision", "fp16 products need a GPU, and this version runs on the CPU", "--precision auto"
        )
    if precision == "bf16" and backend == "plain":
        raise BackendError("--precision", "the plain loop runs in fp32 only", "--backend auto")
    if backend == "plain":
        return Choice(plain_unroll, torch.float32, "plain loop, fp32: as asked")
    fast = has_fast_bf16()
    operands = torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32
    why = "as asked" if precision != "auto" else "AMX" if fast else "no AMX"
    name = "bf16" if operands == torch.bfloat16 else "fp32"
    if backend == "torch":
        return Choice(torch_layers.TorchLayers(operands), operands, f"torch's operators, {name} ({why})")
    run_layer, loop = _loop(backend)
    return Choice(partial(run_layer, operands=operands), operands, f"{loop}, {name} products ({why})")


def _choose_on_gpu(backend: str, precision: str) -> Choice:
    """Triton's kernels, or torch's operators where they were asked for or Triton's cannot run. Raises BackendError."""
    if backend not in ("auto", "triton", "torch"):
        raise BackendError("--backend", f"{backend} runs on the CPU, and the device is cuda", "--backend auto")
    name = "bf16" if precision == "auto" else precision
    operands = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    reason = gpu_recurrence.unavailable()
    if backend == "triton" and reason:
        raise BackendError("--backend", f"triton cannot run here: {reason}", "--backend torch")
    why = "as asked" if precision != "auto" else "the GPU has them"
    if backend == "torch" or reason:
        because = f"; no Triton: {reason}" if backend == "auto" else ""
        return Choice(torch_layers.TorchLayers(operands), operands, f"torch's operators, {name} ({why}){because}")
    run_layer = partial(_on_gpu, operands=operands)
    return Choice(run_layer, operands, f"Triton's kernels, {name} products ({why}); ways by size, not yet measured")


def _on_gpu(cell: Cell, *arguments: Any, **settings: Any) -> tuple[Tensor, State]:
    if cell.parallel:
        return gpu_parallel.unroll(cell, *arguments, **settings)
    return gpu_recurrence.unroll(cell, *arguments, **settings)


def refuse(backend: str, cell: str, *, layer_normalisation: bool = False, zoneout: float = 0.0) -> None:
    """Raises BackendError where a backend that was asked for lacks a layer's cell or option."""
    if backend == "torch":
        torch_layers.refuse(cell, layer_normalisation=layer_normalisation, zoneout=zoneout)
    if backend == "eager" and cell not in POINTWISE:
        raise BackendError("--backend", f"the eager loop has no cell {cell}", "--backend auto")


def _loop(backend: str) -> tuple[Unroll, str]:
    """Our loop on the CPU, and its description. Raises BackendError."""
    if backend == "native":
        reason = native_recurrence.unavailable()
        if reason:
            raise BackendError("--backend", f"native cannot run here: {reason}", "--backend auto")
        return native_recurrence.unroll, native_recurrence.describe()
    if backend == "eager":
        return eager_recurrence.unroll, "eager loop"
    return recurrence.unroll, recurrence.describe()
