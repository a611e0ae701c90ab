"""How long a recurrent layer takes: ours, torch.nn's, and the layer's matrix products alone, side by side in one run.

The contenders take turns, again and again, so that whatever else the machine does falls on all of them alike, and the
median of the turns counts. The products alone, into memory that is there already, are the floor: no layer that computes
them one step after another can be faster. In bf16 torch.nn holds weights, state and input in bf16 (cuDNN may be
faster in fp16); ours multiplies in bf16 and keeps its state in fp32. torch.nn in fp32 takes a turn too, since being
faster than that is what bf16 is for. The price of turns is a cold cache at the start of each.

An option of our layers (`OPTIONS`) is timed beside the same layer without it. Noise is drawn in each turn, as in
training. torch.nn has an equal for different lengths alone: packing and padding are then part of its turn.

On a GPU each turn is timed twice, between events of the device: as it is called, and replayed as a CUDA graph. Called,
a small layer's time is that of its launches by the host; replayed, it is the GPU's own. cuDNN is given its weights as
one flat buffer, or it would copy them in each call. What waits for the device, as different lengths do, has no graph.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nlpseq.cells import CELLS, Cell, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.errors import BackendError, OptionError
from nlpseq.kernels.choice import Choice, choose, refuse
from nlpseq.kernels.gpu.signals import raise_if_stuck
from nlpseq.kernels.masks import draw_mask
from nlpseq.kernels.replay import CudaRecorder
from nlpseq.models.device import need_gpu

QUEUED_CYCLES = 1_000_000  # of a GPU's clock: about half a millisecond, in which a graph is launched
WARM_UP = 2  # turns that are not counted

NO_OPTION = "none"
OPTIONS = (NO_OPTION, "lengths", "layer-normalisation", "zoneout", "weight-drop", "locked-dropout")
ZONEOUT, DROPPED = 0.1, 0.5  # shares of units kept, and of weights or units dropped
DIRECTIONS = {"forward": ("forward",), "both": ("both",), "each": ("forward", "both")}
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
    """One layer's medians in milliseconds, None where nothing was timed.

    torch's are None where torch.nn has no such cell or option, `torch_fp32_ms` also where the type is fp32. `plain_ms`
    is the same layer of ours without the option, and None where there is no option.
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
    graph_ms: Mapping[str, float] | None = None  # of CUDA graphs, by the names above; None elsewhere than on a GPU

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is than torch.nn's."""
        return None if self.torch_ms is None else self.torch_ms / self.ours_ms

    @property
    def graph_ratio(self) -> float | None:
        """The same of CUDA graphs."""
        return _ratio(self.graph_of("torch_ms"), self.graph_of("ours_ms"))

    def graph_of(self, name: str) -> float | None:
        """A turn's milliseconds as a CUDA graph, None where there is no graph of it."""
        return (self.graph_ms or {}).get(name)

    @property
    def fp32_ratio(self) -> float | None:
        """How many times faster ours is than torch.nn's in fp32."""
        return None if self.torch_fp32_ms is None else self.torch_fp32_ms / self.ours_ms

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


