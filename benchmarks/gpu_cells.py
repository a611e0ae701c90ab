"""Recurrent layers on a GPU beside cuDNN's: the tables of kernels in the record that `gpu_record.py` makes.

Both sides take turns, first as they are called and then replayed as CUDA graphs, so that one figure is what a caller
waits for and the other what the GPU does. cuDNN's weights are one flat buffer. Rates are a layer's products and the
fewest bytes it must move over its time in a graph, beside what the card reached in the same run on a large copy and a
large product. Rows come in order of interest, and what does not fit into the time is named. The price of that order is
that a short run says nothing about fp32.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells.initial import layer_values
from nlpseq.cells.unroll import zero_state
from nlpseq.errors import NlpseqError
from nlpseq.kernels.choice import Choice, choose
from nlpseq.kernels.gpu import recurrence, ways
from nlpseq.timing.clocks import Turn, device_seconds, median_seconds, recorded
from nlpseq.timing.layer_products import products_of
from nlpseq.timing.layer_turns import DTYPES, TORCH_LAYERS
from nlpseq.timing.layers import LayerTiming, measure_layers, run_once
from nlpseq.timing.plan import Plan
from nlpseq.timing.shapes import Shape

Row = dict[str, Any]

SIZES = "35x20x200 35x20x650 64x32x512 64x64x512 100x64x256 64x64x1024 128x128x1024 128x128x2048 128x256x512"
SHAPES = tuple(Shape(*map(int, sizes.split("x"))) for sizes in SIZES.split())
SOME_SHAPES = (Shape(35, 20, 650), Shape(64, 64, 512), Shape(128, 128, 1024))
OPTIONS = ("layer-normalisation", "zoneout", "weight-drop", "locked-dropout", "lengths")
REPEATS = 5
SIDE = 8192  # of the square matrices whose product is the arithmetic's ceiling
COPIED = 1 << 31  # bytes, of the copy that is the memory's


def ceilings(device: str = "cuda", side: int = SIDE, copied: int = COPIED) -> Row:
    """What the card reaches now: TFLOP/s of a bf16 product of random matrices, GB/s read and written by a copy."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randint(0, 256, (copied,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    (multiplied, moved), _, _ = timings([lambda: left @ right, lambda: target.copy_(source)], device, graphs=False)
    assert multiplied and moved
    return {
        "table": "Ceilings",
        f"bf16 product of {side}, TFLOP/s": round(2 * side**3 / multiplied / 1e9, 1),
        "copy, GB/s": round(2 * copied / moved / 1e6, 1),
    }


def timings(
    turns: Sequence[Turn], device: str = "cuda", *, graphs: bool = True, repeats: int = REPEATS
) -> tuple[list[float | None], list[float | None], list[str]]:
    """Milliseconds of each turn as it is called, of each as a CUDA graph, and why some have no figure.

    Elsewhere than on a GPU there are no graphs.
    """
    reasons: list[str] = []
    called = _each(turns, lambda turn: (turn(), turn)[1], reasons)
    replayed = _each(called, recorded, reasons) if graphs and device == "cuda" else [None] * len(turns)
    measure = device_seconds if device == "cuda" else median_seconds
    alone = partial(device_seconds, queued=True) if device == "cuda" else median_seconds
    return _measure(called, measure, repeats), _measure(replayed, alone, repeats), reasons


def _each(turns: Sequence[Turn | None], prepare: Callable[[Turn], Turn], reasons: list[str]) -> list[Turn | None]:
    """Each turn prepared, None if it cannot be."""
    made: list[Turn | None] = []
    for turn in turns:
        try:
            made.append(None if turn is None else prepare(turn))
        except (NlpseqError, RuntimeError) as error:
            made.append(None)
            reasons.append(first_line(error))
    return made


def _measure(
    turns: Sequence[Turn | None], measure: Callable[[Sequence[Turn], int], list[float]], repeats: int
) -> list[float | None]:
    found = iter(measure([turn for turn in turns if turn is not None], repeats))
    return [None if turn is None else 1000 * next(found) for turn in turns]


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


@contextmanager
def ways_taken() -> Iterator[list[str]]:
    """Inside, each way that is chosen for a recurrence is added to the list, once."""
    taken: list[str] = []
    chosen = ways.chosen

    def look(*request: Any) -> str:
        way = chosen(*request)
        taken.extend([way] * (way not in taken))
        return way

    def look_at_both(*request: Any) -> bool:
        at_once: bool = both(*request)
        taken.extend(["both at once"] * (at_once and "both at once" not in taken))
        return at_once

    both = ways.both_at_once
    ways.chosen, ways.both_at_once = look, look_at_both
    try:
        yield taken
    finally:
        ways.chosen, ways.both_at_once = chosen, both


