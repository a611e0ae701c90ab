"""A layer over time on the CPU, with a backward pass through time written by hand.

The input's product is made outside, for all steps at once, by autograd's own linear map. Inside the loop a step is one
matrix product and the cell's pointwise part; after the backward loop each weight's gradient is one product over all steps
instead of one a step, which is most of what is gained over torch's own GRU and RNN. Sequences are sorted by length, so a
step works on the rows that are still active and padding costs nothing. Layer normalisation, zoneout and both directions
run in the same loop.

In bf16 the operands of the matrix products are bf16 and everything else, the state above all, is fp32. The price of the
loop being Python is some ten calls of torch a step: it is overhead-bound where batch * hidden_size is under a few thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.cells.unroll import project_inputs
from nlpseq.kernels.pointwise import POINTWISE, Pointwise

EPSILON = 1e-5  # as in nlpseq.arrays.normalise


@dataclass(frozen=True)
class Loop:
    """How a recurrence runs, apart from its tensors."""

    pointwise: Pointwise
    reverse: bool
    counts: list[int] | None  # active sequences at each step; None: all, always
    zoneout: float
    operands: torch.dtype  # of the matrix products

    def order(self, steps: int) -> list[tuple[int, int, int]]:
        """Each step's (time, slot of the state before it, slot of the state after it), in the order of running."""
        if self.reverse:
            return [(time, time + 1, time) for time in range(steps - 1, -1, -1)]
        return [(time, time, time + 1) for time in range(steps)]


