"""The pointwise arithmetic of each cell between two matrix products, forward and backward, as Triton device functions.

A cell is two short functions in a table, which the kernels take as compile-time arguments, so one kernel runs every
cell and option. Tiles are [rows, units] in fp32; a tuple of tiles has one for each block of gates. The price is another
definition of each cell; the tests compare it with `nlpseq.cells`. This module imports Triton.

    forward(x, q, hidden, memory)  -> hidden, memory, saved
    backward(saved, hidden, memory, grad_hidden, grad_memory)  -> grad_x, grad_q, grad_hidden, grad_memory

where x is the input's product, q the hidden state's product, both with their biases, and hidden and memory are the
state before the step. A cell without a memory returns `memory` unchanged. grad_hidden of `backward` does not include
the gradient through the products, which the loop adds.

All functions use exp only, because the library of device functions cannot be interpreted without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl


@triton.jit
def sigmoid(x: tl.tensor) -> tl.tensor:
    """1 / (1 + exp(-x)): for large -x the exponential is infinite, and its inverse zero."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x: tl.tensor) -> tl.tensor:
    """The hyperbolic tangent, with a relative error of about 1e-6; near zero it is a polynomial."""
    size = tl.abs(x)
    square = x * x
    power = tl.exp(-2.0 * size)
    large = (1.0 - power) / (1.0 + power)
    series = 0.13333333 + square * (-0.053968254 + square * (0.021869488 + square * -0.0088632355))
    return tl.where(size < 0.25, x + x * square * (-0.33333333 + square * series), tl.where(x < 0, -large, large))


@triton.jit
def _tanh_forward(x: tl.tuple, q: tl.tuple, hidden: tl.tensor, memory: tl.tensor) -> tl.tuple:
    new = tanh(x[0] + q[0])
    return new, memory, (new,)


@triton.jit
def _tanh_backward(
    saved: tl.tuple, hidden: tl.tensor, memory: tl.tensor, grad_hidden: tl.tensor, grad_memory: tl.tensor
) -> tl.tuple:
    grads = (grad_hidden * (1.0 - saved[0] * saved[0]),)
    return grads, grads, tl.zeros_like(grad_hidden), grad_memory


@triton.jit
def _relu_forward(x: tl.tuple, q: tl.tuple, hidden: tl.tensor, memory: tl.tensor) -> tl.tuple:
    new = tl.maximum(x[0] + q[0], 0.0)
    return new, memory, (new,)


@triton.jit
def _relu_backward(
    saved: tl.tuple, hidden: tl.tensor, memory: tl.tensor, grad_hidden: tl.tensor, grad_memory: tl.tensor
) -> tl.tuple:
    grads = (tl.where(saved[0] > 0.0, grad_hidden, 0.0),)
    return grads, grads, tl.zeros_like(grad_hidden), grad_memory


@triton.jit
def _sigmoid_forward(x: tl.tuple, q: tl.tuple, hidden: tl.tensor, memory: tl.tensor) -> tl.tuple:
    new = sigmoid(x[0] + q[0])
    return new, memory, (new,)


@triton.jit
def _sigmoid_backward(
    saved: tl.tuple, hidden: tl.tensor, memory: tl.tensor, grad_hidden: tl.tensor, grad_memory: tl.tensor
) -> tl.tuple:
    grads = (grad_hidden * saved[0] * (1.0 - saved[0]),)
    return grads, grads, tl.zeros_like(grad_hidden), grad_memory


@triton.jit
def _lstm_forward(x: tl.tuple, q: tl.tuple, hidden: tl.tensor, memory: tl.tensor) -> tl.tuple:
    admitted, kept = sigmoid(x[0] + q[0]), sigmoid(x[1] + q[1])
    candidate, shown = tanh(x[2] + q[2]), sigmoid(x[3] + q[3])
    new = kept * memory + admitted * candidate
    return shown * tanh(new), new, (admitted, kept, candidate, shown)


