"""A layer over time on the CPU, with a backward pass through time written by hand.

The input's product is made outside, for all steps at once, by autograd's own linear map. Inside the loop a step is
one matrix product and the cell's pointwise part; after the backward loop each weight's gradient is one product over
all steps instead of one a step, which is most of what is gained over torch's own GRU and RNN. Sequences are sorted by
length, so a step works on the rows that are still active and padding costs nothing. Layer normalisation, zoneout and
both directions run in the same loop.

In bf16 the operands of the matrix products are bf16 and everything else, the state above all, is fp32. The price of
the loop being Python is some ten calls of torch a step: it is overhead-bound where batch * hidden_size is under a few
thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.arrays import EPSILON
from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.cells.unroll import project_inputs
from nlpseq.kernels import products
from nlpseq.kernels.cpu.pointwise import POINTWISE, Pointwise, Row, SentRow
from nlpseq.kernels.products import multiply_in, weight_gradient


@dataclass(frozen=True)
class Loop:
    """How a recurrence runs, apart from its tensors."""

    pointwise: Pointwise
    reverse: bool
    counts: list[int] | None  # active sequences at each step; None: all, always
    zoneout: float
    operands: torch.dtype  # of the matrix products
    gradients: bool  # whether any may be asked for

    def order(self, steps: int) -> list[tuple[int, int, int]]:
        """Each step's (time, slot of the state before it, slot of the state after it), in the order of running."""
        if self.reverse:
            return [(time, time + 1, time) for time in range(steps - 1, -1, -1)]
        return [(time, time, time + 1) for time in range(steps)]


class _HiddenProduct:
    """The product of hidden states with (a block of) the recurrent weights, over all steps, and its way back.

    Keeps what the weights' gradients need until they are made, each by one product, in `weight_gradients`.
    """

    def __init__(self, weight: Tensor, gain: Tensor | None, loop: Loop) -> None:
        self.weight = weight.to(loop.operands)
        self.transposed = self.weight.t().contiguous()  # faster in a product than a transposed view
        self.gain = gain
        self.training = loop.gradients
        self.normalised: dict[int, tuple[Tensor, Tensor]] = {}

    def add_to(self, out: Tensor, hidden: Tensor, time: int) -> None:
        """out [n, R] += hidden [n, H] times the weights, normalised where there is a gain."""
        if self.gain is None and self.weight.dtype == out.dtype:
            out.addmm_(hidden, self.transposed)
            return
        product = hidden.to(self.weight.dtype) @ self.transposed
        if self.gain is None:
            out.add_(product)
            return
        normalised, _, deviation = torch.native_layer_norm(
            product.to(out.dtype), [product.shape[1]], None, None, EPSILON
        )
        if self.training:
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


@dataclass
class _Tape:
    """What a pass over time writes. Without a gradient to come, one step's buffers serve all steps."""

    loop: Loop
    training: bool
    states: list[Tensor]  # [T + 1, B, H] each
    gates: Tensor  # [T or 1, B, G*H]
    product: Tensor  # [T or 1, B, G*H], the same as `gates` for an additive cell
    extra: Tensor  # [T or 1, B, H], or empty

    def rows(self, time: int) -> int:
        """How many sequences are active at a step."""
        return self.states[0].shape[1] if self.loop.counts is None else self.loop.counts[time]

    def at(self, time: int, before: int) -> Row:
        """The views for the step at `time`, whose state before it is in slot `before`."""
        rows, slot = self.rows(time), time if self.training else 0
        return Row(
            self.gates[slot, :rows],
            self.product[slot, :rows],
            [values[before, :rows] for values in self.states],
            self.extra[slot, :rows] if self.loop.pointwise.extra else self.extra,
        )

    def clear_padding(self, time: int, rows: int) -> None:
        """Sequences that have ended hold nothing: what is never filled could be anything, and NaN times zero is NaN."""
        if self.training and self.loop.pointwise.extra:
            self.extra[time, rows:] = 0

    def advance(
        self, row: Row, new: list[Tensor], from_input: Tensor, bias: Tensor, products: _Products, time: int
    ) -> None:
        """One step: fills the row's activations and the new state."""
        cell, (first, last) = self.loop.pointwise, products
        if cell.additive:
            torch.add(from_input, bias, out=row.gates)
        else:
            row.gates.copy_(from_input)
            row.product.copy_(bias.expand_as(row.product))
        if last is None or cell.reset is None:
            first.add_to(row.product, row.previous[0], time)
        else:
            size = row.held.shape[1]
            first.add_to(row.gates[:, :-size], row.previous[0], time)
            cell.reset(row)
            last.add_to(row.gates[:, -size:], row.held, time)
        cell.forward(row, new)

    def retreat(self, row: Row, grads: list[Tensor], sent: _Sent, products: _Products, time: int) -> None:
        """One step back: fills the gradients that the step sends out, and turns `grads` into those before the step."""
        cell, (first, last), rows = self.loop.pointwise, products, row.gates.shape[0]
        out = SentRow(sent.gates[time, :rows], sent.product[time, :rows], sent.scratch[:rows])
        cell.backward(row, grads, out)
        if last is None or cell.reset_backward is None:
            bare = first.backward(out.product, grads[0], time)
        else:
            size = row.held.shape[1]
            grad_held = torch.zeros_like(out.scratch)
            tail = last.backward(out.gates[:, -size:], grad_held, time)
            cell.reset_backward(row, grad_held, grads[0], out)
            head = first.backward(out.gates[:, :-size], grads[0], time)
            bare = out.gates if first.gain is None else torch.cat([head, tail], 1)
        if first.gain is not None:
            sent.bare[time, :rows] = bare


