"""How long a recurrent layer takes: ours, torch.nn's, and the layer's matrix products alone, in one run.

torch.nn is timed in fp32 too if the type is bf16, since bf16 is there to be faster than that. A layer with an option is
timed beside the same layer without it.

On a GPU each turn is timed twice, between events of the device: as it is called, and replayed as a CUDA graph. For a
small layer the first is the time in which the host launches its kernels, and the second is the GPU's own. A turn that
waits for the device, as different lengths do, cannot be recorded as a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from nlpseq.cells import CELLS
from nlpseq.timing.clocks import Turn, device_seconds, median_seconds, recorded
from nlpseq.timing.layer_products import product_turn
from nlpseq.timing.layer_turns import TORCH_LAYERS, TimedLayer, our_turn, torch_turn
from nlpseq.timing.plan import DIRECTIONS, NO_OPTION, Plan
from nlpseq.timing.shapes import Shape


@dataclass(frozen=True)
class LayerTiming:
    """The medians of one layer in milliseconds; None for what was not timed.

    `torch_ms` is None if torch.nn has no such cell or option, `torch_fp32_ms` also if the type is fp32. `plain_ms` is
    our layer without the option, and None if there is no option.
    """

    cell: str
    direction: str
    dtype: str
    option: str
    shape: Shape
    ours_ms: float
    gemm_ms: float
    torch_ms: float | None = None
    plain_ms: float | None = None
    torch_fp32_ms: float | None = None
    graph_ms: Mapping[str, float] | None = None  # of CUDA graphs, by the names above; None on a CPU

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is than torch.nn's."""
        return _quotient(self.torch_ms, self.ours_ms)

    @property
    def graph_ratio(self) -> float | None:
        """The same for CUDA graphs."""
        return _quotient(self.graph_of("torch_ms"), self.graph_of("ours_ms"))

    def graph_of(self, name: str) -> float | None:
        """The milliseconds of a turn as a CUDA graph, None if there is no graph of it."""
        return (self.graph_ms or {}).get(name)

    @property
    def fp32_ratio(self) -> float | None:
        """How many times faster ours is than torch.nn's in fp32."""
        return _quotient(self.torch_fp32_ms, self.ours_ms)

    @property
    def products_ratio(self) -> float:
        """How many times longer ours takes than its matrix products alone."""
        return self.ours_ms / self.gemm_ms

    @property
    def option_ratio(self) -> float | None:
        """How many times longer ours takes with the option than without it."""
        return None if self.plain_ms is None else self.ours_ms / self.plain_ms

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench cells --json` lists."""
        named = {"cell": self.cell, "direction": self.direction, "dtype": self.dtype, "option": self.option}
        sizes = dict(zip("TBH", self.shape, strict=True))
        times = {"ours_ms": self.ours_ms, "torch_ms": self.torch_ms, "gemm_ms": self.gemm_ms, "ratio": self.ratio}
        graphs = {} if self.graph_ms is None else {"graph_ms": dict(self.graph_ms), "graph_ratio": self.graph_ratio}
        return {**named, **sizes, **times, "plain_ms": self.plain_ms, "torch_fp32_ms": self.torch_fp32_ms, **graphs}


def _quotient(theirs: float | None, ours: float | None) -> float | None:
    return None if theirs is None or ours is None else theirs / ours


def measure_layers(plan: Plan) -> Iterator[LayerTiming]:
    """Time all layers of a plan; each row comes as soon as it is known."""
    return map(_measure, _layers(plan))


def run_once(plan: Plan) -> None:
    """Run our side of all layers of a plan once, untimed, which compiles the kernels that are compiled at first use."""
    for layer in _layers(plan):
        our_turn(layer)()


def _layers(plan: Plan) -> Iterator[TimedLayer]:
    for dtype, direction, shape, cell, option in product(
        plan.dtypes, DIRECTIONS[plan.direction], plan.shapes, plan.cells, plan.options
    ):
        yield TimedLayer(plan, CELLS[cell], shape, dtype, direction, option)


def _measure(layer: TimedLayer) -> LayerTiming:
    torch.manual_seed(1)
    generator = layer.generator()
    turns = {"ours_ms": our_turn(layer, generator), "gemm_ms": product_turn(layer)}
    if layer.option != NO_OPTION:
        turns["plain_ms"] = our_turn(layer._replace(option=NO_OPTION))
    if layer.cell.name in TORCH_LAYERS and layer.option in (NO_OPTION, "lengths"):
        turns["torch_ms"] = torch_turn(layer, layer.dtype)
        if layer.dtype != "fp32":
            turns["torch_fp32_ms"] = torch_turn(layer, "fp32")
    timing = partial(LayerTiming, layer.cell.name, layer.direction, layer.dtype, layer.option, layer.shape)
    if layer.plan.device != "cuda":
        return timing(graph_ms=None, **_milliseconds(turns, median_seconds, layer.plan.repeats))
    called = _milliseconds(turns, device_seconds, layer.plan.repeats)
    graphs = _graphs(turns, generator)
    return timing(**called, graph_ms=_milliseconds(graphs, partial(device_seconds, queued=True), layer.plan.repeats))


def _milliseconds(
    turns: Mapping[str, Turn], measure: Callable[[Sequence[Turn], int], list[float]], repeats: int
) -> dict[str, float]:
    seconds = measure([*turns.values()], repeats)
    return {name: 1000 * value for name, value in zip(turns, seconds, strict=True)}


def _graphs(turns: Mapping[str, Turn], generator: torch.Generator) -> dict[str, Turn]:
    """Each turn that can be recorded, as a graph."""
    graphs = {}
    for name, turn in turns.items():
        with suppress(RuntimeError):
            graphs[name] = recorded(turn, [generator])
    return graphs
