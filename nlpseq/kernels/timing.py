"""How long a recurrent layer takes: ours, torch.nn's, and the layer's matrix products alone, side by side in one run.

The contenders take turns, again and again, so that whatever else the machine does falls on all of them alike, and the
median of the turns counts. The products alone, into memory that is there already and in the type that is timed, are the
yardstick: torch multiplies matrices one step after another, and does nothing else. In bf16 torch.nn holds weights,
state and input in bf16, which is the fastest it has; ours multiplies in bf16 and keeps its state in fp32. The price of
turns is a cold cache at the start of each.

With an option, the same layer of ours without it takes turns too, and torch.nn only where it has the option: sequences
of unequal length, which it is given packed, as its users do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nlpseq.cells import CELLS, Cell, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.kernels.choice import Needs, choose
from nlpseq.kernels.masks import draw_mask

WARM_UP = 2  # turns that are not counted
RATE = 0.1  # of whatever is dropped

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
TORCH_LAYERS: dict[str, Callable[..., torch.nn.RNNBase]] = {
    "rnn": torch.nn.RNN,
    "rnn-relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}
OPTIONS = ("lengths", "layer-normalisation", "zoneout", "weight-drop", "locked-dropout")

Turn = Callable[[], object]


class Shape(NamedTuple):
    """A layer's work: steps, sequences, and units, which are as many as its inputs."""

    time: int
    batch: int
    hidden_size: int


