"""How long a recurrent layer takes: ours, torch.nn's, and the layer's matrix products alone, side by side in one run.

The contenders take turns, again and again, so that whatever else the machine does falls on all of them alike, and the
median of the turns counts. The products alone, into memory that is there already, are the floor: no layer that computes
them one step after another can be faster. In bf16 torch.nn holds weights, state and input in bf16, which is the fastest
it has; ours multiplies in bf16 and keeps its state in fp32. The price of turns is a cold cache at the start of each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.cells import CELLS, Cell, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.kernels.choice import choose

WARM_UP = 2  # turns that are not counted

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
TORCH_LAYERS: dict[str, Callable[..., torch.nn.RNNBase]] = {
    "rnn": torch.nn.RNN,
    "rnn-relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}

Turn = Callable[[], object]


class Shape(NamedTuple):
    """A layer's work: steps, sequences, and units, which are as many as its inputs."""

    time: int
    batch: int
    hidden_size: int


@dataclass(frozen=True)
class LayerTiming:
    """One layer's medians in milliseconds; torch's are None where torch.nn has no such cell."""

    cell: str
    direction: str
    dtype: str
    shape: Shape
    ours_ms: float
    torch_ms: float | None
    gemm_ms: float

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is than torch.nn's."""
        return None if self.torch_ms is None else self.torch_ms / self.ours_ms

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench cells --json` lists."""
        named = {"cell": self.cell, "direction": self.direction, "dtype": self.dtype}
        sizes = dict(zip("TBH", self.shape, strict=True))
        times = {"ours_ms": self.ours_ms, "torch_ms": self.torch_ms, "gemm_ms": self.gemm_ms}
        return {**named, **sizes, **times, "ratio": self.ratio}


def median_seconds(turns: Sequence[Turn], repeats: int) -> list[float]:
    """The median time of each turn, in seconds, the turns being taken one after the other `repeats` times."""
    seconds: list[list[float]] = [[] for _ in turns]
    for repeat in range(WARM_UP + repeats):
        for turn, measured in zip(turns, seconds, strict=True):
            started = time.perf_counter()
            turn()
            if repeat >= WARM_UP:
                measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


def measure_layers(
    names: Sequence[str],
    shapes: Sequence[Shape],
    dtypes: Sequence[str],
    direction: str,  # "forward", without a gradient, or "both": forward and every gradient
    repeats: int,
) -> Iterator[LayerTiming]:
    """Time cells of `nlpseq.cells.CELLS` in every shape and type, each row as soon as it is known."""
    for dtype in dtypes:
        for shape in shapes:
            for name in names:
                yield _measure(CELLS[name], shape, dtype, direction, repeats)


def _measure(cell: Cell, shape: Shape, dtype: str, direction: str, repeats: int) -> LayerTiming:
    both = direction == "both"
    torch.manual_seed(1)
    values = layer_values(cell, shape.hidden_size, shape.hidden_size, np.random.default_rng(1))
    turns = [_our_turn(cell, values, shape, dtype, both), _product_turn(cell, shape, dtype, both)]
    if cell.name in TORCH_LAYERS:
        turns.append(_torch_turn(cell, values, shape, dtype, both))
    milliseconds = [1000 * seconds for seconds in median_seconds(turns, repeats)]
    theirs = milliseconds[2] if len(turns) == 3 else None
    return LayerTiming(cell.name, direction, dtype, shape, milliseconds[0], theirs, milliseconds[1])


def _our_turn(cell: Cell, values: dict[str, np.ndarray], shape: Shape, dtype: str, both: bool) -> Turn:
    run_layer = choose("fused", dtype, "cpu").run_layer
    weights = LayerWeights(**{name: torch.from_numpy(value) for name, value in values.items()})
    inputs = torch.randn(*shape)
    state = zero_state(cell, shape.batch, shape.hidden_size, inputs)
    leaves = [inputs, *(one for one in weights[:4] if one is not None)]
    return _turn(lambda: run_layer(cell, weights, inputs, state)[0], leaves, torch.randn(*shape), both)


def _torch_turn(cell: Cell, values: dict[str, np.ndarray], shape: Shape, dtype: str, both: bool) -> Turn:
    layer = torch_layer(cell.name, [values]).to(DTYPES[dtype])
    inputs = torch.randn(*shape, dtype=DTYPES[dtype])
    leaves = [inputs, *layer.parameters()]
    return _turn(lambda: layer(inputs)[0], leaves, torch.randn(*shape, dtype=DTYPES[dtype]), both)


def torch_layer(cell: str, layers: Sequence[dict[str, np.ndarray]]) -> torch.nn.RNNBase:
    """The layers of torch.nn for a cell of TORCH_LAYERS, with our weights of each layer."""
    gates = CELLS[cell].gates
    hidden_size = len(layers[0]["weight_hh"]) // gates
    made = TORCH_LAYERS[cell](layers[0]["weight_ih"].shape[1], hidden_size, num_layers=len(layers))
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    named = {f"{field}_l{depth}": one[field] for depth, one in enumerate(layers) for field in fields}
    made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    return made


def _turn(run: Callable[[], Tensor], leaves: Sequence[Tensor], upstream: Tensor, both: bool) -> Turn:
    """One run of a layer: its outputs, and in `both` directions the gradient of each of `leaves`."""
    for leaf in leaves:
        leaf.requires_grad_(both)
    if both:
        return lambda: torch.autograd.grad(run(), leaves, upstream)
    return torch.no_grad()(run)


def _product_turn(cell: Cell, shape: Shape, dtype: str, both: bool) -> Turn:
    """The layer's matrix products and nothing else: all steps at once where a layer may, else step by step."""
    steps, batch, size = shape
    empty = partial(torch.randn, dtype=DTYPES[dtype])
    rows, width = steps * batch, cell.gates * size
    sequential = () if cell.parallel else range(steps)
    weight, inputs, grads = empty(width, size), empty(rows, size), empty(rows, width)
    products, backward = empty(rows, width), empty(rows, size)
    gradient = empty(width, size)

    def forward() -> None:
        torch.mm(inputs, weight.t(), out=products)
        for time_step in sequential:
            part = slice(time_step * batch, (time_step + 1) * batch)
            torch.mm(inputs[part], weight.t(), out=products[part])

    def forward_and_backward() -> None:
        forward()
        for time_step in sequential:
            part = slice(time_step * batch, (time_step + 1) * batch)
            torch.mm(grads[part], weight, out=backward[part])
        torch.mm(grads, weight, out=backward)
        for _ in ("weight_ih",) if cell.parallel else ("weight_ih", "weight_hh"):
            torch.mm(grads.t(), inputs, out=gradient)

    return forward_and_backward if both else forward
