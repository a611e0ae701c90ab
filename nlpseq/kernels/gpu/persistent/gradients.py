"""The gradients of weights, inputs and first states, from those of all steps' gates: each a product over all steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nlpseq.kernels.gpu.persistent.arrays import Layer, narrow, of_each, separate
from nlpseq.kernels.gpu.products import multiply_in_full


def gradients_of(
    ctx: Any, layer: Layer, grad_product: Tensor, grad_gates: Tensor | None, bias: Tensor, grads: list[Tensor]
) -> tuple[Tensor | None, ...]:
    """All gradients, each by one product over all steps, from `grad_product` [T + directions, B, directions * gates *
    whole], those of the gates in all steps.
    """
    flat, wx, helds, wh, hiddens, *_, normalised, _ = ctx.saved_tensors
    (x_slots, h_slots), needs = layer.slots, ctx.needs_input_grad
    gates = grad_product[layer.time_slice].flatten(0, 1)
    gates_input = gates if grad_gates is None else grad_gates[layer.time_slice].flatten(0, 1)
    gates_by_direction, inputs_by_direction = of_each(layer, gates), of_each(layer, gates_input)
    held = hiddens if helds is None else helds
    grads_wh = [
        _hidden_weight_gradient(layer, *tensors)
        for tensors in zip(layer.reversed, gates_by_direction, inputs_by_direction, hiddens, held, strict=True)
    ]
    if layer.resets:
        gates_input = gates + gates_input  # no slot is in both
    if layer.normalised or layer.resets:
        totals = of_each(layer, gates_input.sum(0, keepdim=True, dtype=torch.float32))
    else:
        totals = list(bias.view(layer.directions, -1, layer.width).sum(1, keepdim=True))
    grad_inputs = _input_gradient(layer, gates_input, wx) if needs[3] else None
    grads_wx = None if wx is None else multiply_in_full(gates_input.t(), flat).view(layer.directions, layer.width, -1)
    gradients: list[Tensor | None] = []
    for number, (total, time) in enumerate(zip(totals, layer.first_times(), strict=True)):
        grad_wx = grad_bx = grad_gain = None
        if grads_wx is not None:
            grad_wx = separate(grads_wx[number], x_slots, layer, layer.inputs)
            grad_bx = separate(total.t(), x_slots, layer, 1)[:, 0]
        grad_bh = separate(total.t(), h_slots, layer, 1)[:, 0]
        if layer.normalised:
            gain_terms = (inputs_by_direction[number].float() * normalised[number].flatten(0, 1)).sum(0)
            grad_gain = separate(gain_terms[:, None], h_slots, layer, 1)[:, 0]
        if needs[4 + (number + 1) * (len(needs) - 4) // layer.directions - len(grads)]:
            first = of_each(layer, grad_product[layer.time_slice][time])[number]
            grads[0][number] += multiply_in_full(first, wh.view(layer.directions, layer.width, -1)[number])
        gradients += [grad_wx, grad_bx, grads_wh[number], grad_bh, grad_gain]
        gradients += [narrow(layer, grad[number : number + 1])[0] for grad in grads]
    return grad_inputs, *gradients


def _hidden_weight_gradient(
    layer: Layer, reverse: bool, gates: Tensor, gates_input: Tensor, hiddens: Tensor, helds: Tensor
) -> Tensor:
    """The gradient of one direction's recurrent weights [G*H, H]; `helds` matter if a step has two products."""
    before = (hiddens[1:] if reverse else hiddens[:-1]).flatten(0, 1)
    slots = layer.slots[1]
    if not layer.resets:
        return separate(multiply_in_full(gates.t(), before), slots, layer, layer.size)
    first = separate(multiply_in_full(gates.t(), before), slots[:2], layer, layer.size)
    last = separate(multiply_in_full(gates_input.t(), helds.flatten(0, 1)), slots[2:], layer, layer.size)
    return torch.cat([first, last])


def _input_gradient(layer: Layer, gates: Tensor, weight: Tensor | None) -> Tensor:
    """The gradient of the inputs [T, B, I] from those of the gates [T*B, directions * gates * whole]."""
    if weight is not None:
        return multiply_in_full(gates, weight).view(layer.steps, layer.batch, -1)
    slots = gates.view(len(gates), layer.directions, layer.whole, layer.gates)[:, :, : layer.size]
    blocks = torch.stack([slots[..., slot].float() for slot in layer.slots[0]], 2)
    return blocks.view(layer.steps, layer.batch, -1)
