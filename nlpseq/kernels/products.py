"""The products of a layer outside its loop: the input's product, and the gradient of the recurrent weights.

Computed for all steps at once, they run at the speed of a large matrix product; step by step they would take most of a
layer's time. Every kernel uses these functions, with its own product of two matrices, because kernels round
differently.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nlpseq.arrays import EPSILON
from nlpseq.cells import LayerWeights

Multiply = Callable[[Tensor, Tensor], Tensor]  # [n, k] and [k, m] to [n, m]


def multiply_in(operands: torch.dtype) -> Multiply:
    """A function that multiplies matrices rounded to `operands`; the result has their original type."""

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        return (left.to(operands) @ right.to(operands)).to(left.dtype)

    return multiply


def multiply_rounded(left: Tensor, right: Tensor) -> Tensor:
    """The product in fp32 of matrices rounded to bf16."""
    return left.bfloat16().float() @ right.bfloat16().float()


def project_inputs(weights: LayerWeights, inputs: Tensor, multiply: Multiply) -> Tensor:
    """The input's product for all steps, without its bias: inputs [.., I] to [.., G*H], normalised if there is a gain.

    If `weight_ih` is None, the inputs already are the product.
    """
    if weights.weight_ih is None:
        return inputs
    return normalise(weights, multiply(inputs, weights.weight_ih.t()))


def normalise(weights: LayerWeights, product: Tensor) -> Tensor:
    """Layer normalisation of the input's product, if there is a gain."""
    if weights.gain_ih is None:
        return product
    return torch.nn.functional.layer_norm(product, product.shape[-1:], weights.gain_ih, None, EPSILON)


def weight_gradient(
    grad: Tensor,  # [N, G*H], of the hidden states' products
    before: Tensor,  # [N, H], hidden states before each step
    reset: Tensor | None,  # [N, H], the reset states if the last block was multiplied with them
    multiply: Multiply,
) -> Tensor:
    """The gradient of recurrent weights [G*H, H]: one product over all steps."""
    if reset is None:
        return multiply(grad.t(), before)
    size = before.shape[1]
    return torch.cat([multiply(grad[:, :-size].t(), before), multiply(grad[:, -size:].t(), reset)])
