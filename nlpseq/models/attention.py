"""Attention over the positions of a source text.

    dot        the scaled product of a query with a projected key (Luong et al., 2015; Vaswani et al., 2017)
    additive   v . tanh(W q + U k) (Bahdanau et al., 2015)

All arrays are batch-major, [B, ..], so any number of queries can attend to one source: the steps of a target text in
training, the hypotheses of a beam in decoding. The dot form is the default, because the additive form holds
[B, T, S, A] numbers at once, A times as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array

Weights = Mapping[str, Array]

MASKED_ENERGY = -1e9  # the energy of padding


class Memory(NamedTuple):
    """An encoded source: keys to compare with queries, values to read, and a mask of its tokens."""

    keys: Array  # [B, S, A]
    values: Array  # [B, S, M]
    mask: Array  # [B, 1, S], True where the source has a token


class Alignment(NamedTuple):
    """The attention of each target token over the source tokens."""

    source: list[str]  # the tokens as text, with the newline that ends them
    target: list[str]
    shares: np.ndarray  # [T, S], attention weights; each row sums to one


class Attention(NamedTuple):
    """One kind of attention."""

    shapes: Callable[[int, int], dict[str, tuple[int, ...]]]  # of its weights, from H and M
    energies: Callable[[Weights, Array, Array], Array]  # weights, queries [B, T, H], keys [B, S, A] -> [B, T, S]


def _dot_shapes(hidden: int, memory: int) -> dict[str, tuple[int, ...]]:
    return {"attention.key": (hidden, memory)}


def _additive_shapes(hidden: int, memory: int) -> dict[str, tuple[int, ...]]:
    further = {"attention.query": (hidden, hidden), "attention.score": (1, hidden)}
    return {**_dot_shapes(hidden, memory), **further}


def _dot(weights: Weights, queries: Array, keys: Array) -> Array:
    return arrays.inner_products(queries, keys) * keys.shape[-1] ** -0.5


def _additive(weights: Weights, queries: Array, keys: Array) -> Array:
    sums = arrays.project(queries, weights["attention.query"])[:, :, None] + keys[:, None]
    return arrays.project(arrays.tanh(sums), weights["attention.score"])[..., 0]


ATTENTIONS: dict[str, Attention] = {
    "dot": Attention(_dot_shapes, _dot),
    "additive": Attention(_additive_shapes, _additive),
}


def remember(weights: Weights, values: Array, lengths: Array) -> Memory:
    """Make a memory of the encoder's outputs [B, S, M] and the lengths [B]."""
    mask = arrays.positions(values.shape[1], values)[None, :] < lengths[:, None]
    return Memory(arrays.project(values, weights["attention.key"]), values, mask[:, None])


def attend(kind: str, weights: Weights, queries: Array, memory: Memory) -> tuple[Array, Array]:
    """Attend to a memory with queries [B, T, H]: contexts [B, T, M] and attention weights [B, T, S]."""
    energies = ATTENTIONS[kind].energies(weights, queries, memory.keys)
    masked = arrays.zeros((1, 1, 1), energies) + MASKED_ENERGY
    shares = arrays.shares_in_order(arrays.where(memory.mask, energies, masked))
    return arrays.weighted_sums(shares, memory.values), shares
