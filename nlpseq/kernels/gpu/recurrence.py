"""A layer over time on a GPU, by Triton's kernels, under autograd.

The input's product is made outside, for all steps at once, and the weights' gradients are each one product over all
steps after the backward loop; between them the kernels do everything, with the state, all sums and all gates in fp32
whatever the type of the products' operands. Sequences of unequal length are sorted, and their real steps laid one after
another, so that padding takes part in nothing. The price is a C compiler on the user's machine, which Triton wants for
its launcher, and some seconds of compilation at the first use of each kernel.

Nothing here imports Triton before a layer is run.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.errors import BackendError
from nlpseq.kernels.eager_recurrence import EPSILON
from nlpseq.kernels.gpu.arguments import Given, Room, Sent, Settings, Sizes
from nlpseq.kernels.places import places_of

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


@dataclass(frozen=True, eq=False)
class Loop:
    """How a recurrence runs, apart from its tensors."""

    cell: str
    way: str | None  # None: whichever suits the size
    steps: int
    batch: int
    reverse: bool
    zoneout: float
    operands: torch.dtype
    gradients: bool  # whether any may be asked for

    def settings(self, given: Given, *, training: bool) -> Settings:
        """What is fixed when a kernel is compiled, whichever way it is."""
        from nlpseq.kernels.gpu.pointwise import POINTWISE

        cell = POINTWISE[self.cell]
        exact = torch.get_float32_matmul_precision() == "highest"
        return Settings(
            gates=cell.gates,
            saved=cell.saved,
            resets=cell.resets,
            memory=cell.memory,
            additive=cell.additive,
            normalised=given.gain is not None,
            zoneout=0 if not self.zoneout else 1 if given.masks is None else 2,
            reverse=self.reverse,
            packed=given.lengths is not None,
            training=training,
            precision="tf32x3" if exact else "tf32",
        )

    def chosen_way(self, given: Given, settings: Settings) -> str:
        """The way to run it. Raises BackendError if the one that was asked for cannot."""
        from nlpseq.kernels.gpu import launch

        if self.way in ("grid", "steps") and (settings.resets or settings.normalised):
            raise BackendError(
                "triton", f"the way {self.way!r} has no reset before a product and no layer normalisation", 'way="rows"'
            )
        device = given.weight.device
        processors = (
            torch.cuda.get_device_properties(device).multi_processor_count
            if device.type == "cuda"
            else launch.MOST_WAITING
        )
        size, element = given.weight.shape[1], given.weight.element_size()
        return self.way or launch.choose_way(settings, size, self.batch, element, processors)


class _Recurrence(torch.autograd.Function):
    """The loop over time: from_input [N, G*H] and a state to hidden states [N, H] and the last state."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: Loop,
        masks: Tensor | None,  # [N, H]
        lengths: Tensor | None,
        offsets: Tensor | None,
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
        given = Given(from_input, operand, input_bias, bias, gain, state[0], memory, masks, lengths, offsets)
        settings = loop.settings(given, training=training)
        room = _room(given, settings)
        sizes = Sizes(loop.steps, loop.batch, weight.shape[1], float(loop.zoneout))
        way = loop.chosen_way(given, settings)
        launch.forward(loop.cell, way, given, room, sizes, settings)
        if training:
            ctx.loop, ctx.way, ctx.settings, ctx.sizes = loop, way, settings, sizes
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
        launch.backward(loop.cell, ctx.way, given, room, sent, ctx.sizes, settings)
        grad_weight = _weight_gradient(loop, settings, given, room, sent)
        grad_gain = None if given.gain is None else (sent.product * room.normalised).sum(0)
        grad_bias = sent.product.sum(0)
        grad_input_bias = None
        if given.input_bias is not None:
            grad_input_bias = grad_bias if settings.additive else sent.from_input.sum(0)
        grad_input = sent.from_input.to(given.from_input.dtype)
        grads = [value for value in (sent.hidden, sent.memory) if value is not None]
        return (None, None, None, None, grad_input, grad_input_bias, grad_weight, grad_bias, grad_gain, *grads)


