"""A layer over time on the CPU by a Python loop, with a backward pass written by hand.

The input's product is computed before the loop, for all steps at once, by autograd's own linear map. Inside the loop a
step is one matrix product and the cell's pointwise part. After the backward loop each weight's gradient is one product
over all steps, instead of one in each step; this is most of the gain over torch's own GRU and RNN. Sequences are sorted
by length, so a step works on active rows only and padding costs nothing. Layer normalisation, zoneout and both
directions run in the same loop.

In bf16 the operands of the matrix products are bf16, and everything else, the state included, is fp32. The price of a
Python loop is about ten calls of torch in each step: overhead dominates if batch * hidden_size is under a few thousand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.cells.unroll import project_inputs
from nlpseq.kernels import products
from nlpseq.kernels.cpu.pointwise import POINTWISE
from nlpseq.kernels.cpu.tape import (
    Loop,
    Products,
    StepGradients,
    Tape,
    blank_tape,
    gain_gradient,
    hidden_products_of,
)
from nlpseq.kernels.products import multiply_in, weight_gradient


class _Recurrence(torch.autograd.Function):
    """The loop over time: from_input [T, B, G*H] and a state to hidden states [T, B, H] and the last state."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: Loop,
        masks: Tensor | None,
        from_input: Tensor,
        weight: Tensor,
        bias: Tensor,
        gain: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        steps, batch, _ = from_input.shape
        tape = blank_tape(loop, from_input.shape, state, training=loop.gradients and any(ctx.needs_input_grad))
        start, end = (-1, 0) if loop.reverse else (0, -1)
        for values, value in zip(tape.states, state, strict=True):
            values[start] = value
        hidden_products = hidden_products_of(loop, weight, gain)
        for time, before, after in loop.order(steps):
            rows, row = tape.rows(time), tape.at(time, before)
            new = [values[after, :rows] for values in tape.states]
            tape.advance(row, new, from_input[time, :rows], bias, hidden_products, time)
            if loop.zoneout:
                fraction = loop.zoneout if masks is None else masks[time, :rows]
                for fresh, old in zip(new, row.previous, strict=True):
                    fresh.lerp_(old, fraction)
            if rows < batch:
                for values in tape.states:
                    values[after, rows:] = values[before, rows:]
                tape.clear_padding(time, rows)
        ctx.loop, ctx.products = loop, hidden_products
        ctx.save_for_backward(masks, tape.gates, tape.product, tape.extra, *tape.states)
        outputs = tape.states[0][:-1] if loop.reverse else tape.states[0][1:]
        return (outputs, *(values[end].clone() for values in tape.states))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_results: Tensor) -> tuple[Any, ...]:
        masks, gates, product, extra, *states = ctx.saved_tensors
        loop: Loop = ctx.loop
        hidden_products: Products = ctx.products
        tape = Tape(loop, True, states, gates, product, extra)
        steps, batch, _ = gates.shape
        grad_outputs, *grad_last = grad_results
        grads = [grad.clone() for grad in grad_last]
        grad_gates = torch.empty_like(gates)
        grad_product = grad_gates if loop.pointwise.additive else torch.empty_like(gates)
        bare = grad_product if hidden_products[0].gain is None else torch.empty_like(gates)
        written = StepGradients(grad_gates, grad_product, bare, torch.empty_like(states[0][0]))
        for time, before, _ in reversed(loop.order(steps)):
            rows = tape.rows(time)
            grad = [value[:rows] for value in grads]
            grad[0].add_(grad_outputs[time, :rows])
            kept = _split_zoneout(loop, masks, grad, time)
            tape.retreat(tape.at(time, before), grad, written, hidden_products, time)
            for value, past in zip(grad, kept, strict=False):
                value.add_(past)
            if rows < batch:
                written.clear_padding(time, rows)
        hidden = states[0][1:] if loop.reverse else states[0][:-1]
        reset = extra.flatten(0, 1) if hidden_products[1] is not None else None
        multiply = multiply_in(loop.operands)
        grad_weight = weight_gradient(bare.flatten(0, 1), hidden.flatten(0, 1), reset, multiply)
        grad_bias = grad_product.sum(0).sum(0)
        return (
            None,
            None,
            grad_gates,
            grad_weight,
            grad_bias,
            gain_gradient(tape, grad_product, hidden_products),
            *grads,
        )


def _split_zoneout(loop: Loop, masks: Tensor | None, grads: list[Tensor], time: int) -> list[Tensor]:
    """Move the gradients that zoneout carries to the state before the step out of `grads`, and return them."""
    if not loop.zoneout:
        return []
    fraction = loop.zoneout if masks is None else masks[time, : grads[0].shape[0]]
    kept = [value * fraction for value in grads]
    for value, past in zip(grads, kept, strict=True):
        value.sub_(past)
    return kept


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
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`, faster; `operands` is the type of the products' operands, by default the state's."""
    operands = operands or state.hidden.dtype
    from_input = _project_inputs(weights, inputs, operands)
    order = counts = None
    if lengths is not None:
        lengths, order = lengths.sort(descending=True, stable=True)
        counts = (lengths[None, :] > torch.arange(inputs.shape[0])[:, None]).sum(1).tolist()
        from_input = from_input[:, order]
        state = cell.state(*(value[order] for value in state))
        masks = None if masks is None else masks[:, order]
    loop = Loop(POINTWISE[cell.name], reverse, counts, zoneout, operands, torch.is_grad_enabled())
    outputs, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        loop, masks, from_input, weights.weight_hh, weights.bias_hh, weights.gain_hh, *state
    )
    if order is not None and lengths is not None:
        back = order.argsort()
        padded = torch.arange(inputs.shape[0])[:, None] >= lengths[None, :]
        outputs = outputs.masked_fill(padded[:, :, None], 0.0)[:, back]
        last = [value[back] for value in last]
    return outputs, cell.state(*last)


def _project_inputs(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product for all steps with its bias, in `operands`; in full precision that of the plain loop."""
    if weights.weight_ih is None:
        return inputs
    if operands != weights.weight_hh.dtype:
        assert weights.bias_ih is not None
        product: Tensor = products.project_inputs(weights, inputs, multiply_in(operands)) + weights.bias_ih
        return product
    if weights.gain_ih is None:
        return torch.nn.functional.linear(inputs, weights.weight_ih, weights.bias_ih)
    full: Tensor = project_inputs(weights, inputs)
    return full
