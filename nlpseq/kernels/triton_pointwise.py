"""What each cell does between two matrix products, on a GPU: two short functions of Triton a cell, in a table.

A loop of `triton_loops` is given a cell's functions as arguments, so a cell is no kernel of its own. They work on tiles
[rows, units] in fp32, one a gate block, in tuples. What depends on exp alone is used for the activations: Triton's
interpreter, under which the tests run, knows no other. The price is that a cell is stated once more, beside
`nlpseq.cells` and the loops for the CPU; the tests hold all of them against the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl


@triton.jit
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); where exp overflows that is zero, as it should be."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x: Any) -> Any:
    """By exp, and near zero, where that would cancel, by the first terms of Taylor's series."""
    e = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - e) / (1.0 + e)
    y = x * x
    small = x + x * y * (-1.0 / 3 + y * (2.0 / 15 + y * (-17.0 / 315 + y * (62.0 / 2835))))
    return tl.where(tl.abs(x) < 0.25, small, tl.where(x < 0, -large, large))


@triton.jit
def _rnn_tanh(given: Any, product: Any, hidden: Any, memory: Any) -> Any:
    new = tanh(given[0] + product[0])
    return (new,), new, memory


@triton.jit
def _rnn_tanh_backward(kept: Any, hidden: Any, memory: Any, grad: Any, grad_memory: Any) -> Any:
    sent = (grad * (1.0 - kept[0] * kept[0]),)
    return sent, sent, grad * 0.0, grad_memory


@triton.jit
def _rnn_relu(given: Any, product: Any, hidden: Any, memory: Any) -> Any:
    new = tl.maximum(given[0] + product[0], 0.0)
    return (new,), new, memory


@triton.jit
def _rnn_relu_backward(kept: Any, hidden: Any, memory: Any, grad: Any, grad_memory: Any) -> Any:
    sent = (tl.where(kept[0] > 0, grad, 0.0),)
    return sent, sent, grad * 0.0, grad_memory


@triton.jit
def _rnn_sigmoid(given: Any, product: Any, hidden: Any, memory: Any) -> Any:
    new = sigmoid(given[0] + product[0])
    return (new,), new, memory


@triton.jit
def _rnn_sigmoid_backward(kept: Any, hidden: Any, memory: Any, grad: Any, grad_memory: Any) -> Any:
    sent = (grad * kept[0] * (1.0 - kept[0]),)
    return sent, sent, grad * 0.0, grad_memory


@triton.jit
def _lstm(given: Any, product: Any, hidden: Any, memory: Any) -> Any:
    admitted, forgotten = sigmoid(given[0] + product[0]), sigmoid(given[1] + product[1])
    candidate, shown = tanh(given[2] + product[2]), sigmoid(given[3] + product[3])
    new = forgotten * memory + admitted * candidate
    return (admitted, forgotten, candidate, shown), shown * tanh(new), new


@triton.jit
def _lstm_backward(kept: Any, hidden: Any, memory: Any, grad: Any, grad_memory: Any) -> Any:
    admitted, forgotten, candidate, shown = kept[0], kept[1], kept[2], kept[3]
    seen = tanh(forgotten * memory + admitted * candidate)
    grad_memory += grad * shown * (1.0 - seen * seen)
    sent = (
        grad_memory * candidate * admitted * (1.0 - admitted),
        grad_memory * memory * forgotten * (1.0 - forgotten),
        grad_memory * admitted * (1.0 - candidate * candidate),
        grad * seen * shown * (1.0 - shown),
    )
    return sent, sent, grad * 0.0, grad_memory * forgotten


@triton.jit
def _gru(given: Any, product: Any, hidden: Any, memory: Any) -> Any:
    reset, update = sigmoid(given[0] + product[0]), sigmoid(given[1] + product[1])
    candidate = tanh(given[2] + reset * product[2])
    return (reset, update, candidate, product[2]), candidate + update * (hidden - candidate), memory


@triton.jit
def _gru_backward(kept: Any, hidden: Any, memory: Any, grad: Any, grad_memory: Any) -> Any:
    reset, update, candidate = kept[0], kept[1], kept[2]
    grad_candidate = grad * (1.0 - update) * (1.0 - candidate * candidate)
    grad_update = grad * (hidden - candidate) * update * (1.0 - update)
    grad_reset = grad_candidate * kept[3] * reset * (1.0 - reset)
    sent = (grad_reset, grad_update, grad_candidate)
    return sent, (grad_reset, grad_update, grad_candidate * reset), grad * update, grad_memory


@triton.jit
def _gru_reset_before(given: Any, product: Any, hidden: Any, memory: Any) -> Any:
    reset, update = sigmoid(given[0] + product[0]), sigmoid(given[1] + product[1])
    candidate = tanh(given[2] + product[2])
    return (reset, update, candidate), candidate + update * (hidden - candidate), memory


@triton.jit
def _gru_reset_before_backward(kept: Any, hidden: Any, memory: Any, grad: Any, grad_memory: Any) -> Any:
    """The first block's gradient passes through the last product: the loop fills it in."""
    update, candidate = kept[1], kept[2]
    grad_candidate = grad * (1.0 - update) * (1.0 - candidate * candidate)
    grad_update = grad * (hidden - candidate) * update * (1.0 - update)
    sent = (grad * 0.0, grad_update, grad_candidate)
    return sent, sent, grad * update, grad_memory


@dataclass(frozen=True)
class Pointwise:
    """The pointwise part of one cell.

    `forward(given, product, hidden, memory)` takes the blocks of both products, biases included, and the state, and
    returns what is kept for the backward pass, and the new hidden state and memory.

    `backward(kept, hidden, memory, grad, grad_memory)` takes the state before the step and the gradients of the state
    after it, and returns those of the input's product and of the hidden state's, and the direct part of those of the
    state before the step. A cell without memory hands its arguments through.
    """

    forward: Any
    backward: Any
    kept: int  # tiles that are kept for the backward pass
    additive: bool = True  # both products have the same gradient


# by the names of nlpseq.cells.CELLS
POINTWISE: dict[str, Pointwise] = {
    "rnn": Pointwise(_rnn_tanh, _rnn_tanh_backward, 1),
    "rnn-relu": Pointwise(_rnn_relu, _rnn_relu_backward, 1),
    "rnn-sigmoid": Pointwise(_rnn_sigmoid, _rnn_sigmoid_backward, 1),
    "lstm": Pointwise(_lstm, _lstm_backward, 4),
    "gru": Pointwise(_gru, _gru_backward, 4, additive=False),
    "gru-reset-before": Pointwise(_gru_reset_before, _gru_reset_before_backward, 3),
}