def _ratio(theirs: float | None, ours: float | None) -> float | None:
    return None if theirs is None or ours is None else theirs / ours


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be timed: every combination of cells, shapes, types, directions and options.

    Raises BackendError where the backend, a type or the device cannot run here, or lacks a cell or an option.
    """

    cells: Sequence[str]
    shapes: Sequence[Shape]
    dtypes: Sequence[str] = ("fp32",)
    direction: str = "both"  # of DIRECTIONS; "forward" is without a gradient, "both" with every gradient
    options: Sequence[str] = (NO_OPTION,)
    repeats: int = 7
    backend: str = "auto"
    device: str = "cpu"
    choices: Mapping[str, Choice] = field(init=False)  # by type: what runs our side

    def __post_init__(self) -> None:
        if self.device == "cuda":
            need_gpu()
        choices = {dtype: _choose(self.backend, dtype, self.device) for dtype in self.dtypes}
        for cell, option in product(self.cells, self.options):
            zoneout = ZONEOUT if option == "zoneout" else 0.0
            refuse(self.backend, cell, layer_normalisation=option == "layer-normalisation", zoneout=zoneout)
            if option == "weight-drop" and CELLS[cell].parallel:
                raise OptionError(
                    "--with", f"weight-drop needs recurrent weights, and {cell} has none", "--with zoneout"
                )
        object.__setattr__(self, "choices", choices)


def _choose(backend: str, dtype: str, device: str) -> Choice:
    try:
        return choose(backend, dtype, device)
    except BackendError as error:  # told in the flags of a training run
        where, hint = {"--precision": ("--dtype", "--dtype fp32"), "--device": ("--device", "--backend torch")}.get(
            error.where, (error.where, error.hint)
        )
        raise BackendError(where, error.what, hint) from None


def median_seconds(turns: Sequence[Turn], repeats: int, wait: Callable[[], object] | None = None) -> list[float]:
    """The median time of each turn, in seconds, the turns being taken one after the other `repeats` times.

    `wait` is for a device that works while the program goes on: called before and after each turn, it returns when all
    is done.
    """
    seconds: list[list[float]] = [[] for _ in turns]
    settle = wait or (lambda: None)
    for repeat in range(WARM_UP + repeats):
        for turn, measured in zip(turns, seconds, strict=True):
            settle()
            started = time.perf_counter()
            turn()
            settle()
            if repeat >= WARM_UP:
                measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


def device_seconds(turns: Sequence[Turn], repeats: int, *, queued: bool = False) -> list[float]:
    """As `median_seconds`, of work on a GPU: what passes there between two events around each turn.

    With `queued` the GPU is kept busy until all is launched, so that the host's time is no part of it. Raises
    BackendError if a kernel gave up, in a graph too.
    """
    seconds: list[list[float]] = [[] for _ in turns]
    for repeat in range(WARM_UP + repeats):
        for turn, measured in zip(turns, seconds, strict=True):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            if queued:
                torch.cuda._sleep(QUEUED_CYCLES)  # type: ignore[no-untyped-call]
            begin.record()
            turn()
            end.record()
            end.synchronize()
            if repeat >= WARM_UP:
                measured.append(begin.elapsed_time(end) / 1000)
    raise_if_stuck(wait=True)
    return [statistics.median(measured) for measured in seconds]


def recorded(turn: Turn, generators: Sequence[torch.Generator] = ()) -> Turn:
    """A turn that replays, as a CUDA graph, all that `turn` launches; `generators` are those that it draws from.

    Raises RuntimeError where `turn` does what a graph cannot hold, as waiting for the device.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        turn()
        torch.cuda.set_sync_debug_mode("error")  # a recording that fails would leave torch's generators unusable
        try:
            turn()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(side)
    raise_if_stuck(wait=True)
    graph, _ = CudaRecorder(generators).record(lambda: (turn(), ())[1])
    return graph.replay


def measure_layers(plan: Plan) -> Iterator[LayerTiming]:
    """Time all that is planned, each row as soon as it is known."""
    for layer in _layers(plan):
        yield _measure(layer)


def run_once(plan: Plan) -> None:
    """Run our side of all that is planned once, untimed, which compiles the kernels that are compiled at first use."""
    for layer in _layers(plan):
        _our_turn(layer)()


def _layers(plan: Plan) -> Iterator[_Layer]:
    for dtype, direction, shape, cell, option in product(
        plan.dtypes, DIRECTIONS[plan.direction], plan.shapes, plan.cells, plan.options
    ):
        yield _Layer(plan, CELLS[cell], shape, dtype, direction, option)


class _Layer(NamedTuple):
    """One row's work."""

    plan: Plan
    cell: Cell
    shape: Shape
    dtype: str
    direction: str
    option: str

    def lengths(self) -> Tensor | None:
        """Steps of each sequence [B], uniform from 1 to T and always the same, or None where all have all."""
        if self.option != "lengths":
            return None
        drawn = np.random.default_rng(1).integers(1, self.shape.time + 1, self.shape.batch)
        return torch.from_numpy(drawn).to(self.plan.device)

    def values(self) -> dict[str, Tensor]:
        """Weights, by the names of LayerWeights."""
        made = _values(self.cell.name, self.shape.hidden_size, self.option == "layer-normalisation")
        return {name: torch.from_numpy(value.copy()).to(self.plan.device) for name, value in made.items()}

    def random(self, dtype: str = "fp32") -> Tensor:
        """Random values [T, B, H]."""
        return torch.randn(*self.shape, dtype=DTYPES[dtype], device=self.plan.device)

    def generator(self) -> torch.Generator:
        """What noise is drawn from, where the layer is."""
        return torch.Generator(self.plan.device).manual_seed(1)


