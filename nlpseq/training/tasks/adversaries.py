"""Adversarial training of a text's reader (Miyato et al., 2017).

A text's vectors are changed a little in the worst direction, that of a gradient, and the loss of that is added:

    adversarial   worst for the right label's loss
    virtual       worst for what the model says now, whatever the label; the worst direction is found by one step of the
                  power iteration from one drawn by chance

A change is measured by its length over a whole text. The paper keeps the embedding normalised so that a length means
something; here it is given in lengths of an average token's vector. Either about doubles the time of a step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import kl_div

Read = Callable[[Tensor | None], Tensor]  # a change [T, B, E] of the tokens' vectors, or none, to logits [B, C]


def adversarial_loss(read: Read, loss: Callable[[Tensor], Tensor], nothing: Tensor, length: Tensor | float) -> Tensor:
    """The loss of logits as they are, and of those at the change [T, B, E] that is worst for it.

    `nothing` [T, B, E] is a change of zeros; `length` is that of the change over a text.
    """
    nothing = nothing.detach().requires_grad_()
    plain = loss(read(nothing))
    (direction,) = torch.autograd.grad(plain, nothing, retain_graph=True)
    return plain + loss(read(scaled(direction, length)))


def virtual_loss(read: Read, loss: Callable[[Tensor], Tensor], drawn: Tensor, length: Tensor | float) -> Tensor:
    """The loss of logits as they are, and by how much they differ at the change that is worst for them.

    `drawn` [T, B, E] is a direction by chance, zero where a text has ended.
    """
    logits = read(None)
    said = logits.detach().log_softmax(-1)
    probe = scaled(drawn, length).requires_grad_()
    (direction,) = torch.autograd.grad(divergence(said, read(probe)), probe)
    return loss(logits) + divergence(said, read(scaled(direction, length)))


def divergence(said: Tensor, logits: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of logits [B, C] from log-probabilities [B, C], summed over texts."""
    return kl_div(logits.log_softmax(-1), said, reduction="sum", log_target=True)


@torch.no_grad()
def scaled(direction: Tensor, length: Tensor | float) -> Tensor:
    """A direction [T, B, E] made so long over each text."""
    norms = direction.square().sum((0, 2), keepdim=True).sqrt()
    return direction * (norms.clamp_min(1e-12).reciprocal() * length)
