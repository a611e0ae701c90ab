"""A step of beam search on a device: the search of `nlpseq.decoding.beam`, as tensor operations of fixed shapes.

A step reads no value on the host, makes no tensor from the host's memory and changes everything in place, so it can be
recorded as a graph and replayed. A hypothesis is one token and one parent for each step, so no text is copied when its
beam is reordered; at the end the host follows the parents back. A text that is done keeps its rows and is ignored. The
cost is the work on these rows until the other texts move to a smaller beam.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.device.loops import DeviceLoops
from nlpseq.decoding.device.ranking import NEVER, likeliest

if TYPE_CHECKING:
    from torch import Tensor


class DeviceDecoder(Protocol):
    """A model that reads hypotheses: K for each of B texts, those of a text side by side; all as tensors."""

    def step(self, ids: Tensor) -> Tensor:
        """Read the tokens `ids` [B * K]; log-probabilities [B * K, V] of the next token; the caller may change them."""

    def select(self, rows: Tensor) -> None:
        """Keep the hypotheses in `rows` [B * K], in place."""

    def coverage(self) -> Tensor:
        """As `Decoder.coverage` of `beam`."""


class Ended(NamedTuple):
    """Ended hypotheses that were set aside, up to K for each text; slot K is for those that are dropped."""

    totals: Tensor  # [B, K + 1], float64, -inf in an empty slot
    covered: Tensor  # [B, K + 1], float64, added to the score for coverage
    times: Tensor  # [B, K + 1], the step in which the hypothesis ended, from 0
    parents: Tensor  # [B, K + 1], its slot in the step before


class GivenUp(NamedTuple):
    """The likeliest hypothesis of each text that looped."""

    totals: Tensor  # [B], float64, -inf if no hypothesis was given up
    times: Tensor  # [B], the step of its last token
    slots: Tensor  # [B], its slot in that step
    periods: Tensor  # [B]


class DeviceBeam:
    """The search for B texts with K hypotheses each, in memory that never moves."""

    def __init__(
        self,
        decoder: DeviceDecoder,
        options: BeamOptions,
        shape: tuple[int, int],  # B texts, and the most steps
        ends: tuple[int, int],  # the token that starts a text, and the token that ends it
        like: Tensor,  # on the device
    ) -> None:
        import torch

        self.decoder, self.options = decoder, options
        self.texts, self.capacity = shape
        self.start, self.end = ends
        batch, width = self.texts, options.beam
        whole = torch.int64
        self.time = like.new_zeros(1, dtype=whole)  # number of steps so far
        self.alive = like.new_zeros(batch, dtype=torch.bool)  # texts that are not done
        self.limits = like.new_zeros(batch, dtype=whole)
        self.may_loop = like.new_zeros(batch, dtype=torch.bool)
        self.totals = like.new_zeros((batch, width), dtype=torch.float64)  # -inf in an empty slot
        self.last = like.new_zeros(batch * width, dtype=whole)
        self.tokens = like.new_zeros((self.capacity, batch, width), dtype=torch.int32)
        self.parents = like.new_zeros((self.capacity, batch, width), dtype=torch.int32)
        self.loops = DeviceLoops(batch * width, like)
        self.count = like.new_zeros(batch, dtype=whole)  # number of hypotheses set aside
        kinds = (torch.float64, torch.float64, whole, whole)
        self.ended = Ended(*(like.new_zeros((batch, width + 1), dtype=kind) for kind in kinds))
        self.given_up = GivenUp(*(like.new_zeros(batch, dtype=kind) for kind in (torch.float64, whole, whole, whole)))
        self.first = torch.arange(batch, device=like.device)[:, None] * width  # rows of the texts

    def reset(self, limits: Sequence[int], may_loop: Sequence[bool]) -> None:
        """Start with up to B texts of at most `limits` tokens; the other rows have no hypotheses."""
        import torch

        count = len(limits)
        self.limits[:count].copy_(torch.from_numpy(np.array(limits, np.int64)))
        self.may_loop[:count].copy_(torch.from_numpy(np.array(may_loop, np.bool_)))
        self.totals.fill_(NEVER)
        self.totals[:count, 0] = 0.0
        self.last.fill_(self.start)
        self.time.zero_()
        self.count.zero_()
        self.loops.reset()
        self.ended.totals.fill_(NEVER)
        self.given_up.totals.fill_(NEVER)

    def take(self, other: DeviceBeam, texts: Tensor, count: int, steps: int) -> Tensor:
        """Copy `texts` [B] of another beam after `steps` steps; only the first `count` of them count.

        Returns the rows [B * K] of their hypotheses in the other beam.
        """
        import torch

        rows = (other.first[texts] + torch.arange(self.options.beam, device=texts.device)).flatten()
        for own, value in zip(self._by_text(), other._by_text(), strict=True):
            own.copy_(value[texts])
        for own, value in zip(self._by_row(), other._by_row(), strict=True):
            own.copy_(value[rows])
        self.tokens[:steps] = other.tokens[:steps, texts]
        self.parents[:steps] = other.parents[:steps, texts]
        self.time.copy_(other.time)
        self.totals[count:] = NEVER
        return rows

    def _by_text(self) -> list[Tensor]:
        return [self.limits, self.may_loop, self.totals, self.count, *self.ended, *self.given_up]

    def _by_row(self) -> list[Tensor]:
        return [self.last, self.loops.recent, self.loops.runs]

    def step(self, ids: Tensor) -> None:
        """Read the last tokens `ids` [B * K] of all hypotheses, and keep the likeliest continuations."""
        import torch

        options = self.options
        values = self.decoder.step(ids)
        length = self.time + 1
        if options.shortest:
            values[:, self.end] = torch.where(length <= options.shortest, NEVER, values[:, self.end])
        full = length > self.limits
        summed, parents, tokens = likeliest(values, self.totals, full, self.end, 2 * options.beam)
        continued = self._set_aside(summed, parents, tokens)
        slots = torch.where(continued, continued.cumsum(1) - 1, options.beam)
        totals = _scattered(slots, summed, options.beam, NEVER)
        chosen = _scattered(slots, tokens, options.beam, self.end)
        origins = _scattered(slots, parents, options.beam, 0)
        rows = (self.first + origins).flatten()
        self._record(chosen, origins)
        self._give_up(totals, self.loops.add(rows, chosen.flatten()))
        self.decoder.select(rows)
        self.last.copy_(chosen.flatten())
        self.alive.copy_((self.totals > NEVER).any(1))
        self.time += 1

    def _set_aside(self, summed: Tensor, parents: Tensor, tokens: Tensor) -> Tensor:
        """Set aside the continuations [B, N], best first, that end; returns a mask [B, N] of those that continue.

        The best continuations are continued or set aside until a text has K hypotheses in all. At most as many are set
        aside as the text has free slots.
        """
        import torch

        width = self.options.beam
        finite, ends = summed > NEVER, tokens == self.end
        ranks = torch.arange(summed.shape[1], device=summed.device)
        ending = finite & ends & (ranks < width - self.count[:, None])
        counted = (finite & ~ends) | ending
        before = self.count[:, None] + counted.cumsum(1) - counted.long()
        slots = torch.where(ending, self.count[:, None] + ending.cumsum(1) - 1, width)
        self.ended.totals.scatter_(1, slots, summed)
        self.ended.times.scatter_(1, slots, self.time.expand_as(slots))
        self.ended.parents.scatter_(1, slots, parents)
        if self.options.coverage_penalty:
            covered = self.options.coverage_penalty * self.decoder.coverage().view(-1, width)
            self.ended.covered.scatter_(1, slots, covered.double().gather(1, parents))
        self.count += ending.sum(1)
        return finite & ~ends & (before < width)

    def _record(self, tokens: Tensor, parents: Tensor) -> None:
        self.tokens.index_copy_(0, self.time, tokens.int()[None])
        self.parents.index_copy_(0, self.time, parents.int()[None])

    def _give_up(self, totals: Tensor, periods: Tensor) -> None:
        """Give up the hypotheses that loop; `totals` [B, K] are those of all hypotheses."""
        import torch

        periods = periods.view_as(totals)
        looping = (periods > 0) & ~self.may_loop[:, None]
        best, slots = torch.where(looping, totals, NEVER).max(1)
        better = best > self.given_up.totals
        candidates = GivenUp(best, self.time, slots, periods.gather(1, slots[:, None])[:, 0])
        for own, value in zip(self.given_up, candidates, strict=True):
            own.copy_(torch.where(better, value, own))
        self.totals.copy_(torch.where(looping, NEVER, totals))


def _scattered(slots: Tensor, values: Tensor, width: int, empty: float) -> Tensor:
    """Values [B, N] moved to their slots [B, N] of [B, width]; slot `width` is dropped, unused slots are `empty`."""
    slotted = values.new_full((values.shape[0], width + 1), empty)
    return slotted.scatter_(1, slots, values)[:, :width]
