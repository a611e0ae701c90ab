"""Which of Triton's kernels runs a recurrence, and its launch.

Three ways, by size. Where the weights and the state of some sequences fit one multiprocessor (`column`), nothing is
faster than to keep them there: no step waits for anything but itself. Where they do not, but fit the multiprocessors of
the device together (`grid`), each keeps its share and one wait a step joins them. Where they do not fit, or a step is
so large that starting a kernel is nothing beside it (`steps`), each step is a launch of its own.

The bounds between the ways follow from how much memory a multiprocessor has; which way is faster near them was not
measured on any GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nlpseq.errors import BackendError
from nlpseq.kernels.triton_arguments import Given, Room, Sent, Settings, Sizes
from nlpseq.kernels.triton_column import column_backward, column_forward
from nlpseq.kernels.triton_pointwise import POINTWISE
from nlpseq.kernels.triton_steps import steps_backward, steps_forward

WAYS = ("column", "grid", "steps")

SHARED_BYTES = 144 * 1024  # for weights: of the 163 KB that any GPU since 8.0 lets a program have
MOST_PROGRAMS = 96  # that wait for each other: fewer than any data centre GPU since 8.0 has multiprocessors


def choose_way(cell: str, size: int, batch: int, settings: Settings) -> str:
    return "column"


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Run one kernel."""
    kernel[grid](*arguments, **options)


def _ceiling(number: int, part: int) -> int:
    return -(-number // part)


def forward(cell: str, way: str, given: Given, room: Room, sizes: Sizes, settings: Settings) -> None:
    """Fill `room`."""
    function = POINTWISE[cell].forward
    rows = _ceiling(sizes.batch, settings.rows)
    if way == "column":
        launch(column_forward, (rows,), given, room, sizes, function, settings, num_warps=8, num_stages=1)
        return
    if way == "grid":
        grid = replace(settings, barrier=True, held=True, depth=settings.units)
        signal = given.bias.new_zeros(rows + 1, dtype=torch.int32)
        launch(steps_forward, (1, rows), given, room, sizes, 0, signal, function, grid, num_warps=4, num_stages=1)
        return
    step = replace(settings, units=16)
    for begin in range(sizes.steps):
        shape = (_ceiling(sizes.size, step.units), rows)
        launch(steps_forward, shape, given, room, sizes, begin, None, function, step, num_warps=4)


def backward(cell: str, way: str, given: Given, room: Room, sent: Sent, sizes: Sizes, settings: Settings) -> None:
    """Fill `sent`."""
    function = POINTWISE[cell].backward
    rows = _ceiling(sizes.batch, settings.rows)
    if way == "column":
        launch(column_backward, (rows,), given, room, sent, sizes, function, settings, num_warps=8, num_stages=1)
        return
    if way == "grid":
        grid = replace(settings, barrier=True, held=True, depth=settings.units)
        signal = given.bias.new_zeros(rows + 1, dtype=torch.int32)
        launch(
            steps_backward, (1, rows), given, room, sent, sizes, 0, signal, function, grid, num_warps=4, num_stages=1
        )
    else:
        step = replace(settings, units=16)
        for begin in range(sizes.steps):
            shape = (_ceiling(sizes.size, step.units), rows)
            launch(steps_backward, shape, given, room, sent, sizes, begin, None, function, step, num_warps=4)
    _through_first_product(given, sent, sizes, settings)


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
