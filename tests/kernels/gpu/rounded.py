"""The plain loop in double precision, but for what the GPU's kernels round: an oracle for 16-bit operands.

Against it a kernel can be held to a ten-thousandth of the largest value, where against the exact loop rounding hides
faults of a hundredth. Forward values are rounded where the kernels round them; gradients are made by autograd, of the
values that the kernels have at hand in the backward pass, and rounded where theirs are.

    inputs and both weights, before their products         always
    the hidden state, before its product                   always
    the input's product                                    always; with both biases in it where gates are rounded
    gradients of gates, before all their products          always
    gates, and what is normalised, for the backward pass   where gates are rounded: by the persistent kernels
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Tensor]

EPSILON = 1e-5  # of layer normalisation
layer_norm = torch.nn.functional.layer_norm


class _Rounded(torch.autograd.Function):
    """Values rounded to a type, or gradients, or both."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, kind: torch.dtype, forwards: bool, backwards: bool) -> Tensor:
        ctx.kind = kind if backwards else None
        return value.to(kind).to(value.dtype) if forwards else value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return grad if ctx.kind is None else grad.to(ctx.kind).to(grad.dtype), None, None, None


class _At(torch.autograd.Function):
    """A function of some values whose derivative is taken at others."""

    @staticmethod
    def forward(ctx: Any, function: Function, count: int, *values: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*values[count:])
        return function(*values[:count])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        points = [point.detach().requires_grad_() for point in ctx.saved_tensors]
        with torch.enable_grad():
            value = ctx.function(*points)
        grads = torch.autograd.grad(value, points, grad, allow_unused=True)
        return None, None, *grads, *(None for _ in points)


class _Activation(torch.autograd.Function):
    """sigmoid, tanh or relu, whose derivative is taken at its rounded result."""

    @staticmethod
    def forward(ctx: Any, name: str, value: Tensor, kind: torch.dtype | None) -> Tensor:
        ctx.name = name
        made: Tensor = getattr(torch, name)(value)
        ctx.save_for_backward(made if kind is None else made.to(kind).to(made.dtype))
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (made,) = ctx.saved_tensors
        slope = {"sigmoid": made * (1 - made), "tanh": 1 - made * made, "relu": (made > 0).to(made.dtype)}[ctx.name]
        return None, grad * slope, None


class _Normalised(torch.autograd.Function):
    """Layer normalisation with a gain [B, W], whose derivative is taken at its rounded result."""

    @staticmethod
    def forward(ctx: Any, bare: Tensor, gain: Tensor, kind: torch.dtype) -> Tensor:
        made, _, deviation = torch.native_layer_norm(bare, bare.shape[1:], None, None, EPSILON)
        ctx.kind = kind
        ctx.save_for_backward(made.to(kind).to(made.dtype), deviation, gain)
        return made * gain

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        made, deviation, gain = ctx.saved_tensors
        scaled = grad * gain
        shared = (scaled * made).mean(1, keepdim=True)
        bare = (scaled - scaled.mean(1, keepdim=True) - made * shared) * deviation
        return bare, (grad.to(ctx.kind).to(grad.dtype) * made).sum(0), None


