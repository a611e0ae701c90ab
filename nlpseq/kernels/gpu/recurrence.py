"""A layer over time on a GPU, under autograd.

The input's product is made outside, for all steps at once, and the weights' gradients are each one product over all
steps after the backward loop; between them the kernels do everything, with the state, all sums and all gates in fp32
whatever the type of the products' operands. Shapes are the same for all lengths, and nothing waits for the device: so
a whole training step can be recorded as a CUDA graph. The price is that padding has its places in memory and takes
part in the products over all steps, as zeros. A C compiler on the user's machine, which Triton wants for its launcher,
and some seconds of compilation at the first use of each kernel are another.

Nothing here imports Triton before a layer is run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.errors import BackendError
from nlpseq.kernels.cpu.eager import EPSILON
from nlpseq.kernels.gpu import ways
from nlpseq.kernels.gpu.arguments import Given, Room, Sent, Settings, Sizes
from nlpseq.kernels.gpu.products import multiply_in_full, project

OPERANDS = (torch.float32, torch.bfloat16, torch.float16)


@cache
def unavailable() -> str | None:
    """Why Triton's kernels cannot run here, or None."""
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
    """How products of fp32 are made, in words; torch's setting of their precision decides."""
    if _precision() == "tf32x3":
        return "fp32 products (exact: tf32 three times)"
    return "tf32 products"


def _precision() -> str:
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@dataclass(frozen=True, eq=False)
class Loop:
    """How a recurrence runs, apart from its tensors."""

    cell: str
    way: str
    steps: int
    batch: int
    zoneout: float
    operands: torch.dtype
    gradients: bool  # whether any may be asked for
    settings: Settings  # for training


def settings_of(
    cell: str, *, normalised: bool, reverse: bool, zoneout: float, masks: bool, lengths: bool, training: bool
) -> Settings:
    """What is fixed when a kernel is compiled, whichever way it is. Imports Triton."""
    from nlpseq.kernels.gpu.pointwise import POINTWISE

    found = POINTWISE[cell]
    return Settings(
        gates=found.gates,
        saved=found.saved,
        resets=found.resets,
        memory=found.memory,
        additive=found.additive,
        normalised=normalised,
        zoneout=0 if not zoneout else 2 if masks else 1,
        reverse=reverse,
        padded=lengths,
        training=training,
        precision=_precision(),
    )


