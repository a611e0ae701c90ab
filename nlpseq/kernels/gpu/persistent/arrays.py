"""The record of a layer for the persistent kernels, and the conversion of matrices and states to their layout and back.

The gates of a unit are neighbours in memory, so each call copies each matrix once, in the operands' type, with units of
zeros up to a whole number of chunks. The states of these units stay zero, so the kernels need no masks over units. The
first dimension is the direction, if an array has directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nlpseq.kernels.gpu.persistent.tiles import GATES, RESETS, Fixed, Tiles, padded

# The slot of each block of the cell's weights: those of the input, and those of the hidden state.
SLOTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "lstm": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "gru": ((0, 1, 3), (0, 1, 2)),
    RESETS: ((0, 1, 2), (0, 1, 2)),
}
ONE_SLOT = (0,), (0,)


@dataclass(frozen=True)
class Layer:
    """How a layer runs: everything except its tensors."""

    cell: str
    steps: int
    batch: int
    inputs: int
    size: int
    operands: torch.dtype
    reversed: tuple[bool, ...]  # for each direction, whether it runs backwards in time
    zoneout: float
    masked: bool  # whether zoneout has masks
    padded: bool  # whether lengths differ
    normalised: bool
    gradients: bool
    tiles: tuple[Tiles, Tiles]

    @property
    def slots(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The slots of the input's blocks, and of the hidden state's."""
        return SLOTS.get(self.cell, ONE_SLOT)

    @property
    def gates(self) -> int:
        """The number of slots of a unit."""
        return GATES[self.cell]

    @property
    def resets(self) -> bool:
        """Whether a step has a second product, of r * h."""
        return self.cell == RESETS

    @property
    def whole(self) -> int:
        """The number of units, those of zeros included."""
        return padded(self.size)

    @property
    def width(self) -> int:
        """The number of slots of all units."""
        return self.gates * self.whole

    @property
    def directions(self) -> int:
        """The number of directions that run side by side."""
        return len(self.reversed)

    @property
    def time_slice(self) -> slice:
        """The range of the gates' gradients of all steps, whose array has an extra step for each direction."""
        first = 1 if True in self.reversed else 0
        return slice(first, first + self.steps)

    def first_times(self) -> list[int]:
        """The time of each direction's first step."""
        return [self.steps - 1 if reverse else 0 for reverse in self.reversed]

    def saves(self, training: bool) -> bool:
        """Whether the slots' values are saved; an Elman cell's value is its hidden state, unless zoneout changes it."""
        return training and (self.gates > 1 or self.zoneout > 0 or self.normalised)

    def fixed(self, training: bool, *, backward: bool) -> Fixed:
        """Everything that is fixed when the kernel is compiled."""
        return Fixed(
            cell=self.cell,
            backward=backward,
            real=self.size,
            tiles=self.tiles[backward],
            reverse=self.reversed == (True,),
            zoneout=0 if not self.zoneout else 2 if self.masked else 1,
            lengths=self.padded,
            save=self.saves(training) and not backward,
            normalised=self.normalised,
            directions=self.directions,
        )


def interleave(
    matrices: Sequence[Tensor], slots: tuple[int, ...], layer: Layer, depth: int, dtype: torch.dtype
) -> Tensor:
    """A matrix [G*H, K] of each direction as [directions * gates * whole, depth]: row gates * unit + slot in each
    direction, and zero elsewhere.
    """
    count = len(slots)
    old, width = matrices[0].shape[0] // count, matrices[0].shape[1]
    full = count == layer.gates and old == layer.whole and width == depth
    make = torch.empty if full else torch.zeros
    out = make(len(matrices), layer.whole, layer.gates, depth, dtype=dtype, device=matrices[0].device)
    for target, matrix in zip(out, matrices, strict=True):
        blocks = matrix.view(count, old, width)
        if slots == tuple(range(count)):
            target[:old, :count, :width].copy_(blocks.transpose(0, 1))
        else:
            for slot, block in zip(slots, blocks, strict=True):
                target[:old, slot, :width].copy_(block)
    return out.view(len(matrices) * layer.width, depth)


def separate(grad: Tensor, slots: tuple[int, ...], layer: Layer, depth: int) -> Tensor:
    """The inverse of `interleave`, for a gradient [gates * whole, K] of one direction, in fp32."""
    blocks = grad.view(layer.whole, layer.gates, -1)[: layer.size, :, :depth].transpose(0, 1)
    out = torch.empty(len(slots), layer.size, depth, dtype=torch.float32, device=grad.device)
    for target, slot in zip(out, slots, strict=True):  # a list as an index would be copied from the host
        target.copy_(blocks[slot])
    return out.view(len(slots) * layer.size, depth)


def wide(layer: Layer, values: Sequence[Tensor]) -> Tensor:
    """A copy of each direction's state [B, H] with units of zeros, [directions, B, whole]."""
    if layer.whole == layer.size:
        return torch.stack(tuple(values))
    out = values[0].new_zeros(len(values), layer.batch, layer.whole)
    for target, value in zip(out, values, strict=True):
        target[:, : layer.size].copy_(value)
    return out


def narrow(layer: Layer, values: Tensor) -> list[Tensor]:
    """The inverse of `wide`."""
    return [value[:, : layer.size].contiguous() for value in values]


def states_over_time(layer: Layer, first: Tensor, dtype: torch.dtype) -> Tensor:
    """An array for the states before and after all steps [directions, T+1, B, whole], with the first state filled."""
    out = first.new_empty(layer.directions, layer.steps + 1, layer.batch, layer.whole, dtype=dtype)
    for target, value, reverse in zip(out, first, layer.reversed, strict=True):
        target[layer.steps if reverse else 0].copy_(value)
    return out


def empty_norms(
    layer: Layer, gains: Sequence[Tensor], like: Tensor, *, training: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gains in the kernels' layout, and in training arrays for the normalised products and 1 / deviation."""
    if not layer.normalised:
        return None, None, None
    interleaved = interleave([gain[:, None] for gain in gains], layer.slots[1], layer, 1, torch.float32)
    if not training:
        return interleaved, None, None
    return (
        interleaved,
        like.new_empty(layer.directions, layer.steps, layer.batch, layer.width),
        interleaved.new_empty(layer.directions, layer.steps, layer.batch),
    )


def empty_sums(layer: Layer, tiles: Tiles, like: Tensor) -> Tensor | None:
    """An array for the sums that programs exchange to normalise: two numbers for each sequence from each program."""
    if not layer.normalised:
        return None
    across, down = tiles.programs(layer.batch, layer.size)
    return like.new_empty(2 * layer.directions * across * down * tiles.rows)


def of_each(layer: Layer, values: Tensor) -> list[Tensor]:
    """The columns of each direction, from an array [N, directions * gates * whole]."""
    return list(values.view(len(values), layer.directions, layer.width).unbind(1))
