"""The optimisers by name, and their state as named arrays.

torch's own implementations are used: an update rule is not what nlpseq exists for. Weight decay is applied to matrices
only, decoupled from the gradient for every optimiser (Loshchilov and Hutter, 2019); biases and gains are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer, RMSprop

Parameters = Mapping[str, Tensor]

OPTIMISERS: dict[str, tuple[float, Callable[[Any, float], Optimizer]]] = {
    "adamw": (
        4e-3,
        lambda groups, rate: AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ),
    "adam": (
        4e-3,
        lambda groups, rate: AdamW(groups, lr=rate, betas=(0.9, 0.999), weight_decay=0.0, fused=True),
    ),
    "sgd": (20.0, lambda groups, rate: SGD(groups, lr=rate)),
    "rmsprop": (2e-3, lambda groups, rate: RMSprop(groups, lr=rate, alpha=0.99)),
}


class Updates:
    """An optimiser over named parameters: clipped, decayed, with its state as arrays."""

    def __init__(
        self, name: str, parameters: Parameters, learning_rate: float | None, weight_decay: float, clip: float
    ) -> None:
        default, make = OPTIMISERS[name]
        self.parameters = parameters
        self.learning_rate = default if learning_rate is None else learning_rate
        self.weight_decay = weight_decay if name == "adamw" else 0.0
        self.clip = clip
        self.optimiser = make(list(parameters.values()), self.learning_rate)

    def clear(self) -> None:
        """Forget the gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def gradient_norm(self) -> float:
        """The norm of all gradients together; those above the clip are scaled down to it."""
        return float(torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.clip))

    @torch.no_grad()
    def step(self, share: float) -> None:
        """One update, at `share` of the highest learning rate."""
        rate = self.learning_rate * share
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.weight_decay:
            for parameter in self.parameters.values():
                if parameter.ndim > 1:
                    parameter.mul_(1 - rate * self.weight_decay)
        self.optimiser.step()

    def arrays(self) -> dict[str, np.ndarray]:
        """The optimiser's state, by PARAMETER.FIELD."""
        return {
            f"{name}.{field}": value.detach().numpy().copy()
            for name, parameter in self.parameters.items()
            for field, value in self.optimiser.state[parameter].items()
            if isinstance(value, Tensor)
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        for name, parameter in self.parameters.items():
            prefix = name + "."
            self.optimiser.state[parameter] = {
                key.removeprefix(prefix): torch.from_numpy(value.copy())
                for key, value in arrays.items()
                if key.startswith(prefix) and "." not in key.removeprefix(prefix)
            }
