"""The pointwise arithmetic of each cell between two matrix products, forward and backward, in place on torch tensors.

The loop over time in `eager` is the same for every cell, and only these few lines differ. Compared with autograd, code
written by hand saves a graph of a dozen nodes in each step and nearly all temporaries. The cost is a second definition
of each cell; the tests compare its values and every gradient with `nlpseq.cells`.

Rows are those of the sequences that are active in the step: n <= B. An `additive` cell reads the sum of both products;
the other cell, gru, needs them apart. If a cell resets its hidden state before the last block's product, the loop calls
`reset` between the two products, and `reset_backward` between their backward passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Row(NamedTuple):
    """The tensors of one step."""

    gates: Tensor  # [n, G*H], the input's product, or the sum of both; becomes the activations
    product: Tensor  # [n, G*H], the hidden state's product; the same as `gates` if the cell adds both
    previous: list[Tensor]  # [n, H] each, the state before the step
    held: Tensor  # [n, H], kept for the backward pass, or empty


class RowGradients(NamedTuple):
    """The gradients that one step writes."""

    gates: Tensor  # [n, G*H], of the input's product
    product: Tensor  # [n, G*H], of the hidden state's product; the same as `gates` for an additive cell
    scratch: Tensor  # [n, H], a work buffer


@dataclass(frozen=True)
class Pointwise:
    """The pointwise part of one cell.

    `forward(row, new)` turns the row's products into activations and fills the new state [n, H] and `row.held`.

    `backward(row, grads, written)` takes the gradients [n, H] of the state after the step and fills `written`. It
    replaces `grads` by the direct part of the gradients of the state before the step.
    """

    forward: Callable[[Row, list[Tensor]], None]
    backward: Callable[[Row, list[Tensor], RowGradients], None]
    additive: bool = True
    extra: bool = False  # whether `held` is used
    reset: Callable[[Row], None] | None = None
    reset_backward: Callable[[Row, Tensor, Tensor, RowGradients], None] | None = None


def _rnn(activate: Callable[[Tensor], Tensor], differentiate: Callable[..., Tensor]) -> Pointwise:
    def forward(row: Row, new: list[Tensor]) -> None:
        new[0].copy_(activate(row.gates))

    def backward(row: Row, grads: list[Tensor], written: RowGradients) -> None:
        differentiate(grads[0], row.gates, grad_input=written.gates)
        grads[0].zero_()

    return Pointwise(forward, backward)


def _relu_backward(grad: Tensor, output: Tensor, *, grad_input: Tensor) -> Tensor:
    return torch.mul(grad, output > 0, out=grad_input)


def _lstm_forward(row: Row, new: list[Tensor]) -> None:
    size = row.held.shape[1]
    hidden, memory = new
    row.gates[:, : 2 * size].sigmoid_()
    row.gates[:, 2 * size : 3 * size].tanh_()
    row.gates[:, 3 * size :].sigmoid_()
    admitted, kept, candidate, shown = row.gates.chunk(4, 1)
    torch.mul(kept, row.previous[1], out=memory)
    memory.addcmul_(admitted, candidate)
    torch.tanh(memory, out=row.held)
    torch.mul(shown, row.held, out=hidden)


def _lstm_backward(row: Row, grads: list[Tensor], written: RowGradients) -> None:
    admitted, kept, candidate, shown = row.gates.chunk(4, 1)
    grad_admitted, grad_kept, grad_candidate, grad_shown = written.gates.chunk(4, 1)
    grad_hidden, grad_memory = grads
    scratch = written.scratch
    torch.mul(grad_hidden, row.held, out=scratch)
    sigmoid_backward(scratch, shown, grad_input=grad_shown)
    torch.mul(grad_hidden, shown, out=scratch)
    grad_memory.add_(tanh_backward(scratch, row.held, grad_input=scratch))
    torch.mul(grad_memory, candidate, out=scratch)
    sigmoid_backward(scratch, admitted, grad_input=grad_admitted)
    torch.mul(grad_memory, row.previous[1], out=scratch)
    sigmoid_backward(scratch, kept, grad_input=grad_kept)
    torch.mul(grad_memory, admitted, out=scratch)
    tanh_backward(scratch, candidate, grad_input=grad_candidate)
    grad_memory.mul_(kept)
    grad_hidden.zero_()


def _blend(row: Row, new: list[Tensor]) -> None:
    """h = n + z * (h' - n), with the activated blocks z and n of the row."""
    _, update, candidate = row.gates.chunk(3, 1)
    torch.sub(row.previous[0], candidate, out=new[0])
    new[0].mul_(update).add_(candidate)


def _blend_backward(row: Row, grads: list[Tensor], written: RowGradients) -> None:
    """Backward of `_blend`: fills the gradients of z and n before their activations, and `grads` with that of h'."""
    _, update, candidate = row.gates.chunk(3, 1)
    _, grad_update, grad_candidate = written.gates.chunk(3, 1)
    grad_hidden, scratch = grads[0], written.scratch
    torch.sub(row.previous[0], candidate, out=scratch)
    scratch.mul_(grad_hidden)
    sigmoid_backward(scratch, update, grad_input=grad_update)
    torch.mul(grad_hidden, update, out=scratch)
    grad_hidden.sub_(scratch)
    tanh_backward(grad_hidden, candidate, grad_input=grad_candidate)
    grad_hidden.copy_(scratch)


def _gru_forward(row: Row, new: list[Tensor]) -> None:
    size = new[0].shape[1]
    row.gates[:, : 2 * size].add_(row.product[:, : 2 * size]).sigmoid_()
    reset, _, candidate = row.gates.chunk(3, 1)
    candidate.addcmul_(reset, row.product[:, 2 * size :]).tanh_()
    _blend(row, new)


def _gru_backward(row: Row, grads: list[Tensor], written: RowGradients) -> None:
    size = written.scratch.shape[1]
    reset = row.gates[:, :size]
    _blend_backward(row, grads, written)
    grad_candidate = written.gates[:, 2 * size :]
    torch.mul(grad_candidate, row.product[:, 2 * size :], out=written.scratch)
    sigmoid_backward(written.scratch, reset, grad_input=written.gates[:, :size])
    written.product[:, : 2 * size].copy_(written.gates[:, : 2 * size])
    torch.mul(grad_candidate, reset, out=written.product[:, 2 * size :])


def _reset(row: Row) -> None:
    """Activate the blocks r and z, and store r * h."""
    size = row.held.shape[1]
    row.gates[:, : 2 * size].sigmoid_()
    torch.mul(row.gates[:, :size], row.previous[0], out=row.held)


def _reset_backward(row: Row, grad_held: Tensor, grad_hidden: Tensor, written: RowGradients) -> None:
    """Backward of r * h: adds to `grad_hidden` [n, H], and fills the gradient of r before its activation."""
    size = row.held.shape[1]
    reset = row.gates[:, :size]
    grad_hidden.addcmul_(grad_held, reset)
    torch.mul(grad_held, row.previous[0], out=written.scratch)
    sigmoid_backward(written.scratch, reset, grad_input=written.gates[:, :size])


def _reset_before_forward(row: Row, new: list[Tensor]) -> None:
    size = row.held.shape[1]
    row.gates[:, 2 * size :].tanh_()
    _blend(row, new)


# keys as in nlpseq.cells.CELLS
POINTWISE: dict[str, Pointwise] = {
    "rnn": _rnn(Tensor.tanh_, tanh_backward),
    "rnn-relu": _rnn(Tensor.relu_, _relu_backward),
    "rnn-sigmoid": _rnn(Tensor.sigmoid_, sigmoid_backward),
    "lstm": Pointwise(_lstm_forward, _lstm_backward, extra=True),
    "gru": Pointwise(_gru_forward, _gru_backward, additive=False),
    "gru-reset-before": Pointwise(
        _reset_before_forward, _blend_backward, extra=True, reset=_reset, reset_backward=_reset_backward
    ),
}
