"""Recurrent layers on a GPU: first whether they are right, then how long they take beside torch.nn's, which is cuDNN.

Every cell, option, way and type of operands is held against the plain loop in double precision; a wrong one is listed,
the exit status is 1, and nothing is timed. Then a layer forwards and backwards, ours and cuDNN's in turn, each time the
median of its rounds: a table on standard output, and the same as JSON at its end. Without a GPU it says so and ends
with status 1.

    python benchmarks/gpu_cells.py [--rounds 30] [--only-check]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells import unroll as plain
from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import parallel as gpu_parallel
from nlpseq.kernels.gpu import recurrence as gpu_recurrence

SHAPES = [(35, 20, 200), (35, 20, 650), (64, 32, 512), (100, 64, 256), (64, 64, 1024)]  # T, B, H
CHECKED = [(7, 3, 5, 20), (1, 1, 4, 33), (20, 37, 30, 150)]  # T, B, I, H
OPTIONS = ("plain", "normalised", "zoneout", "masks", "lengths", "all")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCES = {"fp32": 2e-5, "bf16": 3e-2, "fp16": 6e-3}  # of the largest value; rounded operands carry 8 or 11 bits
TORCH_LAYERS = {
    "rnn": torch.nn.RNN,
    "rnn-relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


def draw_layer(name: str, option: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Weights, inputs, state, lengths and settings of a layer, in double precision."""
    steps, batch, size, hidden = shape
    cell = CELLS[name]
    width = cell.gates * hidden
    generator = torch.Generator().manual_seed(7)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64) * max(hidden, 8) ** -0.5

    everything = option == "all"
    gains = [1 + normal(width), 1 + normal(width)] if everything or option == "normalised" else [None, None]
    weights = LayerWeights(normal(width, size), normal(width, hidden), normal(width), normal(width), *gains)
    if cell.parallel:
        weights = weights._replace(weight_hh=None, bias_hh=None, gain_hh=None)
    masks = (torch.rand(steps, batch, hidden, generator=generator) < 0.3).double()
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    settings: dict[str, Any] = {"zoneout": 0.3} if everything or option in ("zoneout", "masks") else {}
    if everything or option == "masks":
        settings["masks"] = masks
    return {
        "weights": weights,
        "inputs": 3 * normal(steps, batch, size),
        "state": cell.state(*(normal(batch, hidden) for _ in cell.state._fields)),  # type: ignore[attr-defined]
        "lengths": lengths if everything or option == "lengths" else None,
        "settings": settings,
    }


def results(unroll: Callable[..., Any], name: str, layer: dict[str, Any], dtype: torch.dtype) -> list[Tensor]:
    """Outputs, last state and all gradients, on the host."""
    device = "cuda" if dtype == torch.float32 else "cpu"

    def leaf(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.to(device, dtype).requires_grad_()

    weights = LayerWeights(*map(leaf, layer["weights"]))
    inputs, state = leaf(layer["inputs"]), type(layer["state"])(*map(leaf, layer["state"]))
    assert inputs is not None
    lengths = None if layer["lengths"] is None else layer["lengths"].to(device)
    settings = {key: value.to(device, dtype) if key == "masks" else value for key, value in layer["settings"].items()}
    outputs, last = unroll(CELLS[name], weights, inputs, state, lengths, **settings)
    ramp = torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64).view(outputs.shape).to(device, dtype)
    total = (outputs * ramp).sum() + sum(value.sum() for value in last)
    leaves = [value for value in (*weights, inputs, *state) if value is not None]
    return [value.detach().double().cpu() for value in (outputs, *last, *torch.autograd.grad(total, leaves))]


def ways_of(name: str, option: str, shape: tuple[int, ...]) -> list[str]:
    """The ways that a layer can take."""
    from nlpseq.kernels.gpu.launch import WAYS

    if CELLS[name].parallel:
        return ["scan"]
    whole_rows = name == "gru-reset-before" or option in ("normalised", "all")
    return [
        way
        for way in WAYS
        if way not in (("grid", "steps") if whole_rows else ()) and (way != "column" or shape[3] <= 64)
    ]