def work(cell: str, shape: Shape, direction: str, dtype: str) -> tuple[float, float]:
    """Floating-point operations of a layer's products, and the fewest bytes that it reads and writes.

    Forward these are inputs, weights and outputs. Backward they are inputs, outputs, weights, the gradients of all
    three, and those of the inputs' own.
    """
    steps, batch, size = shape
    blocks = sum(products_of(CELLS[cell]))
    values, weights = steps * batch * size, blocks * size * size
    element = torch.finfo(DTYPES[dtype]).bits // 8
    passes = 3 if direction == "both" else 1
    moved = 2 * values + weights if direction == "forward" else 6 * values + 3 * weights
    return passes * 2.0 * steps * batch * weights, float(element * moved)


def layer_row(timing: LayerTiming, taken: Sequence[str]) -> Row:
    """A row of the table of layers."""
    operations, moved = work(timing.cell, timing.shape, timing.direction, timing.dtype)
    best = timing.graph_of("ours_ms") or timing.ours_ms
    return {
        "table": "Layers, milliseconds",
        "cell": timing.cell,
        "type": timing.dtype,
        "direction": timing.direction,
        "T x B x H": shape_text(timing.shape),
        "way": " ".join(taken) or "scan",
        **contenders(timing.ours_ms, timing.torch_ms, timing.graph_of("ours_ms"), timing.graph_of("torch_ms")),
        "ours TFLOP/s": round(operations / best / 1e9, 1),
        "ours GB/s": round(moved / best / 1e6, 1),
    }


def contenders(ours: float | None, theirs: float | None, our_graph: float | None, their_graph: float | None) -> Row:
    """Milliseconds of both sides, called and as graphs, and how many times faster ours is."""
    return {
        "ours called": rounded(ours),
        "cuDNN called": rounded(theirs),
        "cuDNN / ours called": ratio(theirs, ours),
        "ours graph": rounded(our_graph),
        "cuDNN graph": rounded(their_graph),
        "cuDNN / ours graph": ratio(their_graph, our_graph),
    }


def rounded(value: float | None) -> float | None:
    """A figure of four digits."""
    return None if value is None else float(f"{value:.4g}")


def ratio(above: float | None, below: float | None) -> float | None:
    """Their quotient, None where either is missing."""
    return None if above is None or below is None else round(above / below, 2)


def shape_text(shape: Sequence[int]) -> str:
    """`35x20x650`."""
    return "x".join(map(str, shape))


def measure_layer(
    cell: str, shape: Shape, dtype: str, direction: str, option: str = "none"
) -> tuple[LayerTiming, list[str]]:
    """One layer of `nlpseq bench cells --device cuda`, and the ways that ours took."""
    work: dict[str, Any] = {"cells": [cell], "shapes": [shape], "dtypes": [dtype], "options": [option]}
    plan = Plan(direction=direction, repeats=REPEATS, device="cuda", **work)
    with ways_taken() as taken:
        (timing,) = measure_layers(plan)
    return timing, taken


def option_row(timing: LayerTiming, taken: Sequence[str]) -> Row:
    """A row of the table of options: times in graphs, or as called for what has no graph."""
    graph = None not in (timing.graph_of("ours_ms"), timing.graph_of("plain_ms"))
    ours, plain = (timing.graph_of(name) if graph else getattr(timing, name) for name in ("ours_ms", "plain_ms"))
    return {
        "table": "Options, milliseconds forward and backward",
        "cell": timing.cell,
        "type": timing.dtype,
        "option": timing.option,
        "T x B x H": shape_text(timing.shape),
        "way": " ".join(taken) or "scan",
        "timed as": "graph" if graph else "called",
        "with": rounded(ours),
        "without": rounded(plain),
        "with / without": ratio(ours, plain),
        "cuDNN packed, called": rounded(timing.torch_ms),
        "ours called": rounded(timing.ours_ms),
    }


