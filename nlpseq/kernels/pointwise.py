"""What each cell does between two matrix products, forward and backward, in place on torch tensors.

The loop over time in `recurrence` is the same for every cell; these few lines are all that differs. Writing them by
hand instead of leaving them to autograd saves the graph of a dozen nodes a step and nearly all temporaries; the cost
is a second statement of each cell, which the tests hold against `nlpseq.cells` in values and in every gradient.

Rows are those of the sequences that are active at the step: n <= B. A kernel that is `additive` reads one sum of both
products; the other (gru) needs them apart. Where a cell resets its hidden state before the last block's product, the
loop calls `reset` between the two products, and `reset_backward` between their backward passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


@dataclass(frozen=True)
class Pointwise:
    """The pointwise part of one cell.

    `forward(gates [n, G*H], product [n, G*H], previous, new, extra [n, H])`: `gates` holds the input's product (for
    an additive cell the sum of both) and becomes the activations; `new` and `extra` are filled. `previous` and `new`
    are the state's tensors [n, H].

    `backward(gates, product, previous, extra, grads, grad_gates, grad_product, scratch [n, H])`: `grads` are the
    state's gradients [n, H] after the step and become the direct part of those before it; `grad_gates` and, if not
    additive, `grad_product` are filled.
    """

    forward: Callable[[Tensor, Tensor, list[Tensor], list[Tensor], Tensor], None]
    backward: Callable[[Tensor, Tensor, list[Tensor], Tensor, list[Tensor], Tensor, Tensor, Tensor], None]
    states: int = 1
    additive: bool = True
    extra: bool = False  # whether a tensor [T, B, H] is kept for the backward pass
    reset: Callable[[Tensor, Tensor, Tensor], None] | None = None
    reset_backward: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], None] | None = None


def _rnn(activate: Callable[[Tensor], Tensor], differentiate: Callable[..., Tensor]) -> Pointwise:
    def forward(gates: Tensor, product: Tensor, previous: list[Tensor], new: list[Tensor], extra: Tensor) -> None:
        new[0].copy_(activate(gates))

    def backward(
        gates: Tensor,
        product: Tensor,
        previous: list[Tensor],
        extra: Tensor,
        grads: list[Tensor],
        grad_gates: Tensor,
        grad_product: Tensor,
        scratch: Tensor,
    ) -> None:
        differentiate(grads[0], gates, grad_input=grad_gates)
        grads[0].zero_()

    return Pointwise(forward, backward)


def _relu_backward(grad: Tensor, output: Tensor, *, grad_input: Tensor) -> Tensor:
    return torch.mul(grad, output > 0, out=grad_input)


def _lstm_forward(gates: Tensor, product: Tensor, previous: list[Tensor], new: list[Tensor], extra: Tensor) -> None:
    size = extra.shape[1]
    hidden, memory = new
    gates[:, : 2 * size].sigmoid_()
    gates[:, 2 * size : 3 * size].tanh_()
    gates[:, 3 * size :].sigmoid_()
    admitted, kept, candidate, shown = gates.chunk(4, 1)
    torch.mul(kept, previous[1], out=memory)
    memory.addcmul_(admitted, candidate)
    torch.tanh(memory, out=extra)
    torch.mul(shown, extra, out=hidden)


def _lstm_backward(
    gates: Tensor,
    product: Tensor,
    previous: list[Tensor],
    extra: Tensor,
    grads: list[Tensor],
    grad_gates: Tensor,
    grad_product: Tensor,
    scratch: Tensor,
) -> None:
    admitted, kept, candidate, shown = gates.chunk(4, 1)
    grad_admitted, grad_kept, grad_candidate, grad_shown = grad_gates.chunk(4, 1)
    grad_hidden, grad_memory = grads
    torch.mul(grad_hidden, extra, out=scratch)
    sigmoid_backward(scratch, shown, grad_input=grad_shown)
    torch.mul(grad_hidden, shown, out=scratch)
    grad_memory.add_(tanh_backward(scratch, extra, grad_input=scratch))
    torch.mul(grad_memory, candidate, out=scratch)
    sigmoid_backward(scratch, admitted, grad_input=grad_admitted)
    torch.mul(grad_memory, previous[1], out=scratch)
    sigmoid_backward(scratch, kept, grad_input=grad_kept)
    torch.mul(grad_memory, admitted, out=scratch)
    tanh_backward(scratch, candidate, grad_input=grad_candidate)
    grad_memory.mul_(kept)
    grad_hidden.zero_()


def _blend(update: Tensor, candidate: Tensor, previous: Tensor, new: Tensor) -> None:
    torch.sub(previous, candidate, out=new)
    new.mul_(update).add_(candidate)


def _gru_after_forward(
    gates: Tensor, product: Tensor, previous: list[Tensor], new: list[Tensor], extra: Tensor
) -> None:
    size = new[0].shape[1]
    gates[:, : 2 * size].add_(product[:, : 2 * size]).sigmoid_()
    reset, update, candidate = gates.chunk(3, 1)
    candidate.addcmul_(reset, product[:, 2 * size :]).tanh_()
    _blend(update, candidate, previous[0], new[0])


def _gru_after_backward(
    gates: Tensor,
    product: Tensor,
    previous: list[Tensor],
    extra: Tensor,
    grads: list[Tensor],
    grad_gates: Tensor,
    grad_product: Tensor,
    scratch: Tensor,
) -> None:
    size = scratch.shape[1]
    reset, update, candidate = gates.chunk(3, 1)
    grad_reset, grad_update, grad_candidate = grad_gates.chunk(3, 1)
    _gru_blend_backward(update, candidate, previous[0], grads[0], grad_update, grad_candidate, scratch)
    torch.mul(grad_candidate, product[:, 2 * size :], out=scratch)
    sigmoid_backward(scratch, reset, grad_input=grad_reset)
    grad_product[:, : 2 * size].copy_(grad_gates[:, : 2 * size])
    torch.mul(grad_candidate, reset, out=grad_product[:, 2 * size :])


def _gru_blend_backward(
    update: Tensor,
    candidate: Tensor,
    previous: Tensor,
    grad_hidden: Tensor,
    grad_update: Tensor,
    grad_candidate: Tensor,
    scratch: Tensor,
) -> None:
    """Through h = n + z * (h' - n): fills the gradients of z and n before their activations, and leaves that of h'."""
    torch.sub(previous, candidate, out=scratch)
    scratch.mul_(grad_hidden)
    sigmoid_backward(scratch, update, grad_input=grad_update)
    torch.mul(grad_hidden, update, out=scratch)
    grad_hidden.sub_(scratch)
    tanh_backward(grad_hidden, candidate, grad_input=grad_candidate)
    grad_hidden.copy_(scratch)


def _gru_before_reset(gates: Tensor, hidden: Tensor, extra: Tensor) -> None:
    """Activate the blocks r and z of `gates`, and fill `extra` with r * h."""
    size = extra.shape[1]
    gates[:, : 2 * size].sigmoid_()
    torch.mul(gates[:, :size], hidden, out=extra)


def _gru_before_forward(
    gates: Tensor, product: Tensor, previous: list[Tensor], new: list[Tensor], extra: Tensor
) -> None:
    _, update, candidate = gates.chunk(3, 1)
    candidate.tanh_()
    _blend(update, candidate, previous[0], new[0])


def _gru_before_backward(
    gates: Tensor,
    product: Tensor,
    previous: list[Tensor],
    extra: Tensor,
    grads: list[Tensor],
    grad_gates: Tensor,
    grad_product: Tensor,
    scratch: Tensor,
) -> None:
    _, update, candidate = gates.chunk(3, 1)
    _, grad_update, grad_candidate = grad_gates.chunk(3, 1)
    _gru_blend_backward(update, candidate, previous[0], grads[0], grad_update, grad_candidate, scratch)


def _gru_before_reset_backward(
    gates: Tensor,
    hidden: Tensor,
    grad_extra: Tensor,
    grad_hidden: Tensor,
    grad_gates: Tensor,
    scratch: Tensor,
) -> None:
    """Through r * h: adds to `grad_hidden`, and fills the block r of `grad_gates`."""
    size = hidden.shape[1]
    reset = gates[:, :size]
    grad_hidden.addcmul_(grad_extra, reset)
    torch.mul(grad_extra, hidden, out=scratch)
    sigmoid_backward(scratch, reset, grad_input=grad_gates[:, :size])


RNN_TANH = _rnn(Tensor.tanh_, tanh_backward)
RNN_RELU = _rnn(Tensor.relu_, _relu_backward)
RNN_SIGMOID = _rnn(Tensor.sigmoid_, sigmoid_backward)
LSTM = Pointwise(_lstm_forward, _lstm_backward, states=2, extra=True)
GRU = Pointwise(_gru_after_forward, _gru_after_backward, additive=False)
GRU_RESET_BEFORE = Pointwise(
    _gru_before_forward,
    _gru_before_backward,
    extra=True,
    reset=_gru_before_reset,
    reset_backward=_gru_before_reset_backward,
)

POINTWISE: dict[str, Pointwise] = {
    "rnn": RNN_TANH,
    "rnn-relu": RNN_RELU,
    "rnn-sigmoid": RNN_SIGMOID,
    "lstm": LSTM,
    "gru": GRU,
    "gru-reset-before": GRU_RESET_BEFORE,
}
