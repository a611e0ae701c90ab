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

from nlpseq.training.distribution.local_exchange import LocalExchange, open_local

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
        self.local: LocalExchange | None = None
        self._sent: list[tuple[Any, list[Tensor], Tensor]] = []  # the work, the gradients and what was sent
        for name, parameter in parameters.items():
            hook: Any = parameter.register_post_accumulate_grad_hook
            hook(partial(self._add, name))

    def begin(self) -> None:
        """As `Exchange.begin`."""
        if self.local is not None:
            return
        self._ready.clear()
        self._sent.clear()
        self._is_open = True

    def _add(self, name: str, parameter: Tensor) -> None:
        if self._is_open:
            self._ready.append(name)
            self._send_ready()

    def _send_ready(self) -> None:
        for bundle in self.bundles[len(self._sent) :]:
            if not all(name in self._ready for name in bundle):
                break
            self._send(bundle)

    def finish(self, loss: Tensor) -> Tensor:
        """As `Exchange.finish`; after the first step in shared memory, if there is any."""
        if self.local is not None:
            return self.local.finish(loss)
        self._is_open = False
        is_first_step = not self.bundles
        if is_first_step:
            self.bundles = self._bundled(self.group.from_first(self._ready))
        self._finish_sums()
        summed = loss.clone()
        self.group.wait(self.group.start_sum(summed))
        if is_first_step and self.group.on_one_machine and loss.device.type == "cpu":
            self.local = open_local(self.parameters, self.group)
            self.group.memory = None if self.local is None else self.local.memory
        return summed

    def _finish_sums(self) -> None:
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