class _Loop:
    """One layer over time."""

    def __init__(self, cell: str, operands: torch.dtype, zoneout: float, rounds_gates: bool) -> None:
        self.cell, self.operands, self.zoneout, self.rounds_gates = cell, operands, zoneout, rounds_gates
        self.saved = operands if rounds_gates else None

    def round(self, value: Tensor, *, forwards: bool = True, backwards: bool = False) -> Tensor:
        made: Tensor = _Rounded.apply(value, self.operands, forwards, backwards)  # type: ignore[no-untyped-call]
        return made

    def at(self, function: Function, values: list[Tensor], points: list[Tensor]) -> Tensor:
        made: Tensor = _At.apply(function, len(values), *values, *points)  # type: ignore[no-untyped-call]
        return made

    def act(self, name: str, value: Tensor) -> Tensor:
        made: Tensor = _Activation.apply(name, value, self.saved)  # type: ignore[no-untyped-call]
        return made

    def kept(self, value: Tensor) -> Tensor:
        """A value as the backward pass has it."""
        value = value.detach()
        return value.to(self.saved).to(value.dtype) if self.saved else value

    def step(self, x: Tensor, q: Tensor, state: list[Tensor]) -> list[Tensor]:
        """From both products [B, G*H], biases in them, to the state after a step."""
        if self.cell == "lstm":
            return self._lstm(x + q, *state)
        if self.cell == "gru":
            return [self._gru(x, q, *state)]
        if self.cell == "gru-reset-before":
            _, z, n = (x + q).chunk(3, 1)
            z, n = self.act("sigmoid", z), self.act("tanh", n)
            points = [self.kept(z), self.kept(n), self.kept(state[0])]
            return [self.at(lambda z, n, hidden: n + z * (hidden - n), [z, n, state[0]], points)]
        name = {"rnn": "tanh", "rnn-relu": "relu", "rnn-sigmoid": "sigmoid"}[self.cell]
        return [self.act(name, x + q)]

    def product(self, hidden: Tensor, weight: Tensor, gain: Tensor | None) -> Tensor:
        """A hidden state's product with blocks of rounded weights, normalised if there is a gain."""
        made = self.round(self.round(hidden) @ weight.t(), forwards=False, backwards=True)
        if gain is None:
            return made
        if self.rounds_gates:
            return _Normalised.apply(made, gain, self.operands)  # type: ignore[no-any-return, no-untyped-call]
        return layer_norm(made, made.shape[1:], gain, None, EPSILON)

    def hidden_product(self, x: Tensor, hidden: Tensor, weight: Tensor, weights: Any, bias: Tensor) -> Tensor:
        """The hidden state's product [B, G*H] with its bias, in two parts if the cell resets between them."""
        gain, size = weights.gain_hh, hidden.shape[1]
        if self.cell != "gru-reset-before":
            return self.product(hidden, weight, gain) + bias
        head, tail = (None, None) if gain is None else (gain[:-size], gain[-size:])
        gates = self.product(hidden, weight[:-size], head) + bias[:-size]
        reset = self.act("sigmoid", x[:, :size] + gates[:, :size])
        held = self.at(lambda r, h: r * h, [reset, hidden], [self.kept(reset), self.kept(hidden)])
        return torch.cat([gates, self.product(held, weight[-size:], tail) + bias[-size:]], 1)

    def _lstm(self, sums: Tensor, hidden: Tensor, memory: Tensor) -> list[Tensor]:
        i, f, g, o = sums.chunk(4, 1)
        i, f, g, o = self.act("sigmoid", i), self.act("sigmoid", f), self.act("tanh", g), self.act("sigmoid", o)

        def mix(i: Tensor, f: Tensor, g: Tensor, memory: Tensor) -> Tensor:
            return f * memory + i * g

        points = [*(self.kept(one) for one in (i, f, g)), memory.detach()]
        new = self.at(mix, [i, f, g, memory], points)
        # with zoneout the new memory is made again from what was saved
        again = mix(*points) if self.zoneout or not self.rounds_gates else new.detach()
        return [self.at(lambda o, c: o * c.tanh(), [o, new], [self.kept(o), again]), new]

    def _gru(self, x: Tensor, q: Tensor, hidden: Tensor) -> Tensor:
        size = hidden.shape[1]
        gates = x[:, : 2 * size] + q[:, : 2 * size]
        r, z = self.act("sigmoid", gates[:, :size]), self.act("sigmoid", gates[:, size:])
        last = q[:, 2 * size :]
        part = self.at(lambda r, last: r * last, [r, last], [self.kept(r), self.kept(last)])
        n = self.act("tanh", x[:, 2 * size :] + part)
        points = [self.kept(z), self.kept(n), self.kept(hidden)]
        return self.at(lambda z, n, hidden: n + z * (hidden - n), [z, n, hidden], points)