def _room(given: Given, settings: Settings) -> Room:
    """What the forward pass writes; without training that is the hidden states and the last state alone."""
    count, width = given.from_input.shape
    like, size = given.first_hidden, given.first_hidden.shape[1]
    training = settings.training

    def make(wanted: bool, columns: int) -> Tensor | None:
        return like.new_empty(count, columns) if wanted else None

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
    from_input = torch.empty_like(given.from_input, dtype=torch.float32)
    product = from_input if settings.additive else torch.empty_like(from_input)
    bare = torch.empty_like(product) if settings.normalised else product
    return Sent(outputs.contiguous(), copies[0], copies[1] if settings.memory else None, from_input, product, bare)


def _hidden_before(loop: Loop, given: Given, outputs: Tensor) -> Tensor:
    """The hidden state before each step, [N, H]."""
    if given.lengths is None:
        states = outputs.view(loop.steps, loop.batch, -1)
        first = given.first_hidden[None]
        return torch.cat([states[1:], first] if loop.reverse else [first, states[:-1]]).flatten(0, 1)
    ends = torch.cat([given.offsets[1:], given.offsets.new_full((1,), len(outputs))])
    rows = ends - given.offsets
    time = torch.repeat_interleave(torch.arange(loop.steps, device=rows.device), rows, output_size=len(outputs))
    row = torch.arange(len(outputs), device=rows.device) - given.offsets[time]
    begins = time == (given.lengths[row] - 1 if loop.reverse else 0)
    neighbour = (time + 1).clamp(max=loop.steps - 1) if loop.reverse else (time - 1).clamp(min=0)
    place = (given.offsets[neighbour] + row).clamp(max=len(outputs) - 1)
    return torch.where(begins[:, None], given.first_hidden[row], outputs[place])


def _weight_gradient(loop: Loop, settings: Settings, given: Given, room: Room, sent: Sent) -> Tensor:
    """One product over all steps: gradients [N, G*H] and hidden states before each step [N, H] -> [G*H, H]."""
    before = _hidden_before(loop, given, room.outputs)
    grad: Tensor = sent.bare.to(loop.operands)
    if not settings.resets:
        return (grad.t() @ before.to(loop.operands)).float()
    size = before.shape[1]
    held = room.saved[:, :size] * before
    head = grad[:, :-size].t() @ before.to(loop.operands)
    return torch.cat([head, grad[:, -size:].t() @ held.to(loop.operands)]).float()


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

    `way` is one of `launch.WAYS`, by default the one that is chosen by size. Raises BackendError for a cell or a
    type that the kernels do not have.
    """
    operands = operands or state.hidden.dtype
    if state.hidden.dtype != torch.float32 or operands not in OPERANDS:
        raise BackendError("--precision", f"the GPU's kernels keep the state in fp32, not {state.hidden.dtype}", "fp32")
    steps, batch = inputs.shape[:2]
    places = places_of(steps, batch, None if lengths is None else lengths.to(inputs.device))
    from_input = _project_inputs(weights, places.gather(inputs), operands)
    masks = None if masks is None else places.gather(masks)
    loop = Loop(cell.name, way, steps, batch, reverse, zoneout, operands, torch.is_grad_enabled())
    tensors = (
        places.lengths,
        None if places.lengths is None else places.offsets,
        from_input,
        weights.bias_ih if weights.weight_ih is not None else None,
        weights.weight_hh,
        weights.bias_hh,
        weights.gain_hh,
        *places.sort(state),
    )
    outputs, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        loop, *(None if one is None else one.contiguous() for one in (masks, *tensors))
    )
    return places.scatter(outputs), places.unsort(cell.state(*last))


def _project_inputs(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product for all steps [N, G*H], its bias not yet added."""
    if weights.weight_ih is None:
        return inputs
    product: Tensor = inputs.to(operands) @ weights.weight_ih.to(operands).t()
    if weights.gain_ih is None:
        return product
    return torch.nn.functional.layer_norm(product.float(), product.shape[-1:], weights.gain_ih, None, EPSILON)
