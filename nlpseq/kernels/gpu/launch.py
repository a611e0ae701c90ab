"""Which of Triton's kernels runs a recurrence, and its launch.

Four ways, by size. Where the weights and the state of some sequences fit one multiprocessor (`column`), nothing is
faster than to keep them there: no step waits for anything but itself. Where they do not, but the device's
multiprocessors together can share the units (`grid`), one launch runs all steps and one wait a step joins them. Where a
step is so large that starting a kernel is little beside it, or there are too few multiprocessors (`steps`), each step
is a launch. And where a step has to see whole rows, for layer normalisation or a reset before the product (`rows`), it
is several.

The bounds between the ways follow from the memory of a multiprocessor and from what compiles without spilling
registers. Which way is faster near them was not measured on any GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nlpseq.errors import BackendError
from nlpseq.kernels.gpu import graph
from nlpseq.kernels.gpu.arguments import Given, Room, Sent, Settings, Sizes
from nlpseq.kernels.gpu.column import column_backward, column_forward
from nlpseq.kernels.gpu.pointwise import POINTWISE
from nlpseq.kernels.gpu.rows import product, rows_backward, rows_forward, rows_reset, rows_reset_backward
from nlpseq.kernels.gpu.steps import steps_backward, steps_forward

WAYS = ("column", "grid", "steps", "rows")

WEIGHT_BYTES = 128 * 1024  # in a multiprocessor: of the 163 KB that any GPU since 8.0 lets a program have
MOST_WAITING = 96  # programs that wait for each other: no GPU made for data centres since 8.0 has fewer multiprocessors


def choose_way(settings: Settings, size: int, batch: int, element: int, processors: int) -> str:
    """The way for H = `size` and B = `batch`, operands of `element` bytes and so many multiprocessors."""
    whole = _power_of_two(size)
    parts = 1
    if settings.precision == "tf32x3" and element == 4:  # fp32 is held as two parts of less precision
        parts = 4 if settings.normalised else 2  # and normalising backwards needs as many registers again
    if settings.gates * whole * whole * element * parts <= WEIGHT_BYTES:
        return "column"
    if settings.resets or settings.normalised:
        return "rows"
    waiting = _ceiling(size, 16) * _ceiling(batch, 16)
    return "grid" if whole <= 512 and waiting <= min(MOST_WAITING, processors) else "steps"


def _power_of_two(number: int) -> int:
    """The smallest power of two that is no smaller, and a side of a product's tile: 16 at least."""
    return max(16, 1 << (number - 1).bit_length())


