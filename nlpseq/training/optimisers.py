"""The optimisers by name, and their state as named arrays.

The update rules are in `nlpseq.training.update_rules`. Weight decay is decoupled from the gradient (Loshchilov and
Hutter, 2019) and applied to matrices only; biases and gains are not decayed.

The gradient of a large embedding table is sparse, so Adam touches only the rows that a batch has read. This makes
tables of a hundred thousand rows affordable. The cost is that the moments of a row do not decay while it is not read,
and that such tables have no weight decay. On a GPU all gradients are dense (`nlpseq.arrays.embed`).

`Updates.step` is for gradients that the host knows to be finite. `Updates.step_unless` decides on the device: the
learning rates are tensors, and so is the condition that skips an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nlpseq.arrays import to_numpy
from nlpseq.training.update_rules import Adam, Descent, RMSprop, Rule, SparseAdam, State

Parameters = Mapping[str, Tensor]

# by name: the highest learning rate, the rule for dense gradients, and for sparse ones (None: made dense)
OPTIMISERS: dict[str, tuple[float, Rule, Rule | None]] = {
    "adamw": (4e-3, Adam(0.99), SparseAdam(0.99)),
    "adam": (4e-3, Adam(0.999), SparseAdam(0.999)),
    "sgd": (20.0, Descent(), Descent()),
    "rmsprop": (2e-3, RMSprop(), None),
}


def usual_rates(name: str) -> tuple[float, float]:
    """The highest learning rate and the weight decay of an optimiser, if the user leaves them open."""
    return OPTIMISERS[name][0], 0.01 if name == "adamw" else 0.0


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
        _, self.dense_rule, self.sparse_rule = OPTIMISERS[name]
        usual_rate, usual_decay = usual_rates(name)
        self.parameters = parameters
        self.learning_rate = usual_rate if learning_rate is None else learning_rate
        self.weight_decay = usual_decay if weight_decay is None else weight_decay
        self.clip = clip
        self.depths = {name: (depths or {}).get(name, 0) for name in parameters}
        self.sparse: set[str] | None = None  # parameters with sparse gradients; known from the first batch
        self.states: dict[str, State] = {}

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

    def _is_sparse(self, name: str) -> bool:
        return self.sparse is not None and name in self.sparse

    def _values(self) -> list[Tensor]:
        """All gradients in the form that their optimiser expects; of sparse ones the values."""
        values = []
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            allowed = parameter.grad.is_sparse and self.sparse_rule is not None and not self.late
            sparse = allowed if self.sparse is None else self._is_sparse(name)
            parameter.grad = _in_form(parameter.grad, sparse=sparse)
            values.append(parameter.grad.values() if sparse else parameter.grad)
        return values

    @torch.no_grad()
    def step(self, fraction: float, scales: Sequence[float] = (1.0,)) -> None:
        """Make one update with the learning rates of `rates`."""
        rates = self.rates(fraction, scales)
        if self.sparse is None:
            self.sparse = {
                name for name, value in self.parameters.items() if value.grad is not None and value.grad.is_sparse
            }
        if self.weight_decay:
            for name, parameter in self.parameters.items():
                if parameter.ndim > 1 and not self._is_sparse(name):
                    parameter.mul_(1 - rates[self.depths[name]] * self.weight_decay)
        self._apply(rates)

    @torch.no_grad()
    def step_unless(self, skip: Tensor, rates: Tensor) -> None:
        """Make one update with the learning rates [D] of the depths, unless `skip` is true; both are on the device."""
        self.sparse = self.sparse or set()
        if self.weight_decay:
            kept = torch.where(skip, 1.0, 1.0 - rates * self.weight_decay)
            for name, parameter in self.parameters.items():
                if parameter.ndim > 1:
                    parameter.mul_(kept[self.depths[name]])
        self._apply(rates, skip.float())

    def _apply(self, rates: Sequence[float] | Tensor, skip: Tensor | None = None) -> None:
        """Update all parameters that have a gradient: those with one rule and one rate together."""
        groups: dict[tuple[bool, int], list[str]] = {}
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                groups.setdefault((self._is_sparse(name), self.depths[name]), []).append(name)
        for (is_sparse, depth), names in groups.items():
            rule = self.sparse_rule if is_sparse and self.sparse_rule is not None else self.dense_rule
            parameters = [self.parameters[name] for name in names]
            for name, parameter in zip(names, parameters, strict=True):
                if name not in self.states:
                    self.states[name] = rule.begin(parameter)
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            rule.update(parameters, gradients, [self.states[name] for name in names], rates[depth], skip)

    def arrays(self) -> dict[str, np.ndarray]:
        """The optimiser's state by PARAMETER/FIELD; PARAMETER/sparse tells which gradients are sparse."""
        state = {
            f"{name}/{field}": np.array(to_numpy(value))
            for name, fields in self.states.items()
            for field, value in fields.items()
        }
        known = () if self.sparse is None else self.parameters
        return {**state, **{f"{name}/sparse": np.array(self._is_sparse(name)) for name in known}}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the state that `arrays` returned."""
        self.sparse, self.states = None, {}
        if not arrays:
            return
        self.sparse = set() if self.late else {name for name in self.parameters if arrays[f"{name}/sparse"]}
        for name, parameter in self.parameters.items():
            fields = {
                key.removeprefix(name + "/"): torch.from_numpy(value.copy()).to(parameter.device)
                for key, value in arrays.items()
                if key.startswith(name + "/") and not key.endswith("/sparse")
            }
            if "step" in fields:  # a whole number for sparse gradients
                fields["step"] = fields["step"].to(torch.int64 if name in self.sparse else torch.float32)
            if fields:
                self.states[name] = self._checked(name, parameter, fields)

    def _checked(self, name: str, parameter: Tensor, fields: State) -> State:
        """The state of a parameter. Raises ValueError if its optimiser has another."""
        rule = self.sparse_rule if self._is_sparse(name) and self.sparse_rule is not None else self.dense_rule
        like = rule.begin(parameter)
        if fields.keys() != like.keys() or any(value.shape != like[key].shape for key, value in fields.items()):
            raise ValueError(f"the optimiser's state of {name} is of another optimiser or shape")
        is_count = "step" not in fields or 0 <= float(fields["step"]) < 1 << 62
        if not is_count or any(value.dtype != like[key].dtype for key, value in fields.items()):
            raise ValueError(f"the optimiser's state of {name} has another type")
        if not all(bool(value.isfinite().all()) for value in fields.values()):
            raise ValueError(f"the optimiser's state of {name} is not finite")
        return fields


def _in_form(grad: Tensor, *, sparse: bool) -> Tensor:
    """A gradient, sparse or dense as its optimiser expects it; the first batch decided that."""
    if sparse:
        return grad.coalesce() if grad.is_sparse else grad.to_sparse(1).coalesce()
    return grad.to_dense() if grad.is_sparse else grad
