"""The state of a run: everything that its next step depends on, to be saved and restored to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from nlpseq.arrays import to_numpy
from nlpseq.errors import RunError
from nlpseq.kernels.masks import restore_generator
from nlpseq.models.storage import is_finite
from nlpseq.models.structure import is_number_in, shortened
from nlpseq.training.optimisers import Updates

SavedState = tuple[dict[str, Any], dict[str, np.ndarray]]  # the header of a resume file and its arrays


LATER = ("begun", "best_step", "averaged_from")  # counters that the first versions did not have
RANDOM_STATES = ((5056,), (16,))  # the shape of torch's random state on a processor, and on a GPU


class SavedTask(Protocol):
    """What the saved state needs of a task."""

    parameters: dict[str, Tensor]
    generator: torch.Generator  # of all noise

    def arrays(self) -> dict[str, np.ndarray]:
        """The task's own state: its position in the data, carried hidden states."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the state that `arrays` returned."""


@dataclass
class Counters:
    """The numbers of a run that change from step to step."""

    step: int = 0
    begun: int = 0  # number of steps before the run was last trained on
    total: int | None = None  # number of steps of the whole run, None until it is known
    best: float = math.inf  # loss or negative selection score of the best model
    best_loss: float = math.inf  # loss of the best model
    best_step: int = 0  # number of steps of the best model
    without_progress: int = 0  # validations since the best model
    averaged_from: int | None = None  # number of steps when the weights began to be averaged, with average_after
    rate_scale: float = 1.0  # halved each time the loss becomes non-finite
    retries: int = 0
    tokens: int = 0
    seconds: float = 0.0  # spent in steps, those before a resume too

    def as_json(self) -> dict[str, Any]:
        """The counters as a JSON object; null for an infinite loss."""
        return {name: None if value == math.inf else value for name, value in asdict(self).items()}

    def restore(self, header: Mapping[str, Any]) -> None:
        """Set all counters from a header that contains `as_json`."""
        for field in fields(self):
            setattr(self, field.name, header.get(field.name, field.default))
        self.best = math.inf if self.best is None else self.best
        self.best_loss = math.inf if self.best_loss is None else self.best_loss


def checked_counters(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """A header. Raises ValueError if a run cannot have one of its counters."""
    for field in fields(Counters):
        if field.name not in header and field.name not in LATER:
            raise ValueError(f"its header has no {field.name}")
        value = header.get(field.name, field.default)
        if field.name in ("best", "best_loss"):
            sound = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value == value)
        elif field.name in ("seconds", "rate_scale"):
            sound = is_number_in(value, 0, 1e12)
        else:
            sound = (type(value) is int and 0 <= value < 1 << 62) or (value is None and field.default is None)
        if not sound:
            raise ValueError(f"{field.name} is {shortened(repr(value))}")
    total = header.get("total")
    if total is not None and header.get("step", 0) > total:
        raise ValueError(f"its step {header['step']} is beyond its last, {total}")
    return header


class Kept(NamedTuple):
    """What is kept of a saved state when a run is continued."""

    data: bool = True  # the position in the corpus and the carried hidden states
    optimiser: bool = True
    noise: bool = True  # the state of the random numbers


EVERYTHING = Kept()


class RunState:
    """Parameters, their averages, the optimiser, the task's own state, random numbers and counters."""

    def __init__(self, task: SavedTask, updates: Updates, *, average: bool) -> None:
        """With `average`, moving averages of the parameters are kept."""
        self.task = task
        self.updates = updates
        self.averages = {k: v.detach().clone() for k, v in task.parameters.items()} if average else {}
        self.counters = Counters()

    def capture(self) -> SavedState:
        """A copy of the whole state."""
        arrays = {f"parameter/{k}": to_numpy(v).copy() for k, v in self.task.parameters.items()}
        arrays |= {f"average/{k}": to_numpy(v).copy() for k, v in self.averages.items()}
        arrays |= {f"optimiser/{k}": v for k, v in self.updates.arrays().items()}
        arrays |= {f"task/{k}": v for k, v in self.task.arrays().items()}
        arrays["random"] = self.task.generator.get_state().numpy().copy()
        return self.counters.as_json(), arrays

    def restore(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        kept: Kept = EVERYTHING,
    ) -> None:
        """Restore the state that `capture` returned, or what is kept of it.

        Raises RunError if it is the state of a model with other parameters.
        """

        def under(prefix: str) -> dict[str, np.ndarray]:
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        try:
            self._restore(header, under, arrays.get("random"), kept)
        except (ValueError, KeyError, IndexError) as error:
            what = f"is damaged: {error.args[0] if error.args else error}"
            raise RunError("resume.safetensors", what, "--overwrite") from error

    def _restore(
        self,
        header: Mapping[str, Any],
        under: Callable[[str], dict[str, np.ndarray]],
        random: np.ndarray | None,
        kept: Kept,
    ) -> None:
        """As `restore`. Raises ValueError or KeyError if something else was saved than `capture` saves."""
        counters = checked_counters(header)
        parameters = under("parameter/")
        shapes = {name: tuple(value.shape) for name, value in self.task.parameters.items()}
        if shapes != {name: value.shape for name, value in parameters.items()}:
            raise RunError(
                "resume.safetensors", "is the state of another model than the one in config.json", "--overwrite"
            )
        averages = under("average/") or parameters
        for kind, values in (("parameter", parameters), ("average", averages)):
            for name, shape in shapes.items():
                value = values.get(name)
                if value is None or value.shape != shape or value.dtype != np.float32 or not is_finite(value):
                    raise ValueError(f"the {kind} {name} is missing, not finite, or of another shape or type")
        self._assign({k: torch.from_numpy(v) for k, v in parameters.items()})
        for name in self.averages:
            self.averages[name].copy_(torch.from_numpy(averages[name]))
        if kept.optimiser:
            self.updates.restore(under("optimiser/"))
        if kept.data:
            if not all(map(is_finite, under("task/").values())):
                raise ValueError("its carried state is not finite")
            self.task.restore(under("task/"))
        if kept.noise:
            if random is None or random.dtype != np.uint8 or random.shape not in RANDOM_STATES:
                raise ValueError("the state of its random numbers is missing")
            try:
                restore_generator(self.task.generator, random)
            except RuntimeError as error:  # torch compares it
                raise ValueError("the state of its random numbers is not valid") from error
        self.counters.restore(counters)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the task's parameters are their moving averages, if those are kept."""
        held = {name: self.task.parameters[name].detach().clone() for name in self.averages}
        self._assign(self.averages)
        yield
        self._assign(held)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.task.parameters[name].copy_(value)
