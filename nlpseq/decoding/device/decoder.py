"""Translators as the decoder of a search on a device, in memory that never moves.

The members are those of an ensemble; a token's probability is their mean. A step runs the plain equations of the cells
on tensors: dozens of small kernels, which a graph makes cheap, and which need no code for single cells. Sources are
read outside the graph, by the kernels that run whole texts.

The output matrix is padded with impossible tokens, so that the ranking works on whole chunks.
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
    """A translator on a device, with the values that do not change between steps."""

    def __init__(self, member: Member) -> None:
        import torch

        self.member = member
        weight, bias = translator.output_layer(member.weights)
        missing = -len(weight) % MULTIPLE
        self.weight = torch.cat([weight, weight.new_zeros((missing, weight.shape[1]))])
        self.bias = torch.cat([bias, bias.new_full((missing,), NEVER)])
        self.products = _token_products(member.weights)

    def log_probabilities(self, features: Tensor) -> Tensor:
        """The log-probabilities [R, V'] of all tokens, padding included, for features [R, E]."""
        import torch

        return torch.nn.functional.linear(features, self.weight, self.bias).log_softmax(-1)


def _token_products(weights: translator.Weights) -> Callable[[Array], Array] | None:
    """A function that looks up the first layer's products of tokens; None if the table would be too large."""
    query, embedding = translator.query_layer(weights), weights["embedding.weight"]
    if 4 * len(embedding) * query.width > KEPT_BYTES:
        return None
    table = project_inputs(query, embedding)
    return lambda ids: arrays.embed(table, ids)


class TensorDecoder:
    """The members' decoders for B texts with K hypotheses each: a `DeviceDecoder`."""

    def __init__(self, members: Sequence[DeviceMember], width: int, *, coverage: bool = False) -> None:
        self.members = members
        self.width = width
        self.counts_coverage = coverage
        self.memories: list[Memory] = []
        self.states: list[StackState] = []
        self.covered: Any = None  # [B * K, S]
        self._fresh: list[StackState] = []  # between a step and the selection that ends it

    def read(self, columns: Rows, lengths: Rows) -> None:
        """Start with source texts, ids [S, B] of lengths [B]; S and B are the same in every call."""
        sources = [device_member.member.encode(columns, lengths) for device_member in self.members]
        memories = [source.memory for source in sources]
        self._hold(memories, [_mapped(self._repeated, source.state) for source in sources])
        if self.covered is not None:
            self.covered.zero_()

    def take(self, other: TensorDecoder, texts: Tensor, rows: Tensor) -> None:
        """Copy `texts` [B] of another decoder, and their hypotheses in `rows` [B * K]."""
        memories = [Memory(*(value[texts] for value in memory)) for memory in other.memories]
        self._hold(memories, [_mapped(lambda value: value[rows], state) for state in other.states])
        if self.covered is not None:
            self.covered.copy_(other.covered[rows])

    def _hold(self, memories: Sequence[Memory], states: Sequence[StackState]) -> None:
        """Copy the values that a search starts with to the memory of the last search."""
        if not self.memories:
            self.memories = [Memory(*map(_kept, memory)) for memory in memories]
            self.states = [_mapped(_kept, state) for state in states]
            if self.counts_coverage:
                batch, positions = memories[0].values.shape[:2]
                self.covered = memories[0].values.new_zeros((batch * self.width, positions))
            return
        for own, memory in zip(self.memories, memories, strict=True):
            for old, new in zip(own, memory, strict=True):
                old.copy_(new)
        for old, new in zip(_tensors(self.states), _tensors(states), strict=True):
            old.copy_(new)

    def _repeated(self, value: Array) -> Array:
        return value[:, None].expand(-1, self.width, -1).reshape(-1, value.shape[-1])

    def step(self, ids: Tensor) -> Tensor:
        """As `DeviceDecoder.step`; for several members, the mean of their probabilities."""
        import torch

        predictions: list[Tensor] = []
        self._fresh = []
        for device_member, memory, state in zip(self.members, self.memories, self.states, strict=True):
            member = device_member.member
            features, after, attention = translator.decode(
                member.weights, member.options, ids[None], memory, state, products=device_member.products
            )
            self._fresh.append(after)
            predictions.append(device_member.log_probabilities(features[0]))
            if self.covered is not None:
                self.covered += attention.reshape(self.covered.shape) / len(self.members)
        if len(predictions) == 1:
            return predictions[0]
        return (reduce(torch.logaddexp, predictions) - float(np.log(len(predictions)))).log_softmax(-1)

    def select(self, rows: Tensor) -> None:
        """As `DeviceDecoder.select`."""
        for own, fresh in zip(_tensors(self.states), _tensors(self._fresh), strict=True):
            own.copy_(fresh[rows])
        self._fresh = []
        if self.covered is not None:
            self.covered.copy_(self.covered[rows])

    def coverage(self) -> Tensor:
        """As `EnsembleDecoder.coverage`."""
        logs = self.covered.clip(LEAST_COVERED, 1.0).log()
        mask = self.memories[0].mask.expand(-1, self.width, -1).reshape(self.covered.shape)
        total: Tensor = (logs * mask).sum(1)
        return total


def _kept(value: Array) -> Array:
    """A contiguous copy whose memory nothing else uses."""
    import torch

    return value.clone(memory_format=torch.contiguous_format)


def _mapped(function: Callable[[Array], Array], state: StackState) -> StackState:
    return tuple(tuple(type(direction)(*map(function, direction)) for direction in layer) for layer in state)


def _tensors(states: Sequence[StackState]) -> list[Tensor]:
    return [value for state in states for layer in state for direction in layer for value in direction]