class Work(NamedTuple):
    """What is timed."""

    cell: Cell
    shape: Shape
    dtype: str
    both: bool  # forward and every gradient, or forward without a gradient
    option: str | None = None
    backend: str = "auto"
    device: str = "cpu"

    @property
    def lengths(self) -> Tensor | None:
        """With the option, lengths drawn evenly from 1 to T; the same for all contenders."""
        if self.option != "lengths":
            return None
        return torch.randint(1, self.shape.time + 1, (self.shape.batch,), generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class LayerTiming:
    """One layer's medians in milliseconds; None where there is no such contender."""

    cell: str
    direction: str
    dtype: str
    shape: Shape
    option: str | None
    ours_ms: float
    torch_ms: float | None  # torch.nn's layer in the same type
    gemm_ms: float  # the products alone
    torch_fp32_ms: float | None  # torch.nn's layer in fp32, where the type is another
    plain_ms: float | None  # our layer without the option

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is than torch.nn's."""
        return None if self.torch_ms is None else self.torch_ms / self.ours_ms

    @property
    def over_products(self) -> float:
        """Ours over the time of the products alone."""
        return self.ours_ms / self.gemm_ms

    @property
    def over_plain(self) -> float | None:
        """What the option costs: ours with it over ours without."""
        return None if self.plain_ms is None else self.ours_ms / self.plain_ms

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench cells --json` lists."""
        named = {"cell": self.cell, "direction": self.direction, "dtype": self.dtype}
        sizes = dict(zip("TBH", self.shape, strict=True))
        times = {"ours_ms": self.ours_ms, "torch_ms": self.torch_ms, "gemm_ms": self.gemm_ms, "ratio": self.ratio}
        others = {"torch_fp32_ms": self.torch_fp32_ms, "option": self.option, "plain_ms": self.plain_ms}
        return {**named, **sizes, **times, **others}


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
    directions: Sequence[str],  # "forward", without a gradient, and "both": forward and every gradient
    options: Sequence[str | None] = (None,),
    *,
    repeats: int,
    backend: str = "auto",
    device: str = "cpu",
) -> Iterator[LayerTiming]:
    """Time cells of `nlpseq.cells.CELLS` in every direction, type, shape and option, row by row."""
    for direction in directions:
        for dtype in dtypes:
            for shape in shapes:
                for name in names:
                    for option in options:
                        both = direction == "both"
                        yield _measure(Work(CELLS[name], shape, dtype, both, option, backend, device), repeats)


def lacks(cell: str, option: str | None) -> bool:
    """Whether a cell has nothing that an option could do anything to."""
    return option == "weight-drop" and CELLS[cell].parallel


def _measure(work: Work, repeats: int) -> LayerTiming:
    torch.manual_seed(1)
    size = work.shape.hidden_size
    normalised = work.option == "layer-normalisation"
    values = layer_values(work.cell, size, size, np.random.default_rng(1), layer_normalisation=normalised)
    contenders = {"ours_ms": _our_turn(work, values), "gemm_ms": _product_turn(work)}
    if work.cell.name in TORCH_LAYERS and work.option in (None, "lengths"):
        contenders["torch_ms"] = _torch_turn(work, values)
        if work.dtype != "fp32":
            contenders["torch_fp32_ms"] = _torch_turn(work._replace(dtype="fp32"), values)
    if work.option:
        contenders["plain_ms"] = _our_turn(work._replace(option=None), values)
    turns = [_finished(turn, work.device) for turn in contenders.values()]
    medians = dict(zip(contenders, (1000 * one for one in median_seconds(turns, repeats)), strict=True))
    return LayerTiming(
        work.cell.name,
        "both" if work.both else "forward",
        work.dtype,
        work.shape,
        work.option,
        ours_ms=medians["ours_ms"],
        torch_ms=medians.get("torch_ms"),
        gemm_ms=medians["gemm_ms"],
        torch_fp32_ms=medians.get("torch_fp32_ms"),
        plain_ms=medians.get("plain_ms"),
    )


def _finished(turn: Turn, device: str) -> Turn:
    """A turn that lasts until the device has done it."""
    if device == "cpu":
        return turn

    def wait() -> None:
        turn()
        torch.cuda.synchronize()

    return wait


def _our_turn(work: Work, values: dict[str, np.ndarray]) -> Turn:
    cell, (steps, batch, size) = work.cell, work.shape
    normalised = work.option == "layer-normalisation"
    zoneout = RATE if work.option == "zoneout" else 0.0
    needs = Needs(cell.name, normalised, zoneout)
    run_layer = choose(work.backend, work.dtype, work.device, needs).run_layer
    kept = {name: value for name, value in values.items() if normalised or not name.startswith("gain")}
    tensors = {name: torch.from_numpy(value).to(work.device) for name, value in kept.items()}
    weights = LayerWeights(*(tensors.get(field) for field in LayerWeights._fields))
    inputs = torch.randn(*work.shape, device=work.device)
    state, lengths = zero_state(cell, batch, size, inputs), work.lengths
    generator = torch.Generator().manual_seed(1)

    def drop(shape: tuple[int, ...]) -> Tensor:
        return draw_mask(shape, 1 - RATE, generator).to(inputs) / (1 - RATE)

    def run() -> Tensor:
        given, layer, masks = inputs, weights, None
        if zoneout:
            masks = draw_mask((steps, batch, size), RATE, generator).to(inputs)
        if work.option == "weight-drop":
            layer = weights._replace(weight_hh=weights.weight_hh * drop(tuple(weights.weight_hh.shape)))
        if work.option == "locked-dropout":
            given = inputs * drop((batch, size))
        outputs: Tensor = run_layer(cell, layer, given, state, lengths, zoneout=zoneout, masks=masks)[0]
        return outputs

    return _turn(run, [inputs, *tensors.values()], work, torch.float32)


def _torch_turn(work: Work, values: dict[str, np.ndarray]) -> Turn:
    dtype, lengths = DTYPES[work.dtype], work.lengths
    layer = torch_layer(work.cell.name, [values]).to(work.device, dtype)
    inputs = torch.randn(*work.shape, dtype=dtype, device=work.device)

    def run() -> Tensor:
        if lengths is None:
            outputs: Tensor = layer(inputs)[0]
            return outputs
        packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0], total_length=work.shape.time)[0]

    return _turn(run, [inputs, *layer.parameters()], work, dtype)


def torch_layer(cell: str, layers: Sequence[dict[str, np.ndarray]]) -> torch.nn.RNNBase:
    """The layers of torch.nn for a cell of TORCH_LAYERS, with our weights of each layer."""
    gates = CELLS[cell].gates
    hidden_size = len(layers[0]["weight_hh"]) // gates
    made = TORCH_LAYERS[cell](layers[0]["weight_ih"].shape[1], hidden_size, num_layers=len(layers))
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    named = {f"{field}_l{depth}": one[field] for depth, one in enumerate(layers) for field in fields}
    made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    return made


def _turn(run: Callable[[], Tensor], leaves: Sequence[Tensor], work: Work, dtype: torch.dtype) -> Turn:
    """One run of a layer: its outputs, and in both directions the gradient of each of `leaves`."""
    upstream = torch.randn(*work.shape, dtype=dtype, device=work.device)
    for leaf in leaves:
        leaf.requires_grad_(work.both)
    if work.both:
        return lambda: torch.autograd.grad(run(), leaves, upstream)
    return torch.no_grad()(run)


def _product_turn(work: Work) -> Turn:
    """The layer's matrix products and nothing else: all steps at once where a layer may, else step by step."""
    steps, batch, size = work.shape
    active = [batch] * steps
    if work.lengths is not None:
        active = [int((work.lengths > time_step).sum()) for time_step in range(steps)]
    starts = np.cumsum([0, *active]).tolist()
    parts = [] if work.cell.parallel else [slice(*pair) for pair in pairwise(starts)]
    empty = partial(torch.randn, dtype=DTYPES[work.dtype], device=work.device)
    rows, width = starts[-1], work.cell.gates * size
    weight, inputs, grads = empty(width, size), empty(rows, size), empty(rows, width)
    products, backward = empty(rows, width), empty(rows, size)
    gradient = empty(width, size)

    def forward() -> None:
        torch.mm(inputs, weight.t(), out=products)
        for part in parts:
            torch.mm(inputs[part], weight.t(), out=products[part])

    def forward_and_backward() -> None:
        forward()
        for part in reversed(parts):
            torch.mm(grads[part], weight, out=backward[part])
        torch.mm(grads, weight, out=backward)
        for _ in ("weight_ih",) if work.cell.parallel else ("weight_ih", "weight_hh"):
            torch.mm(grads.t(), inputs, out=gradient)

    return forward_and_backward if work.both else forward
