"""Which kernel runs, on which device, in which precision, and the reason in words.

The device is decided here and nowhere else: parameters are made on it, and what is computed from them stays there.
An explicit request is met or refused with the reason; `auto` chooses, and what it chose is shown. It takes a GPU that
can run our kernels, if there is one. bf16 is chosen only if it is multiplied in hardware, as GPUs and processors with
AMX do: elsewhere its products are made in 32 bits, at the speed of fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import Cell, State
from nlpseq.errors import BackendError
from nlpseq.kernels import torch_layers
from nlpseq.kernels.cpu import compiled as native_recurrence
from nlpseq.kernels.cpu import eager as eager_recurrence
from nlpseq.kernels.cpu import recurrence
from nlpseq.kernels.cpu.pointwise import POINTWISE
from nlpseq.kernels.gpu import parallel as gpu_parallel
from nlpseq.kernels.gpu import recurrence as gpu_recurrence
from nlpseq.kernels.gpu.cache import ensure_cache
from nlpseq.models.device import need_gpu
from nlpseq.models.stack import Unroll, run_directions
from nlpseq.native.extension import Unavailable
from nlpseq.native.recurrence import has_tiles

CPU = torch.device("cpu")
ON_GPU = ("auto", "triton", "torch")  # backends


@dataclass(frozen=True)
class Choice:
    """What runs a layer over time, the type of its products' operands, and why, in words."""

    run_layer: Unroll
    operands: torch.dtype
    reason: str
    device: torch.device = CPU
    exact: Unroll = recurrence.unroll  # the same device's layers in fp32, for final scores


@contextmanager
def rounded_products(choice: Choice) -> Iterator[None]:
    """Inside, a GPU rounds the operands of torch's own products in fp32 to tf32, if the layers' are rounded further."""
    if choice.device.type != "cuda" or choice.operands == torch.float32:
        yield
        return
    held = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(held)


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


def find_device(device: str, backend: str = "auto") -> torch.device:
    """The device for a request: `auto`, `cpu` or `cuda`.

    Raises BackendError if a GPU was asked for and torch can use none.
    """
    if device == "cuda":
        need_gpu()
    if device == "auto":
        wanted = backend in ON_GPU and gpu_recurrence.unavailable() is None
        device = "cuda" if wanted else "cpu"
    return torch.device(device)


def choose(backend: str, precision: str, device: str) -> Choice:
    """The kernel for a request.

    Raises BackendError if what was asked for cannot run here, with what would.
    """
    if device == "cuda" and backend not in ON_GPU:
        raise BackendError("--backend", f"{backend} runs on the CPU, and the device is cuda", "--backend auto")
    place = find_device(device, backend)
    if place.type == "cuda":
        return _choose_on_gpu(backend, precision, place)
    if backend == "triton":
        raise BackendError("--backend", "triton runs on a GPU, and the device is the CPU", "--backend auto")
    if precision == "fp16":
        raise BackendError("--precision", "fp16 products need a GPU, and the device is the CPU", "--precision auto")
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


def _choose_on_gpu(backend: str, precision: str, device: torch.device) -> Choice:
    """Triton's kernels, or torch's operators if they were asked for or Triton's cannot run. Raises BackendError."""
    name = "bf16" if precision == "auto" else precision
    operands = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    reason = gpu_recurrence.unavailable()
    if backend == "triton" and reason:
        raise BackendError("--backend", f"triton cannot run here: {reason}", "--backend torch")
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
    """A layer by our kernels for GPUs, with the type of its products' operands fixed."""

    operands: torch.dtype

    def __call__(self, cell: Cell, *arguments: Any, **settings: Any) -> tuple[Tensor, State]:
        """As `nlpseq.cells.unroll`."""
        run = gpu_parallel.unroll if cell.parallel else gpu_recurrence.unroll
        return run(cell, *arguments, operands=self.operands, **settings)

    def run_directions(self, cell: Cell, *arguments: Any, **settings: Any) -> tuple[Tensor, list[State]]:
        """As `nlpseq.models.stack.run_directions`: both at once where one launch can hold them."""
        made = None
        if not cell.parallel:
            made = gpu_recurrence.unroll_both(cell, *arguments, operands=self.operands, **settings)
        return made or run_directions(self, cell, *arguments, **settings)


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
