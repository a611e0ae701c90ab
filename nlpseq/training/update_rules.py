"""Update rules: how an optimiser changes parameters by their gradients.

They give what the classes of `torch.optim` give, to the last bit. Those are not used, because creating one imports
torch's compiler, which takes longer than the first steps of a run.

All parameters of one call are on one device and have one type. A learning rate is a number, or a scalar tensor on that
device. `skip` is a scalar tensor there: if it is 1, no parameter changes. Neither is read by the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

State = dict[str, Tensor]  # of one parameter, by field; the fields are named as in torch

FIRST_DECAY = 0.9  # of the moving average of gradients
SQUARE_DECAY = 0.99  # of the moving average of squared gradients in RMSprop
IN_CACHE = 1 << 15  # numbers of a sparse gradient whose update stays in a core's cache
TINY = 1e-8  # added to roots before something is divided by them


class Rule(Protocol):
    """An update rule."""

    def begin(self, parameter: Tensor) -> State:
        """The state of a parameter before its first update."""

    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        rate: float | Tensor,
        skip: Tensor | None,
    ) -> None:
        """Update parameters and their states in place; gradients may be overwritten."""


def _fields(states: Sequence[State], name: str) -> list[Tensor]:
    return [state[name] for state in states]


def _moments(parameter: Tensor) -> State:
    return {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015)."""

    decay: float  # of the moving average of squared gradients

    def begin(self, parameter: Tensor) -> State:
        """As `Rule.begin`."""
        return {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **_moments(parameter)}

    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        rate: float | Tensor,
        skip: Tensor | None,
    ) -> None:
        """As `Rule.update`; a skipped update does not change the states either."""
        steps = _fields(states, "step")
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            list(parameters),
            list(gradients),
            _fields(states, "exp_avg"),
            _fields(states, "exp_avg_sq"),
            [],
            steps,
            lr=rate,
            beta1=FIRST_DECAY,
            beta2=self.decay,
            weight_decay=0.0,
            eps=TINY,
            amsgrad=False,
            maximize=False,
            found_inf=skip,
        )
        if skip is not None:
            torch._foreach_sub_(steps, [skip] * len(steps))


@dataclass(frozen=True)
class SparseAdam:
    """Adam for the rows of a table that a sparse gradient names; the moments of other rows do not decay."""

    decay: float

    def begin(self, parameter: Tensor) -> State:
        """As `Rule.begin`; the number of steps is on the host."""
        return {"step": torch.zeros((), dtype=torch.int64), **_moments(parameter)}

    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        rate: float | Tensor,
        skip: Tensor | None,
    ) -> None:
        """As `Rule.update`, for coalesced gradients on the CPU."""
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            state["step"] += 1
            if not gradient.values().numel():
                continue
            step = int(state["step"])
            size = float(rate) * math.sqrt(1 - self.decay**step) / (1 - FIRST_DECAY**step)
            at_once = max(1, IN_CACHE * torch.get_num_threads() // parameter.shape[1])
            pieces = (torch.split(tensor, at_once) for tensor in (gradient.indices()[0], gradient.values()))
            for rows, values in zip(*pieces, strict=True):
                mean = _towards(state["exp_avg"], rows, values, 1 - FIRST_DECAY)
                square = _towards(state["exp_avg_sq"], rows, values.pow(2), 1 - self.decay)
                change = mean.div_(square.sqrt_().add_(TINY)).mul_(-size)
                parameter.index_copy_(0, rows, change.add_(parameter.index_select(0, rows)))


def _towards(table: Tensor, rows: Tensor, values: Tensor, weight: float) -> Tensor:
    """Move some rows of a table towards `values` [R, E]: their new values."""
    old = table.index_select(0, rows)
    change = values.sub(old).mul_(weight).add_(old)
    table.index_copy_(0, rows, change)
    return change


@dataclass(frozen=True)
class Descent:
    """Stochastic gradient descent without momentum, for dense and sparse gradients; it has no state."""

    def begin(self, parameter: Tensor) -> State:
        """As `Rule.begin`."""
        return {}

    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        rate: float | Tensor,
        skip: Tensor | None,
    ) -> None:
        """As `Rule.update`."""
        if skip is None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(gradient, alpha=-float(rate))
            return
        torch._fused_sgd_(
            list(parameters),
            list(gradients),
            [],
            weight_decay=0.0,
            momentum=0.0,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            found_inf=skip,
        )


@dataclass(frozen=True)
class RMSprop:
    """RMSprop (Tieleman and Hinton, 2012)."""

    def begin(self, parameter: Tensor) -> State:
        """As `Rule.begin`."""
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return {"step": step, "square_avg": torch.zeros_like(parameter)}

    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        states: Sequence[State],
        rate: float | Tensor,
        skip: Tensor | None,
    ) -> None:
        """As `Rule.update`; a skipped update counts as one by a gradient of zero, which changes no parameter."""
        if skip is not None:
            for gradient in gradients:
                gradient.masked_fill_(skip.bool(), 0.0)
        torch._foreach_add_(_fields(states, "step"), 1)
        squares = _fields(states, "square_avg")
        torch._foreach_mul_(squares, SQUARE_DECAY)
        torch._foreach_addcmul_(squares, list(gradients), list(gradients), value=1 - SQUARE_DECAY)
        roots = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(roots, TINY)
        if isinstance(rate, Tensor):  # as a factor `addcdiv` would take it only from the host
            torch._foreach_div_(roots, -rate)
            torch._foreach_addcdiv_(list(parameters), list(gradients), roots)
        else:
            torch._foreach_addcdiv_(list(parameters), list(gradients), roots, value=-rate)
