"""How Triton's kernels are launched: the tiles of each way, and its launches forward and backward.

`ways` says which of them runs a recurrence. Tiles are the largest tried of those that compile without spilling
registers; few were timed. A way of several launches a step is recorded as a graph if its addresses recur.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nlpseq.kernels.gpu import graph
from nlpseq.kernels.gpu.arguments import Gradients, Inputs, Results, Settings, Sizes
from nlpseq.kernels.gpu.column import column_backward, column_forward
from nlpseq.kernels.gpu.pointwise import POINTWISE
from nlpseq.kernels.gpu.products import multiply_in_full
from nlpseq.kernels.gpu.rows import product, rows_backward, rows_forward, rows_reset, rows_reset_backward
from nlpseq.kernels.gpu.signals import raise_if_stuck as raise_if_stuck
from nlpseq.kernels.gpu.signals import signal_for, watch
from nlpseq.kernels.gpu.steps import steps_backward, steps_forward
from nlpseq.kernels.gpu.ways import ceiling, power_of_two


@dataclass(frozen=True)
class Plan:
    """How one way is launched: its settings, how many programs, and how each of them is made."""

    settings: Settings
    programs: tuple[int, ...]
    options: dict[str, Any]


def plan(way: str, settings: Settings, size: int, batch: int, element: int, *, backward: bool = False) -> Plan:
    """The tiles of a way for operands of `element` bytes: of those that compile without spilling, the largest tried."""
    whole = power_of_two(size)
    if way == "column":
        tiles = replace(settings, held=True, rows=16, units=whole)
        warps = 16 if backward and settings.normalised and settings.gates * whole >= 512 else 8
        return Plan(
            tiles, (ceiling(batch, 16),), {"num_warps": warps, "num_stages": 1, "maxnreg": min(255, 2048 // warps)}
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
    return Plan(tiles, (ceiling(size, tiles.units), ceiling(batch, tiles.rows)), options)


def launch(kernel: Any, made: Plan, *arguments: Any) -> None:
    """Run one kernel."""
    kernel[made.programs](*arguments, enable_fp_fusion=True, **made.options)


def forward(cell: str, way: str, inputs: Inputs, results: Results, sizes: Sizes, settings: Settings) -> None:
    """Run `cell` over time by one of the ways: fills `results`. Raises BackendError if a launch before this failed."""
    made = plan(way, settings, sizes.size, sizes.batch, inputs.weight.element_size())
    function = POINTWISE[cell].forward
    raise_if_stuck()

    def every_step() -> None:
        for begin in range(sizes.steps):
            launch(steps_forward, made, inputs, results, sizes, begin, None, function, made.settings)

    if way == "column":
        launch(column_forward, made, inputs, results, sizes, function, made.settings)
    elif way == "grid":
        signal = signal_for(inputs.weight.device, made.programs[1])
        launch(steps_forward, made, inputs, results, sizes, 0, signal, function, made.settings)
        watch(signal)
    else:
        body = every_step if way == "steps" else partial(_forward_by_rows, function, made, inputs, results, sizes)
        graph.run(body, (*inputs, *results), "forward", way, cell, sizes, settings)


def backward(
    cell: str, way: str, inputs: Inputs, results: Results, gradients: Gradients, sizes: Sizes, settings: Settings
) -> None:
    """Run `cell` over time backwards: fills `gradients`. Raises BackendError if a launch before this failed."""
    made = plan(way, settings, sizes.size, sizes.batch, inputs.weight.element_size(), backward=True)
    function = POINTWISE[cell].backward
    raise_if_stuck()

    def every_step() -> None:
        for begin in range(sizes.steps):
            launch(steps_backward, made, inputs, results, gradients, sizes, begin, None, function, made.settings)

    if way == "column":
        launch(column_backward, made, inputs, results, gradients, sizes, function, made.settings)
    elif way == "grid":
        signal = signal_for(inputs.weight.device, made.programs[1])
        launch(steps_backward, made, inputs, results, gradients, sizes, 0, signal, function, made.settings)
        watch(signal)
    else:
        body = (
            every_step
            if way == "steps"
            else partial(_backward_by_rows, function, made, inputs, results, gradients, sizes)
        )
        graph.run(body, (*inputs, *results, *gradients), "backward", way, cell, sizes, settings)
    if way in ("grid", "steps"):
        _through_first_product(inputs, gradients, sizes, settings)


def _forward_by_rows(function: Any, made: Plan, inputs: Inputs, results: Results, sizes: Sizes) -> None:
    batch, size = sizes.batch, sizes.size
    products = inputs.bias.new_empty(batch, inputs.weight.shape[0])
    held = torch.zeros_like(results.last_hidden) if made.settings.resets else None
    head = inputs.weight.shape[0] - (size if made.settings.resets else 0)
    for begin in range(sizes.steps):
        _multiply(results.last_hidden, inputs.weight[:head].t(), products[:, :head], made.settings)
        if held is not None:
            launch(rows_reset, made, inputs, results, sizes, begin, products, held, made.settings)
            _multiply(held, inputs.weight[head:].t(), products[:, head:], made.settings)
        launch(rows_forward, made, inputs, results, sizes, begin, products, function, made.settings)


def _backward_by_rows(
    function: Any, made: Plan, inputs: Inputs, results: Results, gradients: Gradients, sizes: Sizes
) -> None:
    batch, size = sizes.batch, sizes.size
    grads = inputs.bias.new_empty(batch, inputs.weight.shape[0])
    held = torch.zeros_like(gradients.hidden) if made.settings.resets else None
    head = inputs.weight.shape[0] - (size if made.settings.resets else 0)
    for begin in range(sizes.steps):
        launch(rows_backward, made, inputs, results, gradients, sizes, begin, grads, function, made.settings)
        if held is not None:
            _multiply(grads[:, head:], inputs.weight[head:], held, made.settings)
            launch(rows_reset_backward, made, inputs, results, gradients, sizes, begin, held, grads, made.settings)
        _multiply(grads[:, :head], inputs.weight[:head], gradients.hidden, made.settings, add=True)


def _multiply(left: Tensor, right: Tensor, out: Tensor, settings: Settings, *, add: bool = False) -> None:
    """out [n, m] = left [n, k] @ right [k, m], or adds it: with right's type as that of the operands, and fp32 sums."""
    count, depth, width = *left.shape, right.shape[1]
    tiles = replace(settings, rows=16, units=32, depth=64 if right.element_size() == 2 else 32)
    made = Plan(tiles, (ceiling(width, 32), ceiling(count, 16)), {"num_warps": 4, "num_stages": 2})
    strides = left.stride(0), *right.stride(), out.stride(0)
    launch(product, made, left, right, out, (count, depth, width), strides, add, tiles)


def _through_first_product(inputs: Inputs, gradients: Gradients, sizes: Sizes, settings: Settings) -> None:
    """Adds to the gradient of the first hidden state what the first step's product sends back to it."""
    if settings.reverse and inputs.lengths is not None:
        row = torch.arange(sizes.batch, device=inputs.lengths.device)
        begin = (inputs.lengths - 1).clamp(min=0) * sizes.batch + row
        grad = gradients.product.index_select(0, begin) * (inputs.lengths > 0)[:, None]
    else:
        begin = (sizes.steps - 1) * sizes.batch if settings.reverse else 0
        grad = gradients.product[begin : begin + sizes.batch]
    gradients.hidden.add_(multiply_in_full(grad.to(inputs.weight.dtype), inputs.weight))
