"""Launches Triton's kernels: the tiles of each way, and its launches forward and backward.

`ways` chooses the way that runs a recurrence. Tiles are the largest that compiled without spilling registers; few of
them were timed. If a way has several launches in each step and its addresses recur, it is recorded as a graph.
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
    """A launch of one way: its settings, the grid of programs, and the compiler's options."""

    settings: Settings
    programs: tuple[int, ...]
    options: dict[str, Any]


def plan(way: str, settings: Settings, size: int, batch: int, element: int, *, backward: bool = False) -> Plan:
    """The plan of a way for operands of `element` bytes: the largest tiles that compiled without spilling."""
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


def launch(kernel: Any, launch_plan: Plan, *arguments: Any) -> None:
    """Run one kernel."""
    kernel[launch_plan.programs](*arguments, enable_fp_fusion=True, **launch_plan.options)


def forward(cell: str, way: str, inputs: Inputs, results: Results, sizes: Sizes, settings: Settings) -> None:
    """Run `cell` over time by a way: fill `results`. Raises BackendError if an earlier launch failed."""
    launch_plan = plan(way, settings, sizes.size, sizes.batch, inputs.weight.element_size())
    function = POINTWISE[cell].forward
    raise_if_stuck()

    def every_step() -> None:
        for step in range(sizes.steps):
            launch(steps_forward, launch_plan, inputs, results, sizes, step, None, function, launch_plan.settings)

    if way == "column":
        launch(column_forward, launch_plan, inputs, results, sizes, function, launch_plan.settings)
    elif way == "grid":
        signal = signal_for(inputs.weight.device, launch_plan.programs[1])
        launch(steps_forward, launch_plan, inputs, results, sizes, 0, signal, function, launch_plan.settings)
        watch(signal)
    else:
        body = (
            every_step if way == "steps" else partial(_forward_by_rows, function, launch_plan, inputs, results, sizes)
        )
        graph.run(body, (*inputs, *results), "forward", way, cell, sizes, settings)


def backward(
    cell: str, way: str, inputs: Inputs, results: Results, gradients: Gradients, sizes: Sizes, settings: Settings
) -> None:
    """Run `cell` backwards over time: fill `gradients`. Raises BackendError if an earlier launch failed."""
    launch_plan = plan(way, settings, sizes.size, sizes.batch, inputs.weight.element_size(), backward=True)
    function = POINTWISE[cell].backward
    raise_if_stuck()

    def every_step() -> None:
        for step in range(sizes.steps):
            launch(
                steps_backward,
                launch_plan,
                inputs,
                results,
                gradients,
                sizes,
                step,
                None,
                function,
                launch_plan.settings,
            )

    if way == "column":
        launch(column_backward, launch_plan, inputs, results, gradients, sizes, function, launch_plan.settings)
    elif way == "grid":
        signal = signal_for(inputs.weight.device, launch_plan.programs[1])
        launch(
            steps_backward, launch_plan, inputs, results, gradients, sizes, 0, signal, function, launch_plan.settings
        )
        watch(signal)
    else:
        body = (
            every_step
            if way == "steps"
            else partial(_backward_by_rows, function, launch_plan, inputs, results, gradients, sizes)
        )
        graph.run(body, (*inputs, *results, *gradients), "backward", way, cell, sizes, settings)
    if way in ("grid", "steps"):
        _through_first_product(inputs, gradients, sizes, settings)


def _forward_by_rows(function: Any, launch_plan: Plan, inputs: Inputs, results: Results, sizes: Sizes) -> None:
    batch, size = sizes.batch, sizes.size
    products = inputs.bias.new_empty(batch, inputs.weight.shape[0])
    held = torch.zeros_like(results.last_hidden) if launch_plan.settings.resets else None
    head = inputs.weight.shape[0] - (size if launch_plan.settings.resets else 0)
    for step in range(sizes.steps):
        _multiply(results.last_hidden, inputs.weight[:head].t(), products[:, :head], launch_plan.settings)
        if held is not None:
            launch(rows_reset, launch_plan, inputs, results, sizes, step, products, held, launch_plan.settings)
            _multiply(held, inputs.weight[head:].t(), products[:, head:], launch_plan.settings)
        launch(rows_forward, launch_plan, inputs, results, sizes, step, products, function, launch_plan.settings)


def _backward_by_rows(
    function: Any, launch_plan: Plan, inputs: Inputs, results: Results, gradients: Gradients, sizes: Sizes
) -> None:
    batch, size = sizes.batch, sizes.size
    grads = inputs.bias.new_empty(batch, inputs.weight.shape[0])
    held = torch.zeros_like(gradients.hidden) if launch_plan.settings.resets else None
    head = inputs.weight.shape[0] - (size if launch_plan.settings.resets else 0)
    for step in range(sizes.steps):
        launch(
            rows_backward, launch_plan, inputs, results, gradients, sizes, step, grads, function, launch_plan.settings
        )
        if held is not None:
            _multiply(grads[:, head:], inputs.weight[head:], held, launch_plan.settings)
            launch(
                rows_reset_backward,
                launch_plan,
                inputs,
                results,
                gradients,
                sizes,
                step,
                held,
                grads,
                launch_plan.settings,
            )
        _multiply(grads[:, :head], inputs.weight[:head], gradients.hidden, launch_plan.settings, add=True)


def _multiply(left: Tensor, right: Tensor, out: Tensor, settings: Settings, *, add: bool = False) -> None:
    """out [n, m] = left [n, k] @ right [k, m], or with `add` +=; operands have the type of `right`, sums are fp32."""
    count, depth, width = *left.shape, right.shape[1]
    tiles = replace(settings, rows=16, units=32, depth=64 if right.element_size() == 2 else 32)
    launch_plan = Plan(tiles, (ceiling(width, 32), ceiling(count, 16)), {"num_warps": 4, "num_stages": 2})
    strides = left.stride(0), *right.stride(), out.stride(0)
    launch(product, launch_plan, left, right, out, (count, depth, width), strides, add, tiles)


def _through_first_product(inputs: Inputs, gradients: Gradients, sizes: Sizes, settings: Settings) -> None:
    """Add the gradient from the first step's product to that of the first hidden state."""
    if settings.reverse and inputs.lengths is not None:
        row = torch.arange(sizes.batch, device=inputs.lengths.device)
        first = (inputs.lengths - 1).clamp(min=0) * sizes.batch + row
        grad = gradients.product.index_select(0, first) * (inputs.lengths > 0)[:, None]
    else:
        first = (sizes.steps - 1) * sizes.batch if settings.reverse else 0
        grad = gradients.product[first : first + sizes.batch]
    gradients.hidden.add_(multiply_in_full(grad.to(inputs.weight.dtype), inputs.weight))
