"""Whether the GPU's kernels are right: every cell, option, way and type of operands against a loop in double precision.

Outputs, last states and all gradients are compared. Operands of 16 bits are held to a loop in double precision that
rounds where the kernels round (`tests/kernels/gpu/rounded.py`), to 1e-4 of the largest value; without that file they
are held to the plain loop, whose distance from them is mostly rounding, to 3e-2; so are those with layer normalisation
or a reset before the product, which that loop lacks. Cases are shared out to processes, as
nearly all their time is the compilation of kernels on the host. The price is that each process has a context on the
GPU, half a gigabyte each.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from gpu_cells import Row, first_line, is_lost
from torch import Tensor

from nlpseq.cells import CELLS, LayerWeights
from nlpseq.cells import unroll as plain
from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import parallel, recurrence
from nlpseq.kernels.gpu.signals import raise_if_stuck
from nlpseq.kernels.gpu.ways import WAYS

OPTIONS = ("plain", "normalised", "zoneout", "masks", "lengths", "all")
SHAPES = ((7, 3, 5, 20), (20, 37, 30, 150))  # T, B, I, H
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = 1e-4  # of the largest value
APPROXIMATE = 2e-3  # the same for the persistent way, whose tanh is the processor's own, with an error of 5e-4
UNROUNDED = {
    "fp32": 1e-4,
    "bf16": 3e-2,
    "fp16": 6e-3,
}  # where the reference does not round: operands carry 8 or 11 bits
ROUNDED = Path(__file__).parents[1] / "tests" / "kernels" / "gpu" / "rounded.py"
ROUNDED_CELLS = ("rnn", "rnn-relu", "rnn-sigmoid", "lstm", "gru")  # that it has, without layer normalisation


class Case(NamedTuple):
    """One layer by one way."""

    cell: str
    option: str
    shape: tuple[int, ...]
    reverse: bool
    way: str
    kind: str

    def __str__(self) -> str:
        direction = "backwards" if self.reverse else "forwards"
        return f"{self.cell} {self.option} {self.shape} {direction} {self.way} {self.kind}"


class Result(NamedTuple):
    """What became of a case: how far it is from the reference, or why there is no answer."""

    case: Case
    worst: float | None = None  # difference over the largest value
    refused: str = ""
    failed: str = ""


def cases(ways: Sequence[str]) -> list[Case]:
    """All that is checked, in an order drawn once, so that a short run is a sample of it; fp16 is last.

    Sizes and directions take turns.
    """
    made = []
    for kind in TYPES:
        for place, (cell, option) in enumerate(product(CELLS, OPTIONS)):
            for turn, way in enumerate(["scan"] if CELLS[cell].parallel else ways):
                shape = SHAPES[0] if way == "column" else SHAPES[(place + turn) % 2]
                made.append(Case(cell, option, shape, bool((place + turn // 2) % 2), way, kind))
    random.Random(1).shuffle(made)
    return sorted(made, key=lambda case: case.kind == "fp16")


@cache
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
        "state": cell.state(*(normal(batch, hidden) for _ in cell.state._fields)),
        "lengths": lengths if everything or option == "lengths" else None,
        "settings": settings,
    }


def results(unroll: Callable[..., Any], name: str, layer: dict[str, Any], dtype: torch.dtype) -> list[Tensor]:
    """Outputs, last state and all gradients, on the host; computed on the GPU in fp32, on the CPU in float64."""
    device = "cuda" if dtype == torch.float32 and torch.cuda.is_available() else "cpu"

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


@lru_cache(maxsize=1)
def rounded_module() -> ModuleType | None:
    """The loop that rounds as the kernels do, if it is there."""
    if not ROUNDED.exists():
        return None
    spec = importlib.util.spec_from_file_location("rounded", ROUNDED)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rounds(case: Case) -> bool:
    """Whether the reference of a case rounds."""
    plain_products = case.cell in ROUNDED_CELLS and case.option not in ("normalised", "all")
    return case.kind != "fp32" and plain_products and rounded_module() is not None


def tolerance(case: Case) -> float:
    """How far a result may be from its reference, of the largest value."""
    if not _rounds(case):
        return UNROUNDED[case.kind]
    return APPROXIMATE if case.way == "persistent" else TOLERANCE


@lru_cache(maxsize=256)
def expected_of(case: Case) -> list[Tensor]:
    loop: Callable[..., Any] = plain
    module = rounded_module() if case.kind != "fp32" else None
    if module is not None:
        loop = partial(module.rounded_unroll, operands=TYPES[case.kind], rounds_gates=case.way == "persistent")
    layer = draw_layer(case.cell, case.option, case.shape)
    return results(partial(loop, reverse=case.reverse), case.cell, layer, torch.float64)


def _reference(case: Case) -> Case:
    """The same for all cases that are held to the same reference."""
    if not _rounds(case):
        return case._replace(way="any", kind="fp32")
    return case if case.way == "persistent" else case._replace(way="any")


def difference(found: Sequence[Tensor], expected: Sequence[Tensor], rounded: float = 0.0, strict: int = 0) -> float:
    """The largest of all differences, each of the largest value of its tensor; infinite if a number is not finite.

    Tensors of two and more dimensions, after the first `strict`, may be off by `rounded`, which is then not counted.
    """
    worst = 0.0
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        far = float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))
        allowed = rounded if place >= strict and one.ndim > 1 else 0.0
        worst = max(worst, max(0.0, far - allowed) if far == far else float("inf"))
    return worst


def _last_rounding(case: Case) -> float:
    """The ways in Triton's language make gradients of weights, inputs and states in the operands' type: half a unit."""
    return torch.finfo(TYPES[case.kind]).eps / 2 if _rounds(case) and case.way != "persistent" else 0.0


def check(case: Case) -> Result:
    """Run one case. What is plain is run three times: a way may record its launches in the second and replay them."""
    layer = draw_layer(case.cell, case.option, case.shape)
    run = parallel.unroll if case.way == "scan" else partial(recurrence.unroll, way=case.way)
    unroll = partial(run, reverse=case.reverse, operands=TYPES[case.kind])
    worst = 0.0
    try:
        expected = expected_of(_reference(case))
        for _ in range(3 if case.option == "plain" else 1):
            found = results(unroll, case.cell, layer, torch.float32)
            worst = max(worst, difference(found, expected, _last_rounding(case), 1 + len(layer["state"])))
            raise_if_stuck(wait=True)
    except BackendError as error:
        stuck = "waited too long" in str(error)
        return Result(case, failed=first_line(error)) if stuck else Result(case, refused=first_line(error))
    except Exception as error:
        return Result(case, failed=first_line(error))
    return Result(case, worst)


def passes(result: Result) -> bool:
    """Whether a case is right; a relu of 16 bits may open by rounding alone, so it is not held to any number."""
    if result.case.cell == "rnn-relu" and result.case.kind != "fp32" and not result.failed:
        return True
    return not result.failed and (result.worst is None or result.worst <= tolerance(result.case))


def summarise(found: Sequence[Result], asked: int, took: float) -> Iterator[Row]:
    """A row for each way and type, then one for each case that is wrong, and how many were left out."""
    groups: dict[tuple[str, str, bool], list[Result]] = {}
    for result in found:
        groups.setdefault((result.case.way, result.case.kind, _rounds(result.case)), []).append(result)
    for (way, kind, rounds), results in sorted(groups.items()):
        held = [one.worst for one in results if one.worst is not None and one.case.cell != "rnn-relu"]
        yield {
            "table": "Kernels against a loop in double precision",
            "way": way,
            "operands": kind,
            "cases": len(results),
            "wrong": sum(not passes(one) for one in results),
            "refused": sum(bool(one.refused) for one in results),
            "worst difference": f"{max(held):.1e}" if held else None,
            "allowed": f"{tolerance(results[0].case):.0e}",
            "reference rounds": rounds,
        }
    for result in found:
        if not passes(result):
            what = result.failed or f"differs by {result.worst:.1e} of the largest value"
            yield {"failure": f"{result.case}: {what}"}
    refusals = Counter(result.refused for result in found if result.refused)
    yield from ({"note": f"refused {count} times: {reason}"} for reason, count in refusals.items())
    yield {"note": f"{len(found)} of {asked} cases in {took:.0f} s"}
    if len(found) < asked:
        yield {"left out": f"{asked - len(found)} of {asked} cases for want of time"}


def measure(deadline: float, processes: int) -> Iterator[Row]:
    """Check all cases until `deadline` of `time.monotonic`, in several processes."""
    started, wanted = time.monotonic(), cases(WAYS)
    found = list(shared_out(check, wanted, processes, deadline))
    yield from summarise(found, len(wanted), time.monotonic() - started)


def shared_out(job: Callable[[Any], Any], items: Sequence[Any], processes: int, deadline: float) -> Iterator[Any]:
    """What `job` makes of each item, in forked processes, until the deadline; a process that dies is let go.

    The caller must not have used the GPU, for a context does not survive a fork.
    """
    context = multiprocessing.get_context("fork")
    results, taken = context.SimpleQueue(), context.Value("i", 0)
    workers = [
        context.Process(target=_work, args=(job, items, taken, results, deadline), daemon=True)
        for _ in range(min(processes, len(items)))
    ]
    for worker in workers:
        worker.start()
    while True:
        alive = any(worker.is_alive() for worker in workers)
        while not results.empty():
            yield results.get()
        if not alive or time.monotonic() > deadline + 1:
            break
        time.sleep(0.02)
    for worker in workers:
        worker.kill()


def _work(job: Callable[[Any], Any], items: Sequence[Any], taken: Any, results: Any, deadline: float) -> None:
    torch.set_num_threads(1)
    while time.monotonic() < deadline:
        with taken.get_lock():
            place, taken.value = taken.value, taken.value + 1
        if place >= len(items):
            return
        found = job(items[place])
        results.put(found)
        if is_lost(str(getattr(found, "failed", found))):
            return
