"""Translators as the decoder of a search on a device, in memory that never moves.

The members are those of `ensemble`, with the mean of their probabilities. A step is the plain equations of the cells on
tensors: some dozens of small kernels, which a graph makes cheap, and which are the same for every cell. Sources are
read outside the graph, by the kernels that run whole texts.

The output's matrix is filled up with tokens that are impossible, so that the ranking finds whole chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells.unroll import project_inputs
from nlpseq.decoding.beam import Rows
from nlpseq.decoding.device.ranking import MULTIPLE, NEVER
from nlpseq.decoding.ensemble import LEAST_COVERED, Member
from nlpseq.models import translator
from nlpseq.models.attention import Memory
from nlpseq.models.embedding import KEPT_BYTES
from nlpseq.models.stack import StackState

if TYPE_CHECKING:
    from torch import Tensor


class DeviceMember:
    """A translator on a device, and what of its weights is made once for all steps."""

    def __init__(self, member: Member) -> None:
        import torch

        self.member = member
        weight, bias = translator.output_layer(member.weights)
        missing = -len(weight) % MULTIPLE
        self.weight = torch.cat([weight, weight.new_zeros((missing, weight.shape[1]))])
        self.bias = torch.cat([bias, bias.new_full((missing,), NEVER)])
        self.products = _token_products(member.weights)

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Of features [R, E] the log-probabilities [R, V'] of all tokens, and of those that fill up the vocabulary."""
        import torch

        return torch.nn.functional.linear(features, self.weight, self.bias).log_softmax(-1)


def _token_products(weights: translator.Weights) -> Callable[[Array], Array] | None:
    """The first layer's products of tokens, from a table, or None if there is no room for one."""
    query, embedding = translator.query_layer(weights), weights["embedding.weight"]
    if 4 * len(embedding) * query.width > KEPT_BYTES:
        return None
    table = project_inputs(query, embedding)
    return lambda ids: arrays.embed(table, ids)


class TensorDecoder:
    """The members' decoders of B texts, K hypotheses of each, as `nlpseq.decoding.device.beam` asks for them."""

    def __init__(self, members: Sequence[DeviceMember], width: int, *, coverage: bool = False) -> None:
        self.members = members
        self.width = width
        self.counts_coverage = coverage
        self.memories: list[Memory] = []
        self.states: list[StackState] = []
        self.covered: Any = None  # [B * K, S]
        self._fresh: list[StackState] = []  # between a step and the selection that ends it

    def read(self, columns: Rows, lengths: Rows) -> None:
        """Begin with source texts, ids [S, B] of lengths [B]: always of the same S and B."""
        sources = [one.member.encode(columns, lengths) for one in self.members]
        memories = [one.memory for one in sources]
        self._hold(memories, [_mapped(self._repeated, one.state) for one in sources])
        if self.covered is not None:
            self.covered.zero_()

    def take(self, other: TensorDecoder, texts: Tensor, rows: Tensor) -> None:
        """Go on with some texts [B] of another decoder, and their hypotheses `rows` [B * K]."""
        memories = [Memory(*(value[texts] for value in one)) for one in other.memories]
        self._hold(memories, [_mapped(lambda value: value[rows], one) for one in other.states])
        if self.covered is not None:
            self.covered.copy_(other.covered[rows])

    def _hold(self, memories: Sequence[Memory], states: Sequence[StackState]) -> None:
        """Keep what a search begins with, where that of the last one was."""
        if not self.memories:
            self.memories = [Memory(*map(_kept, one)) for one in memories]
            self.states = [_mapped(_kept, one) for one in states]
            if self.counts_coverage:
                batch, positions = memories[0].values.shape[:2]
                self.covered = memories[0].values.new_zeros((batch * self.width, positions))
            return
        for place, memory in zip(self.memories, memories, strict=True):
            for old, new in zip(place, memory, strict=True):
                old.copy_(new)
        for old, new in zip(_tensors(self.states), _tensors(states), strict=True):
            old.copy_(new)

    def _repeated(self, value: Array) -> Array:
        return value[:, None].expand(-1, self.width, -1).reshape(-1, value.shape[-1])

    def step(self, ids: Tensor) -> Tensor:
        """As `DeviceDecoder.step`; of several members the mean of their probabilities."""
        import torch

        found: list[Tensor] = []
        self._fresh = []
        for one, memory, state in zip(self.members, self.memories, self.states, strict=True):
            weights, options = one.member.weights, one.member.options
            features, after, shares = translator.decode(
                weights, options, ids[None], memory, state, products=one.products
            )
            self._fresh.append(after)
            found.append(one.log_probabilities(features[0]))
            if self.covered is not None:
                self.covered += shares.reshape(self.covered.shape) / len(self.members)
        if len(found) == 1:
            return found[0]
        return (reduce(torch.logaddexp, found) - float(np.log(len(found)))).log_softmax(-1)

    def select(self, rows: Tensor) -> None:
        """As `DeviceDecoder.select`."""
        for place, fresh in zip(_tensors(self.states), _tensors(self._fresh), strict=True):
            place.copy_(fresh[rows])
        self._fresh = []
        if self.covered is not None:
            self.covered.copy_(self.covered[rows])

    def coverage(self) -> Tensor:
        """As `EnsembleDecoder.coverage`."""
        logs = self.covered.clip(LEAST_COVERED, 1.0).log()
        mask = self.memories[0].mask.expand(-1, self.width, -1).reshape(self.covered.shape)
        found: Tensor = (logs * mask).sum(1)
        return found


def _kept(value: Array) -> Array:
    """A copy whose memory nothing else uses, row after row."""
    import torch

    return value.clone(memory_format=torch.contiguous_format)


def _mapped(function: Callable[[Array], Array], state: StackState) -> StackState:
    return tuple(tuple(type(one)(*map(function, one)) for one in layer) for layer in state)


def _tensors(states: Sequence[StackState]) -> list[Tensor]:
    return [value for state in states for layer in state for one in layer for value in one]
