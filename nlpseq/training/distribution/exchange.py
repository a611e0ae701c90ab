"""Sums of gradients over processes, begun while the backward pass still computes other gradients.

A gradient is sent when it and all those before it are ready, in one order for all processes: the order in which the
first process's first backward pass produced them. Small gradients are sent together. A sparse gradient is sent as its
rows. The cost is a copy of the small gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nlpseq.training.distribution.group import Group

TOGETHER = 1 << 18  # numbers; gradients are sent together up to this size


class GradientExchange:
    """The sums of the gradients of some parameters: an `Exchange`."""

    def __init__(self, parameters: Mapping[str, Tensor], group: Group) -> None:
        self.parameters = parameters
        self.group = group
        self.bundles: list[list[str]] = []  # names of parameters, in the order in which they are sent; empty at first
        self._ready: list[str] = []  # names of the parameters whose gradients are complete
        self._is_open = False
        self._sent: list[tuple[Any, list[Tensor], Tensor]] = []  # the work, the gradients and what was sent
        for name, parameter in parameters.items():
            hook: Any = parameter.register_post_accumulate_grad_hook
            hook(partial(self._add, name))

    def begin(self) -> None:
        """As `Exchange.begin`."""
        self._ready.clear()
        self._sent.clear()
        self._is_open = True

    def _add(self, name: str, parameter: Tensor) -> None:
        if self._is_open:
            self._ready.append(name)
            self._send_ready()

    def _send_ready(self) -> None:
        while len(self._sent) < len(self.bundles) and self._ready_set().issuperset(self.bundles[len(self._sent)]):
            self._send(self.bundles[len(self._sent)])

    def _ready_set(self) -> set[str]:
        return set(self._ready)

    def finish(self) -> None:
        """As `Exchange.finish`."""
        self._is_open = False
        if not self.bundles:
            self.bundles = self._bundled(self.group.from_first(self._ready))
        for bundle in self.bundles[len(self._sent) :]:
            self._send(bundle)
        for work, gradients, sent in self._sent:
            self.group.wait(work)
            if len(gradients) > 1:
                parts = torch.split(sent, [value.numel() for value in gradients])
                for gradient, part in zip(gradients, parts, strict=True):
                    gradient.copy_(part.view_as(gradient))

    def _bundled(self, names: list[str]) -> list[list[str]]:
        """Names in bundles of small gradients; a large or sparse gradient is a bundle of its own."""
        bundles: list[list[str]] = []
        size = TOGETHER
        for name in names:
            gradient = self.parameters[name].grad
            own = TOGETHER if gradient is None or gradient.is_sparse else gradient.numel()
            if size + own > TOGETHER:
                bundles.append([])
                size = 0
            bundles[-1].append(name)
            size += own
        return bundles

    @torch.no_grad()
    def _send(self, names: list[str]) -> None:
        gradients = [gradient for name in names if (gradient := self.parameters[name].grad) is not None]
        if gradients[0].is_sparse:
            parameter = self.parameters[names[0]]
            parameter.grad = sent = gradients[0].coalesce()
        else:
            sent = torch.cat([value.flatten() for value in gradients]) if len(gradients) > 1 else gradients[0]
        self._sent.append((self.group.start_sum(sent), gradients, sent))

    def total(self, loss: Tensor) -> Tensor:
        """As `Exchange.total`."""
        summed = loss.clone()
        self.group.wait(self.group.start_sum(summed))
        return summed
