"""Pooling: the outputs over a text become one vector.

    max        the largest value of each unit (Collobert et al., 2011)
    mean       the average
    last       the state after the last step, of each direction
    attention  the average, weighted by attention with a learned query (Yang et al., 2016)

Several may be joined. All ignore padding. With `last`, a recurrent layer must carry its findings over hundreds of
tokens to the end, and needs many batches to learn that; the others read every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nlpseq import arrays
from nlpseq.arrays import Array

Weights = Mapping[str, Array]

MASKED_VALUE = -1e9  # replaces the values of padding


class Outputs(NamedTuple):
    """The outputs of the recurrent layers over a batch of texts."""

    steps: Array  # [T, B, D], zero where padded
    last: Array  # [B, D]
    lengths: Array  # [B]
    evidence: Array | None = None  # [B, K], summed weights of evidence

    @property
    def mask(self) -> Array:
        """[T, B, 1], True where a text has a token."""
        return arrays.active_steps(self.lengths, self.steps.shape[0])[..., None]


def _only_real(outputs: Outputs, values: Array) -> Array:
    """`values` [T, B, ..] at real tokens, and MASKED_VALUE at padding."""
    return arrays.where(outputs.mask, values, arrays.zeros((1, 1, 1), values) + MASKED_VALUE)


def _max(weights: Weights, outputs: Outputs) -> Array:
    return arrays.largest(_only_real(outputs, outputs.steps), 0)


def _mean(weights: Weights, outputs: Outputs) -> Array:
    return arrays.sum_in_order(outputs.steps) / outputs.lengths[:, None]


def _last(weights: Weights, outputs: Outputs) -> Array:
    return outputs.last


def _attention(weights: Weights, outputs: Outputs) -> Array:
    return arrays.sum_in_order(attention_shares(weights, outputs)[..., None] * outputs.steps)


def attention_shares(weights: Weights, outputs: Outputs) -> Array:
    """The weight of each step in the average [T, B]; the weights of a text sum to one."""
    keys = arrays.tanh(arrays.project(outputs.steps, weights["attention.key"], weights["attention.bias"]))
    energies = _only_real(outputs, arrays.project(keys, weights["attention.query"]))[..., 0]
    return arrays.shares_in_order(energies, 0)


POOLINGS: dict[str, Callable[[Weights, Outputs], Array]] = {
    "max": _max,
    "mean": _mean,
    "last": _last,
    "attention": _attention,
}


def weight_shapes(names: Sequence[str], size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of the named poolings; `size` is D, the size of the layers' outputs."""
    if "attention" not in names:
        return {}
    return {"attention.key": (size, size), "attention.bias": (size,), "attention.query": (1, size)}


def pool(weights: Weights, names: Sequence[str], outputs: Outputs) -> Array:
    """One vector [B, D * len(names) + K] for each text."""
    pooled = [POOLINGS[name](weights, outputs) for name in names]
    if outputs.evidence is not None:
        pooled.append(outputs.evidence)
    return pooled[0] if len(pooled) == 1 else arrays.concatenate(pooled)