def rounded_unroll(
    cell: Any,
    weights: Any,
    inputs: Tensor,
    state: Any,
    lengths: Tensor | None = None,
    *,
    operands: torch.dtype,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: Tensor | None = None,
    rounds_gates: bool = True,
) -> tuple[Tensor, Any]:
    """As `nlpseq.cells.unroll`, in double precision, for all cells but the parallel ones.

    `rounds_gates` is whether the persistent way is meant, or one of the others; a reset before the product is for
    those.
    """
    loop = _Loop(cell.name, operands, zoneout, rounds_gates)
    x, q_bias = _input_product(loop, weights, inputs)
    weight = loop.round(weights.weight_hh)
    states, outputs = list(state), {}
    order = range(len(inputs))[::-1] if reverse else range(len(inputs))
    for time in order:
        left = loop.round(q_bias, forwards=False, backwards=weights.gain_hh is not None and rounds_gates)
        q = loop.hidden_product(x[time], states[0], weight, weights, left)
        new = loop.step(x[time], q, states)
        if zoneout:
            share = zoneout if masks is None else masks[time]
            new = [fresh + share * (old - fresh) for fresh, old in zip(new, states, strict=True)]
        outputs[time] = new[0]
        if lengths is not None:
            active = (time < lengths)[:, None]
            outputs[time] = torch.where(active, new[0], 0.0)
            new = [torch.where(active, fresh, old) for fresh, old in zip(new, states, strict=True)]
        states = new
    return torch.stack([outputs[time] for time in range(len(inputs))]), type(state)(*states)


def _input_product(loop: _Loop, weights: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The input's product [T, B, G*H] with what biases are in it, and what is left of them."""
    size = weights.weight_hh.shape[1]
    x = inputs
    bias = torch.zeros_like(weights.bias_hh)
    if weights.weight_ih is not None:
        x = loop.round(inputs) @ loop.round(weights.weight_ih).t()
        bias = weights.bias_ih
    x = loop.round(x, forwards=False, backwards=True)
    if loop.rounds_gates and weights.gain_ih is not None:
        return _normalised_inputs(loop, weights, loop.round(x))
    if not loop.rounds_gates:
        x = loop.round(x)
        if weights.gain_ih is not None:
            x = layer_norm(x, x.shape[-1:], weights.gain_ih, None, EPSILON)
        return x + bias, weights.bias_hh
    if loop.cell == "gru":  # the last block's biases are apart
        both = loop.round(bias + weights.bias_hh)[: 2 * size]
        total = torch.cat([both, loop.round(bias[2 * size :])])
        left = torch.cat([torch.zeros_like(both), loop.round(weights.bias_hh[2 * size :])])
        return loop.round(x + total), left
    both = x + loop.round(bias + weights.bias_hh)
    return loop.round(both, backwards=loop.cell == "gru-reset-before"), torch.zeros_like(bias)


def _normalised_inputs(loop: _Loop, weights: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """As `_input_product`, where gradients of biases are sums of rounded ones."""
    size = weights.weight_hh.shape[1]
    x = layer_norm(x, x.shape[-1:], weights.gain_ih, None, EPSILON) + weights.bias_ih
    bias = loop.round(weights.bias_hh).expand(x.shape[1], -1)
    if loop.cell != "gru":
        return loop.round(x + bias, backwards=True), torch.zeros_like(bias)
    both = loop.round(torch.cat([x[..., : 2 * size] + bias[:, : 2 * size], x[..., 2 * size :]], -1), backwards=True)
    left = torch.cat([torch.zeros_like(bias[:, : 2 * size]), bias[:, 2 * size :]], 1)
    return both, left