def failures() -> Iterator[str]:
    """A line for each layer that differs from the plain loop, or raises."""
    from nlpseq.kernels.gpu.launch import raise_if_stuck

    cases = [(n, o, s, r) for n in CELLS for o in OPTIONS for s in CHECKED for r in (False, True)]
    for name, option, shape, reverse in cases:
        layer = draw_layer(name, option, shape)
        expected = results(partial(plain, reverse=reverse), name, layer, torch.float64)
        for way in ways_of(name, option, shape):
            for kind, operands in TYPES.items():
                run = partial(gpu_recurrence.unroll, way=way) if way != "scan" else gpu_parallel.unroll
                unroll = partial(run, reverse=reverse, operands=operands)
                where = f"{name} {option} {shape} {'backwards' if reverse else 'forwards'} {way} {kind}"
                for turn in range(3 if option == "plain" else 1):  # the second is recorded, the third replayed
                    try:
                        found = results(unroll, name, layer, torch.float32)
                        raise_if_stuck(wait=True)
                    except (BackendError, RuntimeError) as error:
                        yield f"{where}: {error}"
                        break
                    worst = max(
                        float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))
                        for one, other in zip(found, expected, strict=True)
                    )
                    if not worst <= TOLERANCES[kind] and not (name == "rnn-relu" and kind != "fp32"):
                        yield f"{where}, run {turn + 1}: differs by {worst:.1e} of the largest value"


def milliseconds(bodies: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median time of each body, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in bodies}
    for turn in range(rounds + 5):
        for name, body in bodies.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            body()
            end.record()
            end.synchronize()
            if turn >= 5:
                times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def bodies(name: str, shape: tuple[int, int, int], kind: str) -> dict[str, Callable[[], object]]:
    """A layer forwards and backwards, by each of our ways and by cuDNN, with the same weights."""
    steps, batch, hidden = shape
    theirs = TORCH_LAYERS[name](hidden, hidden).cuda().to(TYPES[kind])
    inputs = torch.randn(steps, batch, hidden, device="cuda", requires_grad=True)
    weights = LayerWeights(*(value.detach().float().requires_grad_() for value in theirs.parameters()))
    cell = CELLS[name]
    state = cell.state(*(inputs.new_zeros(batch, hidden) for _ in cell.state._fields))  # type: ignore[attr-defined]
    grad = torch.randn(steps, batch, hidden, device="cuda")
    rounded, rounded_grad = inputs.detach().to(TYPES[kind]).requires_grad_(), grad.to(TYPES[kind])

    def cudnn() -> object:
        return torch.autograd.grad(theirs(rounded)[0], [rounded, *theirs.parameters()], rounded_grad)

    def ours(way: str | None) -> object:
        outputs, _ = gpu_recurrence.unroll(cell, weights, inputs, state, operands=TYPES[kind], way=way)
        return torch.autograd.grad(outputs, [inputs, *(value for value in weights if value is not None)], grad)

    return {"cudnn": cudnn, **{str(way or "chosen"): partial(ours, way) for way in (None, "grid", "steps", "rows")}}


def timings(rounds: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of each layer; a way that cannot run is left out, with the reason."""
    for name in TORCH_LAYERS:
        for shape in SHAPES:
            for kind in ("fp32", "bf16"):
                runnable, refused = {}, {}
                for way, body in bodies(name, shape, kind).items():
                    try:
                        body()
                        torch.cuda.synchronize()
                        runnable[way] = body
                    except (BackendError, RuntimeError) as error:
                        refused[way] = str(error).splitlines()[0]
                yield {"cell": name, "shape": shape, "type": kind, "ms": milliseconds(runnable, rounds), **refused}


def main() -> int:
    """Check, then time; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only-check", action="store_true")
    arguments = parser.parse_args()
    reason = gpu_recurrence.unavailable()
    if reason:
        print(f"nothing was checked and nothing was timed: {reason}", file=sys.stderr)
        return 1
    wrong = 0
    for line in failures():
        wrong += 1
        print(line, flush=True)
    print(f"{wrong} layers are wrong" if wrong else "every layer agrees with the plain loop in double precision")
    if wrong or arguments.only_check:
        return int(wrong > 0)
    rows = []
    for row in timings(arguments.rounds):
        rows.append(row)
        shown = "  ".join(f"{way} {value:.3f}" for way, value in row["ms"].items())
        print(f"{row['cell']:9} {row['shape']!s:14} {row['type']}  ms forward+backward: {shown}", flush=True)
    device = torch.cuda.get_device_name()
    tf32 = {"cudnn": torch.backends.cudnn.allow_tf32, "ours": torch.get_float32_matmul_precision()}
    print(json.dumps({"device": device, "torch": torch.__version__, "fp32 products": tf32, "layers": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
