"""The linear recurrence h_t = a_t * h_{t-1} + b_t over time on a GPU, by Triton's kernels, under autograd.

Every unit of every sequence is its own recurrence. If there are few steps, a program runs a group of recurrences from
the first step to the last. If there are many, that leaves most of the device idle, so time is cut into chunks, in three
passes (Blelloch, 1990): each chunk computes its end from a zero start, one scan over these ends gives the real start of
each chunk, and then all chunks run at once. The price is that a and b are read twice.

The backward pass is the same recurrence in the other direction: the gradient of h_t is that of its own output plus
a_{t+1} times the gradient of h_{t+1}. This module imports Triton.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.errors import BackendError

CHUNK = 64  # steps; chosen by reasoning, not by measurement, as is UNITS
UNITS = 128  # recurrences of a program


@triton.jit
def _recurrences(start: tl.tensor, count: tl.tensor, CHUNK: tl.constexpr, UNITS: tl.constexpr) -> tl.tuple:
    """A program's recurrences, a mask of those that exist, its first step, and the step after its last."""
    units = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    return units.to(tl.int64), units < count, start, start + CHUNK


@triton.jit
def _row(index: tl.tensor, units: tl.tensor, count: tl.tensor) -> tl.tensor:
    """The offsets of `units`, which have 64 bits, in row `index` of a matrix of `count` columns."""
    return (units * 0 + index) * count + units


@triton.jit
def _factor(
    a: tl.tensor,
    step: tl.tensor,
    steps: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    count: tl.tensor,
    REVERSE: tl.constexpr,
    LATE: tl.constexpr,
) -> tl.tensor:
    """The recurrence's factor in a step: a of this step, or if LATE of the step before it."""
    step -= LATE
    time = steps - 1 - step if REVERSE else step
    return tl.load(a + _row(time, units, count), mask=mask & (step >= 0), other=0.0)


@triton.jit
def chunk_ends(
    a: tl.tensor,
    b: tl.tensor,
    factors: tl.tensor,
    ends: tl.tensor,
    steps: tl.tensor,
    count: tl.tensor,
    REVERSE: tl.constexpr,
    LATE: tl.constexpr,
    CHUNK: tl.constexpr,
    UNITS: tl.constexpr,
) -> None:
    """For each chunk: the product of its factors, and its end from a zero start; both [chunks, count]."""
    chunk = tl.program_id(1)
    units, mask, first, end = _recurrences(chunk * CHUNK, count, CHUNK, UNITS)
    total = tl.zeros([UNITS], tl.float32)
    product = total + 1.0
    for step in range(first, tl.minimum(end, steps)):
        time = steps - 1 - step if REVERSE else step
        factor = _factor(a, step, steps, units, mask, count, REVERSE, LATE)
        total = factor * total + tl.load(b + _row(time, units, count), mask=mask, other=0.0)
        product *= factor
    tl.store(factors + _row(chunk, units, count), product, mask=mask)
    tl.store(ends + _row(chunk, units, count), total, mask=mask)


@triton.jit
def run_chunks(
    a: tl.tensor,
    b: tl.tensor,
    starts: tl.tensor,
    out: tl.tensor,
    steps: tl.tensor,
    count: tl.tensor,
    REVERSE: tl.constexpr,
    LATE: tl.constexpr,
    CHUNK: tl.constexpr,
    UNITS: tl.constexpr,
) -> None:
    """The recurrence [steps, count], from the start of each chunk [chunks, count], or from zero without `starts`."""
    chunk = tl.program_id(1)
    units, mask, first, end = _recurrences(chunk * CHUNK, count, CHUNK, UNITS)
    total = tl.zeros([UNITS], tl.float32)
    if starts is not None:
        total += tl.load(starts + _row(chunk, units, count), mask=mask, other=0.0)
    for step in range(first, tl.minimum(end, steps)):
        time = steps - 1 - step if REVERSE else step
        factor = _factor(a, step, steps, units, mask, count, REVERSE, LATE)
        total = factor * total + tl.load(b + _row(time, units, count), mask=mask, other=0.0)
        tl.store(out + _row(time, units, count), total, mask=mask)


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any) -> None:
    """Run one kernel."""
    kernel[grid](*arguments, enable_fp_fusion=True, num_warps=4)


def _run(a: Tensor, b: Tensor, first: Tensor | None, *, reverse: bool, late: bool, chunk: int) -> Tensor:
    """The recurrence [T, N] of a and b, in chunks if there is more than one."""
    steps, count = b.shape
    chunks = -(-steps // chunk)
    grid = -(-count // UNITS), chunks
    starts = first
    if chunks > 1:
        factors, ends = b.new_empty(chunks, count), b.new_empty(chunks, count)
        launch(chunk_ends, grid, a, b, factors, ends, steps, count, reverse, late, chunk, UNITS)
        start = torch.zeros_like(b[:1]) if first is None else first[None]
        carried = _run(factors, ends, first, reverse=False, late=False, chunk=chunks)
        starts = torch.cat([start, carried[:-1]])
    out = torch.empty_like(b)
    launch(run_chunks, grid, a, b, starts, out, steps, count, reverse, late, chunk, UNITS)
    return out


class _Scan(torch.autograd.Function):
    """The recurrence of a [T, N] and b [T, N] from `first` [N]."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, first: Tensor, reverse: bool, chunk: int) -> Tensor:
        out = _run(a, b, first, reverse=reverse, late=False, chunk=chunk)
        ctx.reverse, ctx.chunk = reverse, chunk
        ctx.save_for_backward(a, first, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        a, first, out = ctx.saved_tensors
        reached = _run(a, grad.contiguous(), None, reverse=not ctx.reverse, late=True, chunk=ctx.chunk)
        before = torch.cat([out[1:], first[None]] if ctx.reverse else [first[None], out[:-1]])
        start = -1 if ctx.reverse else 0
        return reached * before, reached, a[start] * reached[start], None, None


def scan(a: Tensor, b: Tensor, first: Tensor, reverse: bool = False, *, chunk: int = CHUNK) -> Tensor:
    """All states [T, B, H] of h_t = a_t * h_{t-1} + b_t, for a and b [T, B, H] and `first` [B, H], in fp32.

    With `reverse` time runs from the last step to the first. `chunk` is the number of steps of a program; tests choose
    it. Raises BackendError for numbers that are not fp32.
    """
    for name, values in (("a", a), ("b", b), ("first", first)):
        if values.dtype != torch.float32:
            raise BackendError("scan", f"the GPU's scan is in fp32, but {name} is {values.dtype}", "--precision fp32")
    flat = (values.reshape(values.shape[0], -1).contiguous() for values in (a, b))
    out: Tensor = _Scan.apply(*flat, first.reshape(-1).contiguous(), reverse, chunk)  # type: ignore[no-untyped-call]
    return out.view_as(b)