class _HiddenProduct:
    """The product of hidden states with (a block of) the recurrent weights, over all steps, and its way back.

    Keeps what the weights' gradients need until they are made, each by one product, in `weight_gradients`.
    """

    def __init__(self, weight: Tensor, gain: Tensor | None, operands: torch.dtype) -> None:
        self.weight = weight.to(operands)
        self.gain = gain
        self.normalised: dict[int, tuple[Tensor, Tensor]] = {}

    def add_to(self, out: Tensor, hidden: Tensor, time: int) -> None:
        """out [n, R] += hidden [n, H] times the weights, normalised where there is a gain."""
        if self.gain is None and self.weight.dtype == out.dtype:
            out.addmm_(hidden, self.weight.t())
            return
        product = hidden.to(self.weight.dtype) @ self.weight.t()
        if self.gain is None:
            out.add_(product)
            return
        normalised, _, deviation = torch.native_layer_norm(
            product.to(out.dtype), [product.shape[1]], None, None, EPSILON
        )
        self.normalised[time] = normalised, deviation
        out.addcmul_(normalised, self.gain)

    def backward(self, grad: Tensor, grad_hidden: Tensor, time: int) -> Tensor:
        """Adds to grad_hidden [n, H] what `grad` [n, R] sends back; returns the gradient of the bare product [n, R]."""
        if self.gain is not None:
            normalised, deviation = self.normalised[time]
            grad = grad * self.gain
            shared = (grad * normalised).mean(1, keepdim=True)
            grad = (grad - grad.mean(1, keepdim=True)).addcmul_(normalised, shared, value=-1).mul_(deviation)
        if self.weight.dtype == grad_hidden.dtype:
            grad_hidden.addmm_(grad, self.weight)
        else:
            grad_hidden.add_(grad.to(self.weight.dtype) @ self.weight)
        return grad


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
        steps, batch, width = from_input.shape
        size = weight.shape[1]
        cell = loop.pointwise
        training = any(ctx.needs_input_grad)
        kept = steps if training else 1
        states = [value.new_empty(steps + 1, batch, size) for value in state]
        for values, value in zip(states, state, strict=True):
            values[-1 if loop.reverse else 0] = value
        gates = state[0].new_empty(kept, batch, width)
        product = state[0].new_empty(0 if cell.additive else kept, batch, width)
        extra = state[0].new_empty(kept if cell.extra else 0, batch, size)
        first, last = _products(loop, weight, gain)
        for time, before, after in loop.order(steps):
            rows = batch if loop.counts is None else loop.counts[time]
            slot = time if training else 0
            gate = gates[slot, :rows]
            previous = [values[before, :rows] for values in states]
            new = [values[after, :rows] for values in states]
            held = extra[slot, :rows] if cell.extra else extra
            linear = gate
            if cell.additive:
                torch.add(from_input[time, :rows], bias, out=gate)
            else:
                gate.copy_(from_input[time, :rows])
                linear = product[slot, :rows]
                linear.copy_(bias.expand(rows, width))
            first.add_to(linear if last is None else linear[:, : -size or None], previous[0], time)
            if last is not None and cell.reset is not None:
                cell.reset(gate, previous[0], held)
                last.add_to(gate[:, -size:], held, time)
            cell.forward(gate, linear, previous, new, held)
            if loop.zoneout:
                share = loop.zoneout if masks is None else masks[time, :rows]
                for fresh, old in zip(new, previous, strict=True):
                    fresh.lerp_(old, share)
            if rows < batch:
                for values, value in zip(states, state, strict=True):
                    values[after, rows:] = value[rows:] if loop.reverse else values[before, rows:]
        ctx.loop, ctx.products = loop, (first, last)
        ctx.save_for_backward(masks, weight, gates, product, extra, *states)
        end = 0 if loop.reverse else -1
        outputs = states[0][:-1] if loop.reverse else states[0][1:]
        return (outputs, *(values[end].clone() for values in states))

    @staticmethod
    def backward(ctx: Any, *grad_results: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        masks, weight, gates, product, extra, *states = ctx.saved_tensors
        loop: Loop = ctx.loop
        first, last = ctx.products
        cell = loop.pointwise
        steps, batch, width = gates.shape
        size = weight.shape[1]
        grad_outputs, *grad_last = grad_results
        grads = [grad.clone() for grad in grad_last]
        grad_gates = torch.empty_like(gates)
        grad_product = grad_gates if cell.additive else torch.empty_like(gates)
        bare = grad_product if first.gain is None else torch.empty_like(gates)
        scratch = gates.new_empty(batch, size)
        for time, before, _ in reversed(loop.order(steps)):
            rows = batch if loop.counts is None else loop.counts[time]
            gate, grad_gate, grad_linear = gates[time, :rows], grad_gates[time, :rows], grad_product[time, :rows]
            previous = [values[before, :rows] for values in states]
            held = extra[time, :rows] if cell.extra else extra
            grad = [value[:rows] for value in grads]
            grad[0].add_(grad_outputs[time, :rows])
            if loop.zoneout:
                share = loop.zoneout if masks is None else masks[time, :rows]
                past = [value * share for value in grad]
                for value, older in zip(grad, past, strict=True):
                    value.sub_(older)
            cell.backward(
                gate,
                product[time, :rows] if not cell.additive else gate,
                previous,
                held,
                grad,
                grad_gate,
                grad_linear,
                scratch[:rows],
            )
            if last is not None and cell.reset_backward is not None:
                grad_held = torch.zeros_like(scratch[:rows])
                sent = last.backward(grad_gate[:, -size:], grad_held, time)
                cell.reset_backward(gate, previous[0], grad_held, grad[0], grad_gate, scratch[:rows])
                back = first.backward(grad_gate[:, :-size], grad[0], time)
                if first.gain is not None:
                    torch.cat([back, sent], 1, out=bare[time, :rows])
            else:
                back = first.backward(grad_linear, grad[0], time)
                if first.gain is not None:
                    bare[time, :rows] = back
            if loop.zoneout:
                for value, older in zip(grad, past, strict=True):
                    value.add_(older)
            if rows < batch:
                grad_gates[time, rows:] = 0
                grad_product[time, rows:] = 0
                bare[time, rows:] = 0
        hidden = states[0][1:] if loop.reverse else states[0][:-1]
        return (
            None,
            None,
            grad_gates,
            _weight_gradient(bare, hidden, extra if last is not None else None, loop.operands),
            grad_product.sum((0, 1)),
            _gain_gradient(loop, grad_product, first, last),
            *grads,
        )


def _products(
    loop: Loop, weight: Tensor, gain: Tensor | None
) -> tuple[_HiddenProduct, _HiddenProduct | None]:
    """The hidden state's product, and that of the last block where the cell resets before it."""
    if loop.pointwise.reset is None:
        return _HiddenProduct(weight, gain, loop.operands), None
    size = weight.shape[1]
    head, tail = (None, None) if gain is None else (gain[:-size], gain[-size:])
    return (
        _HiddenProduct(weight[:-size], head, loop.operands),
        _HiddenProduct(weight[-size:], tail, loop.operands),
    )


def _weight_gradient(grad: Tensor, hidden: Tensor, reset: Tensor | None, operands: torch.dtype) -> Tensor:
    """One product over all steps: grad [T, B, G*H], hidden states before each step [T, B, H] -> [G*H, H]."""
    size = hidden.shape[2]
    rows = grad.flatten(0, 1).to(operands)
    before = hidden.reshape(-1, size).to(operands)
    if reset is None:
        return (rows.t() @ before).to(grad.dtype)
    tail = rows[:, -size:].t() @ reset.flatten(0, 1).to(operands)
    return torch.cat([rows[:, :-size].t() @ before, tail]).to(grad.dtype)


def _gain_gradient(
    loop: Loop, grad_product: Tensor, first: _HiddenProduct, last: _HiddenProduct | None
) -> Tensor | None:
    if first.gain is None:
        return None
    total = torch.zeros_like(grad_product[0, 0])
    for time in range(grad_product.shape[0]):
        rows = grad_product.shape[1] if loop.counts is None else loop.counts[time]
        normalised = first.normalised[time][0]
        if last is not None:
            normalised = torch.cat([normalised, last.normalised[time][0]], 1)
        total += (grad_product[time, :rows] * normalised).sum(0)
    return total


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
    """As `nlpseq.cells.unroll`, faster; `operands` is the type of the matrix products' operands, by default the state's."""
    operands = operands or state.hidden.dtype
    from_input = _project_inputs(weights, inputs, operands)
    order = counts = None
    if lengths is not None:
        lengths, order = lengths.sort(descending=True, stable=True)
        counts = (lengths[None, :] > torch.arange(inputs.shape[0])[:, None]).sum(1).tolist()
        from_input = from_input[:, order]
        state = cell.state(*(value[order] for value in state))
        masks = None if masks is None else masks[:, order]
    loop = Loop(POINTWISE[cell.name], reverse, counts, zoneout, operands)
    outputs, *last = _Recurrence.apply(
        loop, masks, from_input, weights.weight_hh, weights.bias_hh, weights.gain_hh, *state
    )
    if order is not None and lengths is not None:
        back = order.argsort()
        padded = torch.arange(inputs.shape[0])[:, None] >= lengths[None, :]
        outputs = outputs.masked_fill(padded[:, :, None], 0.0)[:, back]
        last = [value[back] for value in last]
    return outputs, cell.state(*last)


def _project_inputs(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product for all steps, in `operands`; in full precision it is the plain loop's own."""
    if operands == weights.weight_hh.dtype or weights.weight_ih is None:
        if weights.weight_ih is not None and weights.gain_ih is None:
            return torch.nn.functional.linear(inputs, weights.weight_ih, weights.bias_ih)
        return project_inputs(weights, inputs)  # type: ignore[no-any-return]
    product = torch.nn.functional.linear(inputs.to(operands), weights.weight_ih.to(operands))
    lower = weights._replace(weight_ih=None)
    full = product.to(weights.weight_hh.dtype)
    if weights.gain_ih is not None:
        full = torch.nn.functional.layer_norm(full, [full.shape[-1]], weights.gain_ih, None, EPSILON)
    return project_inputs(lower, full) + weights.bias_ih  # type: ignore[no-any-return]