@lru_cache(maxsize=4)
def _values(cell: str, size: int, normalised: bool) -> dict[str, np.ndarray]:
    """Weights that are drawn fast: orthogonal ones of 2,048 units take seconds."""
    generator = np.random.default_rng(1)
    return layer_values(CELLS[cell], size, size, generator, initial="normal", layer_normalisation=normalised)


def _measure(layer: _Layer) -> LayerTiming:
    torch.manual_seed(1)
    generator = layer.generator()
    turns = {"ours_ms": _our_turn(layer, generator), "gemm_ms": _product_turn(layer)}
    if layer.option != NO_OPTION:
        turns["plain_ms"] = _our_turn(layer._replace(option=NO_OPTION))
    if layer.cell.name in TORCH_LAYERS and layer.option in (NO_OPTION, "lengths"):
        turns["torch_ms"] = _torch_turn(layer, layer.dtype)
        if layer.dtype != "fp32":
            turns["torch_fp32_ms"] = _torch_turn(layer, "fp32")
    made = partial(LayerTiming, layer.cell.name, layer.direction, layer.dtype, layer.option, layer.shape)
    if layer.plan.device != "cuda":
        return made(graph_ms=None, **_milliseconds(turns, median_seconds, layer.plan.repeats))
    called = _milliseconds(turns, device_seconds, layer.plan.repeats)
    graphs = _graphs(turns, generator)
    return made(**called, graph_ms=_milliseconds(graphs, partial(device_seconds, queued=True), layer.plan.repeats))


def _milliseconds(
    turns: Mapping[str, Turn], measure: Callable[[Sequence[Turn], int], list[float]], repeats: int
) -> dict[str, float]:
    return {name: 1000 * one for name, one in zip(turns, measure([*turns.values()], repeats), strict=True)}


def _graphs(turns: Mapping[str, Turn], generator: torch.Generator) -> dict[str, Turn]:
    """Each turn that can be recorded, as a graph."""
    graphs = {}
    for name, turn in turns.items():
        with suppress(RuntimeError):
            graphs[name] = recorded(turn, [generator])
    return graphs


def _our_turn(layer: _Layer, generator: torch.Generator | None = None) -> Turn:
    run_layer, option = layer.plan.choices[layer.dtype].run_layer, layer.option
    inputs, upstream = layer.random(), layer.random()
    values, lengths = layer.values(), layer.lengths()
    weights = LayerWeights(*(values.get(name) for name in LayerWeights._fields))
    generator = generator or layer.generator()
    state = zero_state(layer.cell, layer.shape.batch, layer.shape.hidden_size, inputs)

    def run() -> Tensor:
        used, settings = weights, dict[str, Any]()
        if option == "zoneout":
            settings = {"zoneout": ZONEOUT, "masks": draw_mask(tuple(inputs.shape), ZONEOUT, generator).to(inputs)}
        elif option == "weight-drop":
            used = weights._replace(weight_hh=weights.weight_hh * _dropout_mask(weights.weight_hh, generator))
        outputs: Tensor = run_layer(layer.cell, used, inputs, state, lengths, **settings)[0]
        return outputs * _dropout_mask(outputs[0], generator) if option == "locked-dropout" else outputs

    leaves = [inputs, *(value for value in weights if value is not None)]
    return _turn(run, leaves, upstream, layer.direction)


def _dropout_mask(like: Tensor, generator: torch.Generator) -> Tensor:
    return draw_mask(tuple(like.shape), 1 - DROPPED, generator).to(like) / (1 - DROPPED)