def _ceiling(number: int, part: int) -> int:
    return -(-number // part)


@dataclass(frozen=True)
class Plan:
    """How one way is launched: its settings, how many programs, and how each of them is made."""

    settings: Settings
    programs: tuple[int, ...]
    options: dict[str, Any]


def plan(way: str, settings: Settings, size: int, batch: int, element: int, *, backward: bool = False) -> Plan:
    """The tiles of a way for operands of `element` bytes: of those that compile without spilling, the largest tried."""
    whole = _power_of_two(size)
    if way == "column":
        tiles = replace(settings, held=True, rows=16, units=whole)
        warps = 16 if backward and settings.normalised and settings.gates * whole >= 512 else 8
        return Plan(
            tiles, (_ceiling(batch, 16),), {"num_warps": warps, "num_stages": 1, "maxnreg": min(255, 2048 // warps)}
        )
    if way == "rows":
        return Plan(replace(settings, rows=1, units=whole), (batch,), {"num_warps": 4, "maxnreg": 255})
    half = element == 2
    if way == "grid":
        held = half and settings.gates * whole <= 1024
        tiles = replace(settings, held=held, barrier=True, rows=16, units=16, depth=whole if held else 16)
        options = {"num_warps": 8 if held else 4, "num_stages": 1, "maxnreg": 255, "launch_cooperative_grid": True}
    else:
        tiles = replace(settings, rows=16, units=min(whole, 32), depth=min(whole, 32 if half else 16))
        options = {"num_warps": 8, "num_stages": 2, "maxnreg": 255}
    return Plan(tiles, (_ceiling(size, tiles.units), _ceiling(batch, tiles.rows)), options)


def launch(kernel: Any, made: Plan, *arguments: Any) -> None:
    """Run one kernel."""
    kernel[made.programs](*arguments, enable_fp_fusion=True, **made.options)


def forward(cell: str, way: str, given: Given, room: Room, sizes: Sizes, settings: Settings) -> None:
    """Run `cell` over time by one of the ways: fills `room`. Raises BackendError if a launch before this failed."""
    made = plan(way, settings, sizes.size, sizes.batch, given.weight.element_size())
    function = POINTWISE[cell].forward
    raise_if_stuck()

    def every_step() -> None:
        for begin in range(sizes.steps):
            launch(steps_forward, made, given, room, sizes, begin, None, function, made.settings)

    if way == "column":
        launch(column_forward, made, given, room, sizes, function, made.settings)
    elif way == "grid":
        signal = _signal(made, given)
        launch(steps_forward, made, given, room, sizes, 0, signal, function, made.settings)
        _watch(signal)
    else:
        body = every_step if way == "steps" else partial(_forward_by_rows, function, made, given, room, sizes)
        graph.run(body, (*given, *room), "forward", way, cell, sizes, settings)


def backward(cell: str, way: str, given: Given, room: Room, sent: Sent, sizes: Sizes, settings: Settings) -> None:
    """Run `cell` over time backwards: fills `sent`. Raises BackendError if a launch before this failed."""
    made = plan(way, settings, sizes.size, sizes.batch, given.weight.element_size(), backward=True)
    function = POINTWISE[cell].backward
    raise_if_stuck()

    def every_step() -> None:
        for begin in range(sizes.steps):
            launch(steps_backward, made, given, room, sent, sizes, begin, None, function, made.settings)

    if way == "column":
        launch(column_backward, made, given, room, sent, sizes, function, made.settings)
    elif way == "grid":
        signal = _signal(made, given)
        launch(steps_backward, made, given, room, sent, sizes, 0, signal, function, made.settings)
        _watch(signal)
    else:
        body = every_step if way == "steps" else partial(_backward_by_rows, function, made, given, room, sent, sizes)
        graph.run(body, (*given, *room, *sent), "backward", way, cell, sizes, settings)
    if way in ("grid", "steps"):
        _through_first_product(given, sent, sizes, settings)


def _forward_by_rows(function: Any, made: Plan, given: Given, room: Room, sizes: Sizes) -> None:
    batch, size = sizes.batch, sizes.size
    products = given.bias.new_empty(batch, given.weight.shape[0])
    held = torch.zeros_like(room.last_hidden) if made.settings.resets else None
    head = given.weight.shape[0] - (size if made.settings.resets else 0)
    for begin in range(sizes.steps):
        _multiply(room.last_hidden, given.weight[:head].t(), products[:, :head], made.settings)
        if held is not None:
            launch(rows_reset, made, given, room, sizes, begin, products, held, made.settings)
            _multiply(held, given.weight[head:].t(), products[:, head:], made.settings)
        launch(rows_forward, made, given, room, sizes, begin, products, function, made.settings)


def _backward_by_rows(function: Any, made: Plan, given: Given, room: Room, sent: Sent, sizes: Sizes) -> None:
    batch, size = sizes.batch, sizes.size
    grads = given.bias.new_empty(batch, given.weight.shape[0])
    held = torch.zeros_like(sent.hidden) if made.settings.resets else None
    head = given.weight.shape[0] - (size if made.settings.resets else 0)
    for begin in range(sizes.steps):
        launch(rows_backward, made, given, room, sent, sizes, begin, grads, function, made.settings)
        if held is not None:
            _multiply(grads[:, head:], given.weight[head:], held, made.settings)
            launch(rows_reset_backward, made, given, room, sent, sizes, begin, held, grads, made.settings)
        _multiply(grads[:, :head], given.weight[:head], sent.hidden, made.settings, add=True)


def _multiply(left: Tensor, right: Tensor, out: Tensor, settings: Settings, *, add: bool = False) -> None:
    """out [n, m] = left [n, k] @ right [k, m], or adds it: with right's type as that of the operands, and fp32 sums."""
    count, depth, width = *left.shape, right.shape[1]
    tiles = replace(settings, rows=16, units=32, depth=64 if right.element_size() == 2 else 32)
    made = Plan(tiles, (_ceiling(width, 32), _ceiling(count, 16)), {"num_warps": 4, "num_stages": 2})
    strides = left.stride(0), *right.stride(), out.stride(0)
    launch(product, made, left, right, out, (count, depth, width), strides, add, tiles)


def _signal(made: Plan, given: Given) -> Tensor:
    """A counter for each tile of sequences, after the flag that somebody waited too long."""
    signal: Tensor = given.bias.new_zeros(made.programs[1] + 1, dtype=torch.int32)
    return signal


_watched: list[tuple[Any, Tensor]] = []  # for each launch with a wait: an event, and its flag on the host


def _watch(signal: Tensor) -> None:
    """Look at the flag of a launch when it has ended, without waiting for that now."""
    if not signal.is_cuda:
        _watched.append((None, signal[:1]))
    elif not torch.cuda.is_current_stream_capturing():
        flag = torch.empty(1, dtype=torch.int32, pin_memory=True)
        flag.copy_(signal[:1], non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        _watched.append((event, flag))


def raise_if_stuck(*, wait: bool = False) -> None:
    """Raise BackendError if programs of a launch that has ended gave up waiting; with `wait`, of any launch so far."""
    kept = []
    stuck = False
    for event, flag in _watched:
        if event is not None and wait:
            event.synchronize()
        if event is None or event.query():
            stuck = stuck or bool(flag.item())
        else:
            kept.append((event, flag))
    _watched[:] = kept
    if stuck:
        raise BackendError(
            "--device cuda",
            "programs of a kernel waited too long for each other, and what it computed is wrong: something else may "
            "hold the GPU",
            "nvidia-smi",
        )


def _through_first_product(given: Given, sent: Sent, sizes: Sizes, settings: Settings) -> None:
    """Adds to the gradient of the first hidden state what the first step's product sends back to it."""
    if given.lengths is None:
        begin = (sizes.steps - 1) * sizes.batch if settings.reverse else 0
        grad = sent.product[begin : begin + sizes.batch]
    else:
        row = torch.arange(sizes.batch, device=given.lengths.device)
        begin = given.offsets[(given.lengths - 1).clamp(min=0)] if settings.reverse else torch.zeros_like(row)
        grad = sent.product[begin + row] * (given.lengths > 0)[:, None]
    sent.hidden.add_((grad.to(given.weight.dtype) @ given.weight).float())
