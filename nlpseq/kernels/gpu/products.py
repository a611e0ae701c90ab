"""Products of 16-bit matrices with results in fp32, so that a GPU's fp32 sums are not rounded.

They are for gradients, which autograd would otherwise get in the operands' type. The price is twice the bytes of the
result, which is small compared with what such a product reads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def multiply_in_full(left: Tensor, right: Tensor) -> Tensor:
    """left [n, k] @ right [k, m], both of the same type; the result is fp32 if that is wider."""
    if left.element_size() > 2:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


class _Projection(torch.autograd.Function):
    """inputs [N, I] times the transpose of weight [W, I]; both and the result are rounded to `operands`."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, operands: torch.dtype) -> Tensor:
        left, right = inputs.to(operands), weight.to(operands)
        ctx.save_for_backward(left, right)
        return left @ right.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        left, right = ctx.saved_tensors
        wants = ctx.needs_input_grad
        grad_inputs = multiply_in_full(grad, right) if wants[0] else None
        return grad_inputs, multiply_in_full(grad.t(), left) if wants[1] else None, None


def project(inputs: Tensor, weight: Tensor, operands: torch.dtype) -> Tensor:
    """inputs [..., I] times the transpose of weight [W, I]: [..., W] of type `operands`; its gradients are in fp32."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    product: Tensor = _Projection.apply(flat, weight, operands)  # type: ignore[no-untyped-call]
    return product.view(*inputs.shape[:-1], -1)