@triton.jit
def _lstm_backward(
    saved: tl.tuple, hidden: tl.tensor, memory: tl.tensor, grad_hidden: tl.tensor, grad_memory: tl.tensor
) -> tl.tuple:
    admitted, kept, candidate, shown = saved[0], saved[1], saved[2], saved[3]
    squashed = tanh(kept * memory + admitted * candidate)
    grad_new = grad_memory + grad_hidden * shown * (1.0 - squashed * squashed)
    grads = (
        grad_new * candidate * admitted * (1.0 - admitted),
        grad_new * memory * kept * (1.0 - kept),
        grad_new * admitted * (1.0 - candidate * candidate),
        grad_hidden * squashed * shown * (1.0 - shown),
    )
    return grads, grads, tl.zeros_like(grad_hidden), grad_new * kept


@triton.jit
def _gru_forward(x: tl.tuple, q: tl.tuple, hidden: tl.tensor, memory: tl.tensor) -> tl.tuple:
    reset, update = sigmoid(x[0] + q[0]), sigmoid(x[1] + q[1])
    candidate = tanh(x[2] + reset * q[2])
    return candidate + update * (hidden - candidate), memory, (reset, update, candidate, q[2])


@triton.jit
def _gru_backward(
    saved: tl.tuple, hidden: tl.tensor, memory: tl.tensor, grad_hidden: tl.tensor, grad_memory: tl.tensor
) -> tl.tuple:
    reset, update, candidate, product = saved[0], saved[1], saved[2], saved[3]
    grad_candidate = grad_hidden * (1.0 - update) * (1.0 - candidate * candidate)
    grad_update = grad_hidden * (hidden - candidate) * update * (1.0 - update)
    grad_reset = grad_candidate * product * reset * (1.0 - reset)
    grad_x = (grad_reset, grad_update, grad_candidate)
    return grad_x, (grad_reset, grad_update, grad_candidate * reset), grad_hidden * update, grad_memory


@triton.jit
def _reset_before_forward(x: tl.tuple, q: tl.tuple, hidden: tl.tensor, memory: tl.tensor) -> tl.tuple:
    reset, update = sigmoid(x[0] + q[0]), sigmoid(x[1] + q[1])
    candidate = tanh(x[2] + q[2])
    return candidate + update * (hidden - candidate), memory, (reset, update, candidate)


@triton.jit
def _reset_before_backward(
    saved: tl.tuple, hidden: tl.tensor, memory: tl.tensor, grad_hidden: tl.tensor, grad_memory: tl.tensor
) -> tl.tuple:
    update, candidate = saved[1], saved[2]
    grad_candidate = grad_hidden * (1.0 - update) * (1.0 - candidate * candidate)
    grad_update = grad_hidden * (hidden - candidate) * update * (1.0 - update)
    grads = (tl.zeros_like(grad_hidden), grad_update, grad_candidate)
    return grads, grads, grad_hidden * update, grad_memory


@triton.jit
def reset_hidden(x: tl.tuple, q: tl.tuple, hidden: tl.tensor) -> tl.tensor:
    """r * h, which the last block of the weights multiplies if a cell resets before the product."""
    return sigmoid(x[0] + q[0]) * hidden


@triton.jit
def reset_hidden_backward(saved: tl.tuple, hidden: tl.tensor, grad_held: tl.tensor) -> tl.tuple:
    """Backward of r * h: the gradient of r before its activation, and that of h."""
    reset = saved[0]
    return grad_held * hidden * reset * (1.0 - reset), grad_held * reset


@dataclass(frozen=True)
class Pointwise:
    """One cell: its device functions, and the numbers of its gate blocks and of tiles for its backward pass."""

    forward: Any
    backward: Any
    gates: int
    saved: int
    memory: bool = False  # whether the state has a second part
    additive: bool = True  # whether both products have the same gradient
    resets: bool = False  # whether the last block's product is of r * h


# keys as in nlpseq.cells.CELLS
POINTWISE: dict[str, Pointwise] = {
    "rnn": Pointwise(_tanh_forward, _tanh_backward, 1, 1),
    "rnn-relu": Pointwise(_relu_forward, _relu_backward, 1, 1),
    "rnn-sigmoid": Pointwise(_sigmoid_forward, _sigmoid_backward, 1, 1),
    "lstm": Pointwise(_lstm_forward, _lstm_backward, 4, 4, memory=True),
    "gru": Pointwise(_gru_forward, _gru_backward, 3, 4, additive=False),
    "gru-reset-before": Pointwise(_reset_before_forward, _reset_before_backward, 3, 3, resets=True),
}
