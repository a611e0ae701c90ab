"""A layer over time by the kernels in Triton's own language, under autograd.

The input's product is computed before the loop, for all steps at once, and each weight's gradient is one product over
all steps after the backward loop. In between the kernels do everything. The state, all sums and all gates are in fp32,
whatever the type of the products' operands. Padding stays in memory, and takes part in the products over all steps as
zeros.

This file imports Triton only when a layer is run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells import Cell, LayerWeights
from nlpseq.cells.cell import State
from nlpseq.kernels.gpu.arguments import Gradients, Inputs, Results, Settings, Sizes
from nlpseq.kernels.gpu.products import multiply_in_full, project
from nlpseq.kernels.products import normalise, weight_gradient


@dataclass(frozen=True, eq=False)
class Loop:
    """How a recurrence runs: everything except its tensors."""

    cell: str
    way: str
    steps: int
    batch: int
    zoneout: float
    operands: torch.dtype
    gradients: bool  # whether gradients are switched on
    settings: Settings  # for training


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
        inputs = Inputs(from_input, operand, input_bias, bias, gain, state[0], memory, masks, lengths)
        settings = replace(loop.settings, training=training)
        results = _empty_results(inputs, settings)
        sizes = Sizes(loop.steps, loop.batch, weight.shape[1], float(loop.zoneout))
        launch.forward(loop.cell, loop.way, inputs, results, sizes, settings)
        if training:
            ctx.loop, ctx.settings, ctx.sizes = loop, settings, sizes
            ctx.save_for_backward(*inputs, *results)
        return tuple(value for value in results[:3] if value is not None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_results: Tensor) -> tuple[Any, ...]:
        from nlpseq.kernels.gpu import launch

        loop: Loop = ctx.loop
        settings: Settings = ctx.settings
        tensors = ctx.saved_tensors
        inputs, results = Inputs(*tensors[: len(Inputs._fields)]), Results(*tensors[len(Inputs._fields) :])
        gradients = _empty_gradients(inputs, settings, grad_results)
        launch.backward(loop.cell, loop.way, inputs, results, gradients, ctx.sizes, settings)
        grad_weight = _weight_gradient(loop, settings, inputs, results, gradients)
        grad_gain = None if inputs.gain is None else (gradients.product * results.normalised).sum(0)
        grad_bias = gradients.product.sum(0)
        grad_input_bias = None
        if inputs.input_bias is not None:
            grad_input_bias = grad_bias if settings.additive else gradients.from_input.sum(0)
        grad_input = gradients.from_input.to(inputs.from_input.dtype)
        grads = [value for value in (gradients.hidden, gradients.memory) if value is not None]
        return (None, None, None, grad_input, grad_input_bias, grad_weight, grad_bias, grad_gain, *grads)


def _empty_results(inputs: Inputs, settings: Settings) -> Results:
    """Arrays for the results of the forward pass; without training only the hidden states and the last state.

    The kernels do not write padding, which stays zero.
    """
    count, width = inputs.from_input.shape
    like, size = inputs.first_hidden, inputs.first_hidden.shape[1]
    training = settings.training

    def make(needed: bool, columns: int) -> Tensor | None:
        if not needed:
            return None
        results: Tensor = like.new_zeros(count, columns) if settings.padded else like.new_empty(count, columns)
        return results

    return Results(
        outputs=make(True, size),
        last_hidden=like.clone(memory_format=torch.contiguous_format),
        last_memory=inputs.first_memory.clone(memory_format=torch.contiguous_format) if settings.memory else None,
        memories=make(training and settings.memory, size),
        saved=make(training, settings.saved * size),
        normalised=make(training and settings.normalised, width),
        deviations=make(training and settings.normalised, 2),
    )


def _empty_gradients(inputs: Inputs, settings: Settings, grads: tuple[Tensor, ...]) -> Gradients:
    """Empty arrays for the gradients that the steps write, and copies of the gradients that they start from."""
    outputs, *last = grads
    copies = [grad.clone(memory_format=torch.contiguous_format) for grad in last]
    make = torch.zeros_like if settings.padded else torch.empty_like  # the kernels do not write padding
    from_input = make(inputs.from_input, dtype=torch.float32)
    product = from_input if settings.additive else make(from_input)
    bare = make(product) if settings.normalised else product
    return Gradients(outputs.contiguous(), copies[0], copies[1] if settings.memory else None, from_input, product, bare)


def _hidden_before(loop: Loop, inputs: Inputs, outputs: Tensor) -> Tensor:
    """The hidden state before each step, [N, H]; undefined before padding."""
    states, first = outputs.view(loop.steps, loop.batch, -1), inputs.first_hidden[None]
    if not loop.settings.reverse:
        return torch.cat([first, states[:-1]]).flatten(0, 1)
    before = torch.cat([states[1:], first])
    if inputs.lengths is not None:
        is_first = torch.arange(loop.steps, device=outputs.device)[:, None] == inputs.lengths[None, :] - 1
        before = torch.where(is_first[:, :, None], first, before)
    return before.flatten(0, 1)


def _weight_gradient(loop: Loop, settings: Settings, inputs: Inputs, results: Results, gradients: Gradients) -> Tensor:
    before, operands = _hidden_before(loop, inputs, results.outputs), loop.operands
    reset = (results.saved[:, : before.shape[1]] * before).to(operands) if settings.resets else None
    return weight_gradient(gradients.bare.to(operands), before.to(operands), reset, multiply_in_full)


def unroll(
    loop: Loop,
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None,
    masks: Tensor | None,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, by the way in `loop`."""
    tensors = (
        None if masks is None else masks.flatten(0, 1),
        lengths,
        project_inputs(weights, inputs.flatten(0, 1), loop.operands),
        weights.bias_ih if weights.weight_ih is not None else None,
        weights.weight_hh,
        weights.bias_hh,
        weights.gain_hh,
        *state,
    )
    outputs, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        loop, *(None if tensor is None else tensor.contiguous() for tensor in tensors)
    )
    return outputs.view(loop.steps, loop.batch, -1), cell.state(*last)


def project_inputs(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product for all steps [N, G*H], without its bias."""
    if weights.weight_ih is None:
        return inputs
    product = project(inputs, weights.weight_ih, operands)
    return product if weights.gain_ih is None else normalise(weights, product.float())
