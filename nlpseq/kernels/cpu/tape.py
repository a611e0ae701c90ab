"""The steps of the eager loop: one step forward, one step back, and the arrays that a pass over time writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nlpseq.arrays import EPSILON
from nlpseq.kernels.cpu.pointwise import Pointwise, Row, RowGradients


@dataclass(frozen=True)
class Loop:
    """How a recurrence runs: everything except its tensors."""

    pointwise: Pointwise
    reverse: bool
    counts: list[int] | None  # active sequences in each step; None: always all
    zoneout: float
    operands: torch.dtype  # of the matrix products
    gradients: bool  # whether gradients are switched on

    def order(self, steps: int) -> list[tuple[int, int, int]]:
        """Each step's (time, slot of the state before it, slot of the state after it), in running order."""
        if self.reverse:
            return [(time, time + 1, time) for time in range(steps - 1, -1, -1)]
        return [(time, time, time + 1) for time in range(steps)]


class HiddenProduct:
    """The product of hidden states with the recurrent weights, or with a block of them, forward and backward.

    If there is a gain, it keeps the normalised products of all steps for the backward pass.
    """

    def __init__(self, weight: Tensor, gain: Tensor | None, loop: Loop) -> None:
        self.weight = weight.to(loop.operands)
        self.transposed = self.weight.t().contiguous()  # faster in a product than a transposed view
        self.gain = gain
        self.training = loop.gradients
        self.normalised: dict[int, tuple[Tensor, Tensor]] = {}

    def add_to(self, out: Tensor, hidden: Tensor, time: int) -> None:
        """out [n, R] += hidden [n, H] times the weights, normalised if there is a gain."""
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
        """Add to grad_hidden [n, H] the gradient from `grad` [n, R]; returns that of the bare product [n, R]."""
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
class Tape:
    """The arrays that a pass over time writes. Without training all steps share the buffers of one step."""

    loop: Loop
    training: bool
    states: list[Tensor]  # [T + 1, B, H] each
    gates: Tensor  # [T or 1, B, G*H]
    product: Tensor  # [T or 1, B, G*H], the same as `gates` for an additive cell
    extra: Tensor  # [T or 1, B, H], or empty

    def rows(self, time: int) -> int:
        """The number of active sequences in a step."""
        return self.states[0].shape[1] if self.loop.counts is None else self.loop.counts[time]

    def at(self, time: int, before: int) -> Row:
        """The views for the step at `time`; the state before it is in slot `before`."""
        rows, slot = self.rows(time), time if self.training else 0
        return Row(
            self.gates[slot, :rows],
            self.product[slot, :rows],
            [values[before, :rows] for values in self.states],
            self.extra[slot, :rows] if self.loop.pointwise.extra else self.extra,
        )

    def clear_padding(self, time: int, rows: int) -> None:
        """Zero the rows of ended sequences: unfilled memory could hold NaN, and NaN times zero is NaN."""
        if self.training and self.loop.pointwise.extra:
            self.extra[time, rows:] = 0

    def advance(
        self, row: Row, new: list[Tensor], from_input: Tensor, bias: Tensor, products: Products, time: int
    ) -> None:
        """Run one step: fill the row's activations and the new state."""
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

    def retreat(self, row: Row, grads: list[Tensor], written: StepGradients, products: Products, time: int) -> None:
        """Run one step back: fill the step's gradients, and change `grads` to those of the state before the step."""
        cell, (first, last), rows = self.loop.pointwise, products, row.gates.shape[0]
        out = RowGradients(written.gates[time, :rows], written.product[time, :rows], written.scratch[:rows])
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
            written.bare[time, :rows] = bare


def blank_tape(loop: Loop, shape: Sequence[int], state: tuple[Tensor, ...], *, training: bool) -> Tape:
    """An empty tape for from_input's `shape` (T, B, G*H)."""
    steps, batch, width = shape
    kept, size, like = steps if training else 1, state[0].shape[1], state[0]
    cell = loop.pointwise
    gates = like.new_empty(kept, batch, width)
    return Tape(
        loop,
        training,
        [like.new_empty(steps + 1, batch, size) for _ in state],
        gates,
        gates if cell.additive else like.new_empty(kept, batch, width),
        like.new_empty(kept if cell.extra else 0, batch, size),
    )


class StepGradients(NamedTuple):
    """The gradients that the steps write, [T, B, G*H] each, and a work buffer."""

    gates: Tensor  # of the input's product
    product: Tensor  # of the hidden state's product, after normalisation
    bare: Tensor  # of the hidden state's product, before normalisation
    scratch: Tensor  # [B, H]

    def clear_padding(self, time: int, rows: int) -> None:
        """Zero the gradients of ended sequences."""
        for values in (self.gates, self.product, self.bare):
            values[time, rows:] = 0


Products = tuple[HiddenProduct, HiddenProduct | None]


def hidden_products_of(loop: Loop, weight: Tensor, gain: Tensor | None) -> Products:
    """The hidden state's product, and that of the last block if the cell resets before it."""
    if loop.pointwise.reset is None:
        return HiddenProduct(weight, gain, loop), None
    size = weight.shape[1]
    head, tail = (None, None) if gain is None else (gain[:-size], gain[-size:])
    return (
        HiddenProduct(weight[:-size], head, loop),
        HiddenProduct(weight[-size:], tail, loop),
    )


def gain_gradient(tape: Tape, grad_product: Tensor, products: Products) -> Tensor | None:
    """The gradient [G*H] of the layer normalisation's gain, or None without one."""
    if products[0].gain is None:
        return None
    total = torch.zeros_like(grad_product[0, 0])
    for time in range(grad_product.shape[0]):
        normalised = torch.cat([product.normalised[time][0] for product in products if product is not None], 1)
        total += (grad_product[time, : tape.rows(time)] * normalised).sum(0)
    return total
