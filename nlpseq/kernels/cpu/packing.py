"""Packs the real steps of sequences of unequal length, so that nothing is computed for padding.

Sequences are sorted, longest first, and their real steps are packed one after another: all first steps, all second
steps, and so on. A step of a loop is then a range of rows, and products over all steps have real rows only. The price
is two copies, of the inputs and of the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq.cells.cell import State


@dataclass(frozen=True, eq=False)
class Packing:
    """The indices of the N real steps, ordered by time, of sequences sorted by length."""

    steps: int
    batch: int
    rows: Tensor  # [T], the number of active sequences in each step
    offsets: Tensor  # [T], the first row of each step
    order: Tensor | None = None  # [B], the sequences, longest first; None: all have the same length
    lengths: Tensor | None = None  # [B], in that order
    slots: Tensor | None = None  # [N], indices in [T, B] of sorted sequences
    positions: Tensor | None = None  # [N], indices in [T, B] of sequences in their own order

    @property
    def real(self) -> int:
        """N."""
        return self.steps * self.batch if self.slots is None else len(self.slots)

    def gather(self, array: Tensor) -> Tensor:
        """The real steps [N, W] of an array [T, B, W] whose sequences are in their own order."""
        flat = array.reshape(self.steps * self.batch, -1)
        if self.positions is None:
            return flat
        gathered: Tensor = _Gather.apply(flat, self.positions)  # type: ignore[no-untyped-call]
        return gathered

    def sort(self, state: State) -> State:
        """A state of [B, H], longest sequence first."""
        return state if self.order is None else type(state)(*(value[self.order] for value in state))

    def scatter(self, outputs: Tensor) -> Tensor:
        """All steps [T, B, H] of the sequences in their own order, from the real steps [N, H]; padding is zero."""
        if self.positions is not None:
            outputs = outputs.new_zeros(self.steps * self.batch, outputs.shape[1]).index_copy(
                0, self.positions, outputs
            )
        return outputs.view(self.steps, self.batch, -1)

    def unsort(self, state: State) -> State:
        """A sorted state in the sequences' own order: the inverse of `sort`."""
        if self.order is None:
            return state
        back = self.order.argsort()
        return type(state)(*(value[back] for value in state))


@lru_cache(maxsize=64)
def _full(steps: int, batch: int) -> Packing:
    return Packing(steps, batch, torch.full((steps,), batch), torch.arange(steps) * batch)


def packing_of(steps: int, batch: int, lengths: Tensor | None) -> Packing:
    """The packing of a batch, on the device of its lengths, if there are lengths."""
    if lengths is None:
        return _full(steps, batch)
    lengths, order = lengths.sort(descending=True, stable=True)
    active = torch.arange(steps, device=lengths.device)[:, None] < lengths[None, :]
    rows = active.sum(1)
    time, sequence = active.nonzero(as_tuple=True)
    slots, positions = time * batch + sequence, time * batch + order[sequence]
    return Packing(steps, batch, rows, rows.cumsum(0) - rows, order, lengths, slots, positions)


class _Gather(torch.autograd.Function):
    """Rows of an array [M, W]; no row is taken twice."""

    @staticmethod
    def forward(ctx: Any, array: Tensor, index: Tensor) -> Tensor:
        ctx.count = array.shape[0]
        ctx.save_for_backward(index)
        return array.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (index,) = ctx.saved_tensors
        return grad.new_zeros(ctx.count, grad.shape[1]).index_copy_(0, index, grad), None