def direction_turns(cell: str, shape: Shape, choice: Choice, dtype: str, device: str = "cuda") -> dict[str, Turn]:
    """A layer forwards, backwards in time and in both directions, and torch.nn's in both: all with gradients."""
    generator, size = np.random.default_rng(1), shape.hidden_size
    values = [layer_values(CELLS[cell], size, size, generator, initial="normal") for _ in range(2)]
    weights = [
        LayerWeights(**{name: torch.from_numpy(value).to(device).requires_grad_() for name, value in one.items()})
        for one in values
    ]
    inputs = torch.randn(*shape, device=device, requires_grad=True)
    state = zero_state(CELLS[cell], shape.batch, size, inputs.detach())
    upstream = torch.randn(*shape[:2], 2 * size, device=device)

    def together() -> object:
        outputs, _ = choice.run_layer.run_directions(  # type: ignore[attr-defined]
            CELLS[cell], weights, inputs, [state, state], None, masks=[None, None]
        )
        leaves = [inputs, *(value for one in weights for value in one if value is not None)]
        return torch.autograd.grad(outputs, leaves, upstream)

    def run(*directions: int) -> Turn:
        leaves = [inputs, *(value for one in directions for value in weights[one] if value is not None)]

        def turn() -> object:
            parts = [
                choice.run_layer(CELLS[cell], weights[one], inputs, state, None, reverse=bool(one))[0]
                for one in directions
            ]
            outputs = torch.cat(parts, -1)
            return torch.autograd.grad(outputs, leaves, upstream[..., : outputs.shape[-1]])

        return turn

    theirs = _both_ways(cell, values).to(device, DTYPES[dtype])
    theirs.flatten_parameters()
    low, low_upstream = inputs.detach().to(DTYPES[dtype]).requires_grad_(), upstream.to(DTYPES[dtype])
    leaves = [low, *theirs.parameters()]
    return {
        "forwards": run(0),
        "backwards": run(1),
        "both": together if hasattr(choice.run_layer, "run_directions") else run(0, 1),
        "torch.nn both": lambda: torch.autograd.grad(theirs(low)[0], leaves, low_upstream),
    }


def _both_ways(cell: str, values: Sequence[Mapping[str, np.ndarray]]) -> torch.nn.RNNBase:
    """torch.nn's layer in both directions, with weights of ours."""
    size = values[0]["weight_hh"].shape[1]
    made = TORCH_LAYERS[cell](size, size, bidirectional=True)
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    named = {f"{name}_l0{end}": one[name] for one, end in zip(values, ("", "_reverse"), strict=True) for name in fields}
    made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    return made


def direction_row(cell: str, shape: Shape, dtype: str = "bf16") -> Row:
    """A row of the table of directions."""
    turns = direction_turns(cell, shape, choose("auto", dtype, "cuda"), dtype)
    called, graphs, reasons = timings([*turns.values()])
    forwards, backwards, both, theirs = graphs
    return {
        "table": "Directions, milliseconds forward and backward in graphs",
        "cell": cell,
        "type": dtype,
        "T x B x H": shape_text(shape),
        "forwards": rounded(forwards),
        "backwards": rounded(backwards),
        "both": rounded(both),
        "cuDNN both": rounded(theirs),
        "cuDNN / ours": ratio(theirs, both),
        "both called": rounded(called[2]),
        "cuDNN both called": rounded(called[3]),
        **({"why not": "; ".join(reasons)} if reasons else {}),
    }


def way_row(cell: str, shape: Shape, dtype: str) -> Row:
    """A row of the table of ways: each of ours that can run the layer, in a graph, forward and backward."""
    size = shape.hidden_size
    values = layer_values(CELLS[cell], size, size, np.random.default_rng(1), initial="normal")
    weights = LayerWeights(**{name: torch.from_numpy(value).cuda().requires_grad_() for name, value in values.items()})
    inputs = torch.randn(*shape, device="cuda", requires_grad=True)
    state = zero_state(CELLS[cell], shape.batch, size, inputs.detach())
    leaves, upstream = [inputs, *(one for one in weights if one is not None)], torch.randn(*shape, device="cuda")

    def turn(way: str) -> Turn:
        def run() -> object:
            found, _ = recurrence.unroll(CELLS[cell], weights, inputs, state, operands=DTYPES[dtype], way=way)
            return torch.autograd.grad(found, leaves, upstream)

        return run

    _, graphs, _ = timings([turn(way) for way in ways.WAYS], repeats=3)
    named = {way: rounded(value) for way, value in zip(ways.WAYS, graphs, strict=True)}
    head = {"table": "Ways of ours, milliseconds forward and backward in graphs", "cell": cell, "type": dtype}
    return {**head, "T x B x H": shape_text(shape), **named}


