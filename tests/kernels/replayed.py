"""A stand-in for CUDA's graphs on the CPU, for tests of what is recorded and replayed.

Recording runs nothing, as on a GPU. A replay runs the function once more on the same places in memory and writes its
results into the same tensors as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class StandInGraph:
    """A function of no arguments, and where its results go."""

    body: Callable[[], tuple[Tensor, ...]]
    results: tuple[Tensor, ...]
    replays: int = 0

    def replay(self) -> None:
        """Run the function."""
        self.replays += 1
        with torch.enable_grad():
            made = self.body()
        for place, value in zip(self.results, made, strict=True):
            place.copy_(value.detach())


@dataclass
class StandInRecorder:
    """Makes graphs of functions whose results have the given shapes."""

    shapes: Sequence[tuple[int, ...]]
    graphs: list[StandInGraph] = field(default_factory=list)

    def record(self, body: Callable[[], tuple[Tensor, ...]]) -> tuple[StandInGraph, tuple[Tensor, ...]]:
        """A graph of `body`."""
        results = tuple(torch.full(shape, torch.nan) for shape in self.shapes)
        self.graphs.append(StandInGraph(body, results))
        return self.graphs[-1], results