def _torch_turn(layer: _Layer, dtype: str) -> Turn:
    """torch.nn's layer with our weights; of different lengths as a user runs it, packing and padding included."""
    inputs, upstream, lengths = layer.random(dtype), layer.random(dtype), layer.lengths()
    values = {name: value.cpu().numpy() for name, value in layer.values().items()}
    module = torch_layer(layer.cell.name, [values]).to(layer.plan.device, DTYPES[dtype])
    module.flatten_parameters()  # moving and casting leave the weights in pieces, which cuDNN copies in each call
    leaves = [inputs, *module.parameters()]
    if lengths is None:
        return _turn(lambda: module(inputs)[0], leaves, upstream, layer.direction)
    on_host, steps = lengths.cpu(), layer.shape.time

    def run_packed() -> Tensor:
        packed, _ = module(pack_padded_sequence(inputs, on_host, enforce_sorted=False))
        return pad_packed_sequence(packed, total_length=steps)[0]

    return _turn(run_packed, leaves, upstream, layer.direction)


def torch_layer(cell: str, layers: Sequence[dict[str, np.ndarray]]) -> torch.nn.RNNBase:
    """The layers of torch.nn for a cell of TORCH_LAYERS, with our weights of each layer."""
    gates = CELLS[cell].gates
    hidden_size = len(layers[0]["weight_hh"]) // gates
    made = TORCH_LAYERS[cell](layers[0]["weight_ih"].shape[1], hidden_size, num_layers=len(layers))
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    named = {f"{field}_l{depth}": one[field] for depth, one in enumerate(layers) for field in fields}
    made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    return made


def _turn(run: Callable[[], Tensor], leaves: Sequence[Tensor], upstream: Tensor, direction: str) -> Turn:
    """One run of a layer: its outputs, and in the direction `both` the gradient of each of `leaves`."""
    for leaf in leaves:
        leaf.requires_grad_(direction == "both")
    if direction == "both":
        return lambda: torch.autograd.grad(run(), leaves, upstream)
    return torch.no_grad()(run)


class Products(NamedTuple):
    """Blocks of H rows in a layer's weights of its input and of its hidden state; 0: the cell has no such product."""

    from_input: int
    from_hidden: int


def products_of(cell: Cell) -> Products:
    """The matrix products that one step of a cell needs."""
    return Products(cell.gates, 0 if cell.parallel else cell.gates)


def _product_turn(layer: _Layer) -> Turn:
    """The layer's matrix products and nothing else: all steps at once where a layer may, else step by step.

    Of sequences of different lengths, the rows that are real.
    """
    steps, batch, size = layer.shape
    lengths = layer.lengths()
    counts = [batch] * steps if lengths is None else [int((lengths > step).sum()) for step in range(steps)]
    ends = np.cumsum(counts).tolist()
    parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True) if count]
    whole = [slice(0, ends[-1])]
    blocks = products_of(layer.cell)
    empty = partial(torch.randn, dtype=DTYPES[layer.dtype], device=layer.plan.device)
    rooms = {wide: _Room.of(ends[-1], wide * size, size, empty) for wide in set(blocks) if wide}
    work = [(rooms[wide], rows) for wide, rows in zip(blocks, (whole, parts), strict=True) if wide]
    both = layer.direction == "both"

    def products() -> None:
        for room, rows in work:
            for part in rows:
                torch.mm(room.values[part], room.weight.t(), out=room.products[part])
        for room, rows in reversed(work) if both else ():
            for part in reversed(rows):
                torch.mm(room.grads[part], room.weight, out=room.backward[part])
            torch.mm(room.grads.t(), room.values, out=room.gradient)

    return products


class _Room(NamedTuple):
    """A weight, what it is multiplied with, and room for the results; weights of one width share it."""

    weight: Tensor  # [G*H, H]
    values: Tensor  # [N, H]
    products: Tensor  # [N, G*H]
    grads: Tensor  # [N, G*H]
    backward: Tensor  # [N, H]
    gradient: Tensor  # [G*H, H]

    @classmethod
    def of(cls, rows: int, width: int, size: int, empty: Callable[..., Tensor]) -> _Room:
        """Filled at random: a product of zeros, or of what memory held, might take another time."""
        sizes = ((width, size), (rows, size), (rows, width), (rows, width), (rows, size), (width, size))
        return cls(*(empty(*one) for one in sizes))