def _blank_tape(loop: Loop, shape: Sequence[int], state: tuple[Tensor, ...], *, training: bool) -> _Tape:
    """A tape for from_input's `shape` (T, B, G*H), nothing written yet."""
    steps, batch, width = shape
    kept, size, like = steps if training else 1, state[0].shape[1], state[0]
    cell = loop.pointwise
    gates = like.new_empty(kept, batch, width)
    return _Tape(
        loop,
        training,
        [like.new_empty(steps + 1, batch, size) for _ in state],
        gates,
        gates if cell.additive else like.new_empty(kept, batch, width),
        like.new_empty(kept if cell.extra else 0, batch, size),
    )


class _Sent(NamedTuple):
    """Gradients that the steps send out, [T, B, G*H] each, and room to work in."""

    gates: Tensor  # of the input's product
    product: Tensor  # of the hidden state's product, after normalisation
    bare: Tensor  # of the hidden state's product, before normalisation
    scratch: Tensor  # [B, H]

    def clear_padding(self, time: int, rows: int) -> None:
        """Sequences that have ended send nothing."""
        for values in (self.gates, self.product, self.bare):
            values[time, rows:] = 0


_Products = tuple[_HiddenProduct, _HiddenProduct | None]


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
        tape = _blank_tape(loop, from_input.shape, state, training=loop.gradients and any(ctx.needs_input_grad))
        start, end = (-1, 0) if loop.reverse else (0, -1)
        for values, value in zip(tape.states, state, strict=True):
            values[start] = value
        hidden_products = _hidden_products(loop, weight, gain)
        for time, before, after in loop.order(steps):
            rows, row = tape.rows(time), tape.at(time, before)
            new = [values[after, :rows] for values in tape.states]
            tape.advance(row, new, from_input[time, :rows], bias, hidden_products, time)
            if loop.zoneout:
                share = loop.zoneout if masks is None else masks[time, :rows]
                for fresh, old in zip(new, row.previous, strict=True):
                    fresh.lerp_(old, share)
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
        hidden_products: _Products = ctx.products
        tape = _Tape(loop, True, states, gates, product, extra)
        steps, batch, _ = gates.shape
        grad_outputs, *grad_last = grad_results
        grads = [grad.clone() for grad in grad_last]
        grad_gates = torch.empty_like(gates)
        grad_product = grad_gates if loop.pointwise.additive else torch.empty_like(gates)
        bare = grad_product if hidden_products[0].gain is None else torch.empty_like(gates)
        sent = _Sent(grad_gates, grad_product, bare, torch.empty_like(states[0][0]))
        for time, before, _ in reversed(loop.order(steps)):
            rows = tape.rows(time)
            grad = [value[:rows] for value in grads]
            grad[0].add_(grad_outputs[time, :rows])
            kept = _split_zoneout(loop, masks, grad, time)
            tape.retreat(tape.at(time, before), grad, sent, hidden_products, time)
            for value, past in zip(grad, kept, strict=False):
                value.add_(past)
            if rows < batch:
                sent.clear_padding(time, rows)
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
            _gain_gradient(tape, grad_product, hidden_products),
            *grads,
        )


def _split_zoneout(loop: Loop, masks: Tensor | None, grads: list[Tensor], time: int) -> list[Tensor]:
    """Takes from `grads` what goes past the step, to the state before it, and returns that."""
    if not loop.zoneout:
        return []
    share = loop.zoneout if masks is None else masks[time, : grads[0].shape[0]]
    kept = [value * share for value in grads]
    for value, past in zip(grads, kept, strict=True):
        value.sub_(past)
    return kept


def _hidden_products(loop: Loop, weight: Tensor, gain: Tensor | None) -> _Products:
    """The hidden state's product, and that of the last block where the cell resets before it."""
    if loop.pointwise.reset is None:
        return _HiddenProduct(weight, gain, loop), None
    size = weight.shape[1]
    head, tail = (None, None) if gain is None else (gain[:-size], gain[-size:])
    return (
        _HiddenProduct(weight[:-size], head, loop),
        _HiddenProduct(weight[-size:], tail, loop),
    )


def _gain_gradient(tape: _Tape, grad_product: Tensor, products: _Products) -> Tensor | None:
    """The gradient [G*H] of the layer normalisation's gain, or None without one."""
    if products[0].gain is None:
        return None
    total = torch.zeros_like(grad_product[0, 0])
    for time in range(grad_product.shape[0]):
        normalised = torch.cat([one.normalised[time][0] for one in products if one is not None], 1)
        total += (grad_product[time, : tape.rows(time)] * normalised).sum(0)
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
    """The input's product for all steps and its bias, in `operands`; in full precision it is the plain loop's own."""
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
