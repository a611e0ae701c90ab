"""Which of Triton's kernels runs a recurrence, and its launch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nlpseq.kernels.triton_arguments import Given, Room, Sent, Settings, Sizes
from nlpseq.kernels.triton_column import column_backward, column_forward
from nlpseq.kernels.triton_pointwise import POINTWISE

WAYS = ("column", "grid", "steps")


def choose_way(cell: str, size: int, batch: int, operands: torch.dtype) -> str:
    return "column"


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Run one kernel."""
    kernel[grid](*arguments, **options)


def _ceiling(number: int, part: int) -> int:
    return -(-number // part)


def forward(cell: str, way: str, given: Given, room: Room, sizes: Sizes, settings: Settings) -> None:
    """Fill `room`."""
    grid = (_ceiling(sizes.batch, settings.rows),)
    launch(column_forward, grid, given, room, sizes, POINTWISE[cell].forward, settings, num_warps=4)


def backward(cell: str, way: str, given: Given, room: Room, sent: Sent, sizes: Sizes, settings: Settings) -> None:
    """Fill `sent`."""
    grid = (_ceiling(sizes.batch, settings.rows),)
    launch(column_backward, grid, given, room, sent, sizes, POINTWISE[cell].backward, settings, num_warps=4)
