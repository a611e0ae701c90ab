"""Adversarial training of a classifier (Miyato et al., 2017).

The embedded tokens of a text are changed a little in the worst direction, and a loss at that point is added:

    adversarial   the loss of the right label, in the direction of its gradient
    virtual       the divergence from the present prediction, which needs no label; its worst direction is found by one
                  step of the power iteration from a random direction

The size of a change is its norm over a whole text. The paper normalises the embedding to give that norm a scale; here
it is given in lengths of an average token's vector. Both kinds about double the time of a step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import kl_div

Read = Callable[[Tensor | None], Tensor]  # from a change [T, B, E] of the tokens' vectors, or None, to logits [B, C]


def adversarial_loss(read: Read, loss: Callable[[Tensor], Tensor], zeros: Tensor, length: Tensor | float) -> Tensor:
    """The loss without a change plus the loss at the worst change.

    `zeros` [T, B, E] is a change of zeros; `length` is the norm of the worst change over each text.
    """
    zeros = zeros.detach().requires_grad_()
    plain = loss(read(zeros))
    (direction,) = torch.autograd.grad(plain, zeros, retain_graph=True)
    return plain + loss(read(scaled(direction, length)))


def virtual_loss(
    read: Read,
    loss: Callable[[Tensor], Tensor],
    random: Tensor,
    length: Tensor | float,
    divergence: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The loss without a change plus the divergence of the prediction at the worst change.

    `random` [T, B, E] is a random direction, zero at padding; `length` is the norm of the change over each text;
    `divergence` is that of the second logits' prediction from the first logits'.
    """
    logits = read(None)
    predicted = logits.detach()
    probe = scaled(random, length).requires_grad_()
    (direction,) = torch.autograd.grad(divergence(predicted, read(probe)), probe)
    return loss(logits) + divergence(predicted, read(scaled(direction, length)))


def divergence(predicted: Tensor, logits: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of logits [B, C] from log-probabilities [B, C], summed over texts."""
    return kl_div(logits.log_softmax(-1), predicted, reduction="sum", log_target=True)


@torch.no_grad()
def scaled(direction: Tensor, length: Tensor | float) -> Tensor:
    """A direction [T, B, E] scaled to the norm `length` over each text."""
    norms = direction.square().sum((0, 2), keepdim=True).sqrt()
    return direction * (norms.clamp_min(1e-12).reciprocal() * length)