def _jobs() -> Iterator[tuple[str, Callable[[], Row]]]:
    """What is measured, in order of interest: its name, and what makes its row."""

    def layer(cell: str, shape: Shape, dtype: str, direction: str) -> tuple[str, Callable[[], Row]]:
        name = f"{cell} {dtype} {direction} {shape_text(shape)}"
        return name, lambda: layer_row(*measure_layer(cell, shape, dtype, direction))

    yield "ceilings", ceilings
    for direction, shape, cell in product(("both", "forward"), SHAPES, ("lstm", "gru")):
        yield layer(cell, shape, "bf16", direction)
    for shape, cell, option in product(SOME_SHAPES, ("lstm", "gru"), OPTIONS):
        yield (
            f"{cell} {option} {shape_text(shape)}",
            lambda one=(cell, shape, "bf16", "both", option): option_row(*measure_layer(*one)),
        )
    for shape, cell in product(SOME_SHAPES, ("lstm", "gru")):
        yield f"{cell} directions {shape_text(shape)}", lambda one=(cell, shape): direction_row(*one)
    for shape, cell in product(SHAPES, ("rnn", "rnn-relu")):
        yield layer(cell, shape, "bf16", "both")
    for shape, cell in product(SHAPES, ("mingru", "gru-reset-before")):
        yield layer(cell, shape, "bf16", "both")
    for shape, cell in product(SHAPES, ("lstm", "gru", "rnn")):
        yield layer(cell, shape, "fp32", "both")
    for shape, cell in product(SHAPES, ("lstm", "gru", "rnn")):
        yield f"{cell} ways {shape_text(shape)}", lambda one=(cell, shape, "bf16"): way_row(*one)


def measure(deadline: float) -> Iterator[Row]:
    """The ceilings, then all tables, until `deadline` of `time.monotonic`; what fails or is left out is a row too."""
    warnings.simplefilter("ignore")
    wake()
    yield from until(deadline, _jobs())


def wake(seconds: float = 0.5) -> None:
    """Keep the GPU busy until its clock has risen."""
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        matrix @ matrix
        torch.cuda.synchronize()


def is_lost(text: str) -> bool:
    """Whether nothing more can be run in a process after such an error."""
    return "CUDA error" in text or "Triton Error [CUDA]" in text


def until(deadline: float, jobs: Iterator[tuple[str, Callable[[], Row]]]) -> Iterator[Row]:
    """The rows that jobs make, as long as there is time; the others are named in one row."""
    left: list[str] = []
    for name, make in jobs:
        if time.monotonic() > deadline:
            left.append(name)
            continue
        try:
            yield make()
        except Exception as error:
            yield {"failure": f"{name}: {first_line(error)}"}
            if is_lost(str(error)):
                deadline = 0.0
    if left:
        yield {"left out": f"{len(left)} rows for want of time: {'; '.join(left)}"}


def warm_jobs() -> list[tuple[str, Shape, str, str]]:
    """Cell, shape of few steps, type and option of every layer above, so that its kernels can be compiled before."""
    made = [(cell, shape, "bf16", "none") for shape, cell in product(SHAPES, ("lstm", "gru"))]
    made += [(cell, shape, "bf16", option) for shape, cell, option in product(SOME_SHAPES, ("lstm", "gru"), OPTIONS)]
    made += [(cell, shape, "bf16", "none") for shape, cell in product(SHAPES, ("rnn", "rnn-relu", "gru-reset-before"))]
    made += [(cell, shape, "fp32", "none") for shape, cell in product(SHAPES, ("lstm", "gru", "rnn"))]
    return [(cell, _few_steps(shape), dtype, option) for cell, shape, dtype, option in made]


def _few_steps(shape: Shape) -> Shape:
    """Kernels are compiled for whether a number is divisible by 16, not for the number."""
    return shape._replace(time=5 if shape.time % 16 else 16)


def warm_directions(cell: str, shape: Shape) -> None:
    """Compile a layer's kernels backwards in time, and in both directions at once."""
    turns = direction_turns(cell, _few_steps(shape), choose("auto", "bf16", "cuda"), "bf16")
    for name in ("backwards", "both"):
        turns[name]()
    torch.cuda.synchronize()


def warm(cell: str, shape: Shape, dtype: str, option: str) -> None:
    """Compile a layer's kernels by running it once, forward alone and with gradients."""
    run_once(
        Plan(cells=[cell], shapes=[shape], dtypes=[dtype], direction="each", options=[option], device="cuda"),
    )
    torch.cuda.synchronize()
