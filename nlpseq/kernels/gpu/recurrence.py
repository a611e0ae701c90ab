"""A layer over time on a GPU: chooses the kernels and calls them.

Shapes do not depend on lengths, and nothing waits for the device, so a whole training step can be recorded as a CUDA
graph. The price is that padding is computed. Triton also needs a C compiler on the user's machine for its launcher, and
some seconds of compilation at the first use of each kernel.

This file imports Triton only when a layer is run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import layer, ways
from nlpseq.kernels.gpu.arguments import Settings

OPERANDS = (torch.float32, torch.bfloat16, torch.float16)


@cache
def unavailable() -> str | None:
    """The reason why Triton's kernels cannot run here, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the GPU is older than compute capability 8.0"
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
        return "there is no C compiler, which Triton needs for its launcher"
    return None


def describe_fp32() -> str:
    """How fp32 products are computed, in words; torch's setting of their precision decides."""
    if _precision() == "tf32x3":
        return "fp32 products (exact: tf32 three times)"
    return "tf32 products"


def _precision() -> str:
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def settings_of(
    cell: str, *, normalised: bool, reverse: bool, zoneout: float, masks: bool, lengths: bool, training: bool
) -> Settings:
    """The settings that are fixed when a kernel is compiled, the same for all ways. Imports Triton."""
    from nlpseq.kernels.gpu.pointwise import POINTWISE

    pointwise = POINTWISE[cell]
    return Settings(
        gates=pointwise.gates,
        saved=pointwise.saved,
        resets=pointwise.resets,
        memory=pointwise.memory,
        additive=pointwise.additive,
        normalised=normalised,
        zoneout=0 if not zoneout else 2 if masks else 1,
        reverse=reverse,
        padded=lengths,
        training=training,
        precision=_precision(),
    )


def has_cell(cell: str) -> bool:
    """Whether there is a kernel for a cell, by its name. Imports Triton."""
    from nlpseq.kernels.gpu.pointwise import POINTWISE

    return cell in POINTWISE


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: Tensor | None = None,
    operands: torch.dtype | None = None,
    way: str | None = None,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, faster; `operands` is the type of the products' operands, by default the state's.

    `way` is one of `ways.WAYS`, by default chosen by size. Lengths should be on the inputs' device, so that the host
    does not wait for a copy. Raises BackendError for a cell, a type or a way that the kernels do not have.
    """
    operands = operands or state.hidden.dtype
    if state.hidden.dtype != torch.float32 or operands not in OPERANDS:
        raise BackendError("precision", f"the GPU's kernels keep the state in fp32, not {state.hidden.dtype}", "fp32")
    lengths = None if lengths is None else lengths.to(inputs.device)
    request = _request(cell, weights, inputs, state, lengths, masks, zoneout, reverse, operands)
    device = ways.device_of(inputs.device)
    chosen = ways.chosen(way, request, device)
    if chosen == "persistent":
        from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

        if weights.weight_ih is not None and weights.gain_ih is not None:
            inputs, weights = _normalised_inputs(weights, inputs, operands), _without_inputs(weights)
        return persistent_recurrence.unroll(
            cell, weights, inputs, state, lengths, masks, zoneout, request, device.processors
        )
    loop = layer.Loop(
        cell.name, chosen, request.steps, request.batch, zoneout, operands, torch.is_grad_enabled(), request.settings
    )
    return layer.unroll(loop, cell, weights, inputs, state, lengths, masks)


def unroll_both(
    cell: Cell,
    weights: Sequence[LayerWeights],
    inputs: Tensor,
    states: Sequence[State],
    lengths: Tensor | None = None,
    *,
    zoneout: float = 0.0,
    masks: Sequence[Tensor | None] = (None, None),
    operands: torch.dtype | None = None,
) -> tuple[Tensor, list[State]] | None:
    """Run both directions of a layer at once: outputs [T, B, 2H] and both last states.

    None if one launch cannot run both; then `unroll` must run each.
    """
    first, state, mask = weights[0], states[0], masks[0]
    operands = operands or state.hidden.dtype
    if first.weight_ih is None or state.hidden.dtype != torch.float32:
        return None
    lengths = None if lengths is None else lengths.to(inputs.device)
    request = _request(cell, first, inputs, state, lengths, mask, zoneout, False, operands)
    device = ways.device_of(inputs.device)
    if not ways.both_at_once(request, device):
        return None
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    if first.gain_ih is not None:
        inputs = torch.cat([_normalised_inputs(direction, inputs, operands) for direction in weights], -1)
        weights = [_without_inputs(direction) for direction in weights]
    joined = None if mask is None else torch.cat([value for value in masks if value is not None], -1)
    return persistent_recurrence.unroll_both(
        cell, weights, inputs, states, lengths, joined, zoneout, request, device.processors
    )


def _request(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None,
    masks: Tensor | None,
    zoneout: float,
    reverse: bool,
    operands: torch.dtype,
) -> ways.Request:
    settings = settings_of(
        cell.name,
        normalised=weights.gain_hh is not None,
        reverse=reverse,
        zoneout=zoneout,
        masks=masks is not None,
        lengths=lengths is not None,
        training=torch.is_grad_enabled(),
    )
    steps, batch = inputs.shape[:2]
    return ways.Request(cell.name, settings, steps, batch, state.hidden.shape[1], operands)


def _normalised_inputs(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product with its bias, for a kernel that takes the product."""
    assert weights.bias_ih is not None
    product: Tensor = layer.project_inputs(weights, inputs, operands) + weights.bias_ih
    return product


def _without_inputs(weights: LayerWeights) -> LayerWeights:
    return weights._replace(weight_ih=None, bias_ih=None, gain_ih=None)
