"""An output layer for many texts at once, whose logits come with the maxima and sums that a search needs.

A search needs the normaliser of each row and its best few tokens. The compiled layer finds both chunk by chunk while it
computes the logits, so that they are not all read again. Without it NumPy does the same in four passes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.native.extension import Unavailable
from nlpseq.native.matrix import Packed, Values
from nlpseq.native.product import CHUNK

ROWS = 8  # rows of logits that fit in the cache together
NEVER = -1e30  # the logit of an output that pads the vocabulary


class Logits(NamedTuple):
    """Logits of the next token of R texts, with their maxima and sums."""

    values: Values  # [R, V]
    maxima: Values  # [R, C], the largest of each chunk of the vocabulary
    log_sums: Values  # [R], log(sum(exp(x)))


def summarised(values: Values) -> Logits:
    """Logits [R, V] from another layer, with their maxima and sums."""
    maxima = chunk_maxima(values)
    return Logits(values, maxima, _log_sums(values, maxima.max(-1)))


def chunk_maxima(values: Values) -> Values:
    """The largest of each chunk of logits [.., V] -> [.., C]."""
    size = values.shape[-1]
    even = size // CHUNK * CHUNK
    maxima: Values = values[..., :even].reshape(*values.shape[:-1], -1, CHUNK).max(-1)
    if even < size:
        maxima = np.concatenate([maxima, values[..., even:].max(-1, keepdims=True)], -1)
    return maxima


def _log_sums(values: Values, largest: Values) -> Values:
    """log(sum(exp(x))) of logits [R, V] with known maxima, a few rows at a time so that they stay in the cache."""
    sums = np.empty(largest.shape)
    buffer = np.empty_like(values[:ROWS])
    for start in range(0, len(values), ROWS):
        rows = values[start : start + ROWS]
        exponentials = np.subtract(rows, largest[start : start + ROWS, None], out=buffer[: len(rows)])
        sums[start : start + ROWS] = np.exp(exponentials, out=exponentials).sum(-1)
    return np.log(sums) + largest


class OutputLayer:
    """A matrix [V, E] and a bias [V], as NumPy arrays."""

    def __init__(self, weight: Values, bias: Values) -> None:
        self.weight = weight
        self.bias = bias
        self.packed: Packed | None = None
        with suppress(Unavailable):
            self.packed = Packed(weight, bias, NEVER)

    def __call__(self, features: Values) -> Logits:
        """The logits of features [R, E]."""
        if self.packed is None:
            return summarised(arrays.project(features, self.weight, self.bias))
        return Logits(*self.packed.multiply_with_sums(features))
