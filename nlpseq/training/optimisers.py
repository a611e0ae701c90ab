"""The optimisers by name, and their state as named arrays.

The update rules are torch's own. Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2019) and applied
to matrices only; biases and gains are not decayed.

The gradient of a large embedding table is sparse, so Adam touches only the rows that a batch has read. This makes
tables of a hundred thousand rows affordable. The cost is that the moments of a row do not decay while it is not read,
and that such tables have no weight decay. On a GPU all gradients are dense (`nlpseq.arrays.embed`).

`Updates.step` is for gradients that the host knows to be finite. `Updates.step_unless` decides on the device: the
learning rates are tensors, and so is the condition that skips an update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer, RMSprop, SparseAdam

from nlpseq.arrays import to_numpy

Parameters = Mapping[str, Tensor]
Groups = list[dict[str, Any]]  # of parameters, each with its `depth`
Make = Callable[[Groups, float, bool], Optimizer]  # from groups, learning rate, and whether rates are tensors


def _adam(decay: float) -> tuple[Make, Make]:
    betas = (0.9, decay)

    def dense(parameters: Groups, rate: float, late: bool) -> Optimizer:
        return AdamW(parameters, lr=rate, betas=betas, weight_decay=0.0, fused=True, capturable=late)

    def sparse(parameters: Groups, rate: float, late: bool) -> Optimizer:
        return SparseAdam(parameters, lr=rate, betas=betas)

    return dense, sparse


def _sgd(parameters: Groups, rate: float, late: bool) -> Optimizer:
    return SGD(parameters, lr=rate, fused=late)


def _rmsprop(parameters: Groups, rate: float, late: bool) -> Optimizer:
    on_gpu = late and parameters[0]["params"][0].is_cuda  # torch refuses `capturable` elsewhere
    return RMSprop(parameters, lr=rate, alpha=0.99, capturable=on_gpu)


# by name: the highest learning rate, the optimiser for dense gradients, and for sparse ones (None: made dense)
OPTIMISERS: dict[str, tuple[float, Make, Make | None]] = {
    "adamw": (4e-3, *_adam(0.99)),
    "adam": (4e-3, *_adam(0.999)),
    "sgd": (20.0, _sgd, _sgd),
    "rmsprop": (2e-3, _rmsprop, None),
}


class Updates:
    """Updates named parameters by an optimiser, with clipping and weight decay."""

    def __init__(
        self,
        name: str,
        parameters: Parameters,
        learning_rate: float | None,
        weight_decay: float | None,
        clip: float,
        depths: Mapping[str, int] | None = None,
        *,
        late: bool | None = None,
    ) -> None:
        """`depths` by name choose a parameter's factor among the `scales` of `step`; the default is 0.

        With `late`, the default on a GPU, updates are made by `step_unless`, and the host reads their results late.
        """
        self.device = next(iter(parameters.values())).device
        self.late = self.device.type != "cpu" if late is None else late
        default, self.make_dense, self.make_sparse = OPTIMISERS[name]
        self.parameters = parameters
        self.learning_rate = default if learning_rate is None else learning_rate
        self.weight_decay = (0.01 if name == "adamw" else 0.0) if weight_decay is None else weight_decay
        self.clip = clip
        self.depths = {name: (depths or {}).get(name, 0) for name in parameters}
        self.optimisers: dict[bool, Optimizer] = {}
        self.sparse: set[str] = set()

    def clear(self) -> None:
        """Delete the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def rates(self, fraction: float, scales: Sequence[float]) -> list[float]:
        """The learning rate at each depth: this fraction of the highest rate, times the scale of the depth."""
        return [self.learning_rate * fraction * scale for scale in scales]

    def gradient_norm(self) -> float:
        """The norm of all gradients together; if it exceeds the clip, the gradients are scaled down to it."""
        values = self._values()
        norm = float(torch.nn.utils.get_total_norm(values))
        if norm > self.clip:
            torch._foreach_mul_(values, self.clip / norm)
        return norm

    def clip_on_device(self, scale: Tensor | float = 1.0) -> Tensor:
        """As `gradient_norm`, but as a scalar tensor that the host does not wait for.

        The gradients are `scale` times too large, and are divided by it.
        """
        values = self._values()
        norm = torch.nn.utils.get_total_norm(values) / scale
        torch._foreach_mul_(values, (self.clip / norm).clamp(max=1.0) / scale)
        return norm

    def _values(self) -> list[Tensor]:
        """All gradients in the form that their optimiser expects; of sparse ones the values."""
        values = []
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            allowed = parameter.grad.is_sparse and self.make_sparse is not None and not self.late
            sparse = name in self.sparse if self.optimisers else allowed
            parameter.grad = _in_form(parameter.grad, sparse=sparse)
            values.append(parameter.grad.values() if sparse else parameter.grad)
        return values

    @torch.no_grad()
    def step(self, fraction: float, scales: Sequence[float] = (1.0,)) -> None:
        """Make one update with the learning rates of `rates`."""
        rates = self.rates(fraction, scales)
        if not self.optimisers:
            self._make_optimisers(
                {name for name, value in self.parameters.items() if value.grad is not None and value.grad.is_sparse}
            )
        if self.weight_decay:
            for name, parameter in self.parameters.items():
                if parameter.ndim > 1 and name not in self.sparse:
                    parameter.mul_(1 - rates[self.depths[name]] * self.weight_decay)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rates[group["depth"]]
            optimiser.step()

    @torch.no_grad()
    def step_unless(self, skip: Tensor, rates: Tensor) -> None:
        """Make one update with the learning rates [D] of the depths, unless `skip` is true; both are on the device."""
        if not self.optimisers:
            self._make_optimisers(set())
        if self.weight_decay:
            kept = torch.where(skip, 1.0, 1.0 - rates * self.weight_decay)
            for name, parameter in self.parameters.items():
                if parameter.ndim > 1:
                    parameter.mul_(kept[self.depths[name]])
        if self.make_dense is _rmsprop:  # it cannot skip an update, but a gradient of zero changes no parameter
            for parameter in self.parameters.values():
                if parameter.grad is not None:
                    parameter.grad.masked_fill_(skip, 0.0)
        for optimiser in self.optimisers.values():
            optimiser.found_inf = skip.float()  # type: ignore[attr-defined]  # torch's name for it
            for group in optimiser.param_groups:
                group["lr"] = rates[group["depth"]]
            optimiser.step()

    def _make_optimisers(self, sparse: set[str]) -> None:
        """Make the optimisers; `sparse` names the parameters with sparse gradients, known from the first batch."""
        self.sparse = sparse
        for is_sparse, make in ((False, self.make_dense), (True, self.make_sparse)):
            chosen: dict[int, list[Tensor]] = {}
            for name, value in self.parameters.items():
                if (name in sparse) == is_sparse:
                    chosen.setdefault(self.depths[name], []).append(value)
            if chosen and make is not None:
                groups: Groups = [{"params": values, "depth": depth} for depth, values in chosen.items()]
                self.optimisers[is_sparse] = make(groups, self.learning_rate, self.late)

    def arrays(self) -> dict[str, np.ndarray]:
        """The optimiser's state by PARAMETER/FIELD; PARAMETER/sparse tells which gradients are sparse."""
        state = {
            f"{name}/{field}": np.array(to_numpy(value) if isinstance(value, Tensor) else value)
            for name, parameter in self.parameters.items()
            for optimiser in self.optimisers.values()
            for field, value in optimiser.state.get(parameter, {}).items()
            if value is not None
        }
        sparse = {f"{name}/sparse": np.array(name in self.sparse) for name in self.parameters if self.optimisers}
        return {**state, **sparse}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the state that `arrays` returned."""
        self.optimisers = {}
        if not arrays:
            return
        self._make_optimisers(set() if self.late else {name for name in self.parameters if arrays[f"{name}/sparse"]})
        for name, parameter in self.parameters.items():
            is_sparse = name in self.sparse
            fields = {
                key.removeprefix(name + "/"): torch.from_numpy(value.copy()).to(parameter.device)
                for key, value in arrays.items()
                if key.startswith(name + "/") and not key.endswith("/sparse")
            }
            if fields and is_sparse and "step" in fields:
                self.optimisers[True].state[parameter] = {**fields, "step": int(fields["step"])}
            elif fields:
                if "step" in fields:  # the step of a sparse optimiser is an integer
                    fields["step"] = fields["step"].float()
                self.optimisers[is_sparse].state[parameter] = fields


def _in_form(grad: Tensor, *, sparse: bool) -> Tensor:
    """A gradient, sparse or dense as its optimiser expects it; the first batch decided that."""
    if sparse:
        return grad.coalesce() if grad.is_sparse else grad.to_sparse(1).coalesce()
    return grad.to_dense() if grad.is_sparse else grad
