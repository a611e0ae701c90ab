"""Whether the GPU's kernels are right: every cell, option, way and type of operands against a loop in double precision.

Outputs, last states and all gradients are compared, each tensor by itself. In fp32 no value may be off by 1e-4 of the
largest. Operands of 16 bits are held to a loop that rounds where the kernels round (`tests/kernels/gpu/rounded.py`), by
the norm of the difference over the norm of the tensor: 1e-2 in bf16, 5e-3 in fp16, and 5e-2 with layer normalisation or
a relu. The largest difference says nothing there: a value halfway between two numbers of 16 bits may be rounded to the
other one, which changes its sequence in every later step. Only parallel cells, whose input's product alone is rounded,
are held to the plain loop in every type. The price of a norm is that a fault in very few numbers is not seen:
`2026-11-28-on-an-h100.md` says what was tried.

Cases are shared out to processes, as nearly all their time is the compilation of kernels on the host. The price is that
each process has a context on the GPU, half a gigabyte each.
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
LARGEST = 1e-4  # in fp32: the largest difference over the largest value
NORM = {"bf16": 1e-2, "fp16": 5e-3}  # the norm of the difference over that of the tensor
GROWS = 5e-2  # the same with layer normalisation or a relu, where one value that is rounded otherwise moves many far
ROUNDED = Path(__file__).parents[1] / "tests" / "kernels" / "gpu" / "rounded.py"


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


@cache
def rounded_module() -> ModuleType:
    """The loop that rounds as the kernels do."""
    spec = importlib.util.spec_from_file_location("rounded", ROUNDED)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tolerance(case: Case) -> float:
    """How far a result may be from its reference."""
    if case.kind == "fp32":
        return LARGEST
    grows = case.option in ("normalised", "all") or case.cell == "rnn-relu"
    return GROWS if grows else NORM[case.kind]


def expected_of(case: Case) -> list[Tensor]:
    """What a case is held to; it is made once for all cases that are held to the same."""
    if CELLS[case.cell].parallel:
        return _expected(case._replace(way="any", kind="fp32"))
    return _expected(case if case.way == "persistent" else case._replace(way="any"))


@lru_cache(maxsize=256)
def _expected(case: Case) -> list[Tensor]:
    loop: Callable[..., Any] = plain
    if case.kind != "fp32":
        rounds = {"operands": TYPES[case.kind], "rounds_gates": case.way == "persistent"}
        loop = partial(rounded_module().rounded_unroll, **rounds)
    layer = draw_layer(case.cell, case.option, case.shape)
    return results(partial(loop, reverse=case.reverse), case.cell, layer, torch.float64)


def difference(found: Sequence[Tensor], expected: Sequence[Tensor], kind: str) -> float:
    """How far the worst tensor is off, as its type is held; infinite if a number is not finite."""
    order = float("inf") if kind == "fp32" else 2
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        size = torch.linalg.vector_norm(other, order).clamp(min=1e-6)
        far = float(torch.linalg.vector_norm(one - other, order) / size)
        worst = max(worst, far if far == far else float("inf"))
    return worst


def check(case: Case) -> Result:
    """Run one case. What is plain is run three times: a way may record its launches in the second and replay them."""
    layer = draw_layer(case.cell, case.option, case.shape)
    run = parallel.unroll if case.way == "scan" else partial(recurrence.unroll, way=case.way)
    unroll = partial(run, reverse=case.reverse, operands=TYPES[case.kind])
    worst = 0.0
    try:
        for _ in range(3 if case.option == "plain" else 1):
            found = results(unroll, case.cell, layer, torch.float32)  # first: the reference lacks what a way refuses
            worst = max(worst, difference(found, expected_of(case), case.kind))
            raise_if_stuck(wait=True)
    except BackendError as error:
        stuck = "waited too long" in str(error)
        return Result(case, failed=first_line(error)) if stuck else Result(case, refused=first_line(error))
    except Exception as error:
        return Result(case, failed=first_line(error))
    return Result(case, worst)


def passes(result: Result) -> bool:
    """Whether a case is right, or refused."""
    return not result.failed and (result.worst is None or result.worst <= tolerance(result.case))


def summarise(found: Sequence[Result], asked: int, took: float) -> Iterator[Row]:
    """A row for each way, type and tolerance, then one for each case that is wrong, and how many were left out."""
    groups: dict[tuple[str, str, float], list[Result]] = {}
    for result in found:
        groups.setdefault((result.case.way, result.case.kind, tolerance(result.case)), []).append(result)
    for (way, kind, allowed), results in sorted(groups.items()):
        held = [one.worst for one in results if one.worst is not None]
        yield {
            "table": "Kernels against a loop in double precision",
            "way": way,
            "operands": kind,
            "cases": len(results),
            "wrong": sum(not passes(one) for one in results),
            "refused": sum(bool(one.refused) for one in results),
            "worst": f"{max(held):.1e}" if held else None,
            "allowed": f"{allowed:.0e}",
            "of the": _held_by(kind),
        }
    for result in found:
        if not passes(result):
            what = result.failed or f"differs by {result.worst:.1e} of the {_held_by(result.case.kind)}"
            yield {"failure": f"{result.case}: {what}"}
    refusals = Counter(result.refused for result in found if result.refused)
    yield from ({"note": f"refused {count} times: {reason}"} for reason, count in refusals.items())
    yield {"note": f"{len(found)} of {asked} cases in {took:.0f} s"}
    if len(found) < asked:
        yield {"left out": f"{asked - len(found)} of {asked} cases for want of time"}


def _held_by(kind: str) -> str:
    return "largest value" if kind == "fp32" else "norm"


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