class _Recurrence(torch.autograd.Function):
    """The loop over time: from_input [N, G*H] and a state to hidden states [N, H] and the last state."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: Loop,
        masks: Tensor | None,  # [N, H]
        lengths: Tensor | None,  # [B]
        from_input: Tensor,
        input_bias: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        gain: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        from nlpseq.kernels.gpu import launch

        training = loop.gradients and any(ctx.needs_input_grad)
        memory = state[1] if len(state) > 1 else None
        operand = weight.to(loop.operands)
        given = Given(from_input, operand, input_bias, bias, gain, state[0], memory, masks, lengths)
        settings = replace(loop.settings, training=training)
        room = _room(given, settings)
        sizes = Sizes(loop.steps, loop.batch, weight.shape[1], float(loop.zoneout))
        launch.forward(loop.cell, loop.way, given, room, sizes, settings)
        if training:
            ctx.loop, ctx.settings, ctx.sizes = loop, settings, sizes
            ctx.save_for_backward(*given, *room)
        return tuple(value for value in room[:3] if value is not None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_results: Tensor) -> tuple[Any, ...]:
        from nlpseq.kernels.gpu import launch

        loop: Loop = ctx.loop
        settings: Settings = ctx.settings
        tensors = ctx.saved_tensors
        given, room = Given(*tensors[: len(Given._fields)]), Room(*tensors[len(Given._fields) :])
        sent = _sent(given, settings, grad_results)
        launch.backward(loop.cell, loop.way, given, room, sent, ctx.sizes, settings)
        grad_weight = _weight_gradient(loop, settings, given, room, sent)
        grad_gain = None if given.gain is None else (sent.product * room.normalised).sum(0)
        grad_bias = sent.product.sum(0)
        grad_input_bias = None
        if given.input_bias is not None:
            grad_input_bias = grad_bias if settings.additive else sent.from_input.sum(0)
        grad_input = sent.from_input.to(given.from_input.dtype)
        grads = [value for value in (sent.hidden, sent.memory) if value is not None]
        return (None, None, None, grad_input, grad_input_bias, grad_weight, grad_bias, grad_gain, *grads)


def _room(given: Given, settings: Settings) -> Room:
    """What the forward pass writes; without training that is the hidden states and the last state alone.

    The kernels write no padding: it stays zero.
    """
    count, width = given.from_input.shape
    like, size = given.first_hidden, given.first_hidden.shape[1]
    training = settings.training

    def make(wanted: bool, columns: int) -> Tensor | None:
        if not wanted:
            return None
        room: Tensor = like.new_zeros(count, columns) if settings.padded else like.new_empty(count, columns)
        return room

    return Room(
        outputs=make(True, size),
        last_hidden=like.clone(memory_format=torch.contiguous_format),
        last_memory=given.first_memory.clone(memory_format=torch.contiguous_format) if settings.memory else None,
        memories=make(training and settings.memory, size),
        saved=make(training, settings.saved * size),
        normalised=make(training and settings.normalised, width),
        deviations=make(training and settings.normalised, 2),
    )


def _sent(given: Given, settings: Settings, grads: tuple[Tensor, ...]) -> Sent:
    """Room for the gradients that the steps send out, and those that they start from."""
    outputs, *last = grads
    copies = [grad.clone(memory_format=torch.contiguous_format) for grad in last]
    make = torch.zeros_like if settings.padded else torch.empty_like  # the kernels write no padding
    from_input = make(given.from_input, dtype=torch.float32)
    product = from_input if settings.additive else make(from_input)
    bare = make(product) if settings.normalised else product
    return Sent(outputs.contiguous(), copies[0], copies[1] if settings.memory else None, from_input, product, bare)


def _hidden_before(loop: Loop, given: Given, outputs: Tensor) -> Tensor:
    """The hidden state before each step, [N, H]; before padding any."""
    states, first = outputs.view(loop.steps, loop.batch, -1), given.first_hidden[None]
    if not loop.settings.reverse:
        return torch.cat([first, states[:-1]]).flatten(0, 1)
    before = torch.cat([states[1:], first])
    if given.lengths is not None:
        begins = torch.arange(loop.steps, device=outputs.device)[:, None] == given.lengths[None, :] - 1
        before = torch.where(begins[:, :, None], first, before)
    return before.flatten(0, 1)


def _weight_gradient(loop: Loop, settings: Settings, given: Given, room: Room, sent: Sent) -> Tensor:
    """One product over all steps: gradients [N, G*H] and hidden states before each step [N, H] -> [G*H, H]."""
    before = _hidden_before(loop, given, room.outputs)
    grad: Tensor = sent.bare.to(loop.operands)
    if not settings.resets:
        return multiply_in_full(grad.t(), before.to(loop.operands))
    size = before.shape[1]
    held = room.saved[:, :size] * before
    head = multiply_in_full(grad[:, :-size].t(), before.to(loop.operands))
    return torch.cat([head, multiply_in_full(grad[:, -size:].t(), held.to(loop.operands))])


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

    `way` is one of `ways.WAYS`, by default the one that is chosen by size. Lengths are best on the inputs' device: the
    host waits for none of them. Raises BackendError for a cell, a type or a way that the kernels do not have.
    """
    operands = operands or state.hidden.dtype
    if state.hidden.dtype != torch.float32 or operands not in OPERANDS:
        raise BackendError("--precision", f"the GPU's kernels keep the state in fp32, not {state.hidden.dtype}", "fp32")
    lengths = None if lengths is None else lengths.to(inputs.device)
    request = _request(cell, weights, inputs, state, lengths, masks, zoneout, reverse, operands)
    device = ways.device_of(inputs.device)
    taken = ways.chosen(way, request, device)
    if taken == "persistent":
        from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

        if weights.weight_ih is not None and weights.gain_ih is not None:
            inputs, weights = _normalised_inputs(weights, inputs, operands), _without_inputs(weights)
        return persistent_recurrence.unroll(
            cell, weights, inputs, state, lengths, masks, zoneout, request, device.processors
        )
    loop = Loop(
        cell.name, taken, request.steps, request.batch, zoneout, operands, torch.is_grad_enabled(), request.settings
    )
    return _by_triton(loop, cell, weights, inputs, state, lengths, masks)


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
    """Both directions of a layer at once, forwards and backwards: outputs [T, B, 2H] and both last states.

    None where one launch cannot have both: `unroll` for each is the way then.
    """
    one, state, mask = weights[0], states[0], masks[0]
    operands = operands or state.hidden.dtype
    if one.weight_ih is None or state.hidden.dtype != torch.float32:
        return None
    lengths = None if lengths is None else lengths.to(inputs.device)
    request = _request(cell, one, inputs, state, lengths, mask, zoneout, False, operands)
    device = ways.device_of(inputs.device)
    if not ways.both_at_once(request, device):
        return None
    from nlpseq.kernels.gpu.persistent import recurrence as persistent_recurrence

    if one.gain_ih is not None:
        inputs = torch.cat([_normalised_inputs(each, inputs, operands) for each in weights], -1)
        weights = [_without_inputs(each) for each in weights]
    joined = None if mask is None else torch.cat([each for each in masks if each is not None], -1)
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
    """The input's product and its bias, for a kernel that is given the product."""
    assert weights.bias_ih is not None
    product: Tensor = _project_inputs(weights, inputs, operands) + weights.bias_ih
    return product


def _without_inputs(weights: LayerWeights) -> LayerWeights:
    return weights._replace(weight_ih=None, bias_ih=None, gain_ih=None)


def _by_triton(
    loop: Loop,
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None,
    masks: Tensor | None,
) -> tuple[Tensor, State]:
    """`unroll` by one of the ways in Triton's own language."""
    tensors = (
        None if masks is None else masks.flatten(0, 1),
        lengths,
        _project_inputs(weights, inputs.flatten(0, 1), loop.operands),
        weights.bias_ih if weights.weight_ih is not None else None,
        weights.weight_hh,
        weights.bias_hh,
        weights.gain_hh,
        *state,
    )
    outputs, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        loop, *(None if one is None else one.contiguous() for one in tensors)
    )
    return outputs.view(loop.steps, loop.batch, -1), cell.state(*last)


def _project_inputs(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product for all steps [N, G*H], its bias not yet added."""
    if weights.weight_ih is None:
        return inputs
    product = project(inputs, weights.weight_ih, operands)
    if weights.gain_ih is None:
        return product
    return torch.nn.functional.layer_norm(product.float(), product.shape[-1:], weights.gain_ih, None, EPSILON)
