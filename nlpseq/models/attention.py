"""Attention over the positions of a source text.

    dot        the scaled product of a query with a projected key (Luong et al., 2015; Vaswani et al., 2017)
    additive   v . tanh(W q + U k) (Bahdanau et al., 2015)

Everything is batch-major, [B, ..], so that any number of queries can look at one source: the steps of a target text in
training, the hypotheses of a beam in decoding. The additive form holds [B, T, S, A] numbers at once, A times as many as
the dot form, which is why that is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells.initial import normal

Weights = Mapping[str, Array]

FORBIDDEN = -1e9  # the energy of a position that is none


class Memory(NamedTuple):
    """What a source offers: keys to compare with queries, values to read, and which positions there are."""

    keys: Array  # [B, S, A]
    values: Array  # [B, S, M]
    mask: Array  # [B, 1, S], True where the source has a token


class Alignment(NamedTuple):
    """What each token of a target looked at."""

    source: list[str]  # the tokens, spelled out, with the newline that ends them
    target: list[str]
    shares: np.ndarray  # [T, S], the sum of each row is one


class Attention(NamedTuple):
    """One kind of attention: its weights, and the energies [B, T, S] of queries [B, T, H] and keys [B, S, A]."""

    initial_weights: Callable[[np.random.Generator, int, int], dict[str, np.ndarray]]  # generator, H, M
    energies: Callable[[Weights, Array, Array], Array]


def _keys(generator: np.random.Generator, hidden: int, memory: int) -> dict[str, np.ndarray]:
    return {"attention.key": normal(generator, hidden, memory)}


def _additive_weights(generator: np.random.Generator, hidden: int, memory: int) -> dict[str, np.ndarray]:
    return {
        **_keys(generator, hidden, memory),
        "attention.query": normal(generator, hidden, hidden),
        "attention.score": normal(generator, 1, hidden),
    }


def _dot(weights: Weights, queries: Array, keys: Array) -> Array:
    return queries @ keys.swapaxes(1, 2) * keys.shape[-1] ** -0.5


def _additive(weights: Weights, queries: Array, keys: Array) -> Array:
    sums = arrays.project(queries, weights["attention.query"])[:, :, None] + keys[:, None]
    return arrays.project(arrays.tanh(sums), weights["attention.score"])[..., 0]


ATTENTIONS: dict[str, Attention] = {
    "dot": Attention(_keys, _dot),
    "additive": Attention(_additive_weights, _additive),
}


def remember(weights: Weights, values: Array, lengths: Array) -> Memory:
    """A source's outputs [B, S, M] and lengths [B] as a memory."""
    mask = arrays.positions(values.shape[1], values)[None, :] < lengths[:, None]
    return Memory(arrays.project(values, weights["attention.key"]), values, mask[:, None])


def attend(kind: str, weights: Weights, queries: Array, memory: Memory) -> tuple[Array, Array]:
    """What queries [B, T, H] read of a memory: contexts [B, T, M], and the shares [B, T, S] of its positions."""
    energies = ATTENTIONS[kind].energies(weights, queries, memory.keys)
    forbidden = arrays.zeros((1, 1, 1), energies) + FORBIDDEN
    shares = arrays.softmax(arrays.where(memory.mask, energies, forbidden))
    return shares @ memory.values, shares
