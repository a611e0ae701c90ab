"""A linear model of a text's n-grams, whose logits are added to those of a classifier's network.

It is the strongest simple classifier: TF-IDF weights of words and of parts of words, each group scaled to length one,
times a weight for each label. Alone it is hard to beat on short texts and on few of them; the network adds what depends
on the order of words. One of two labels has one column of weights, and the logits of the two are opposite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.text_ngrams import SECOND_GROUP, NGrams, count_ngrams, portions

PREFIX = "linear."
FEW_COLUMNS = 8  # of weights, which are summed one after the other
KEYS, IDF = PREFIX + "keys", PREFIX + "idf"

Floats = NDArray[np.float32]


class Vocabulary:
    """The n-grams of a model, each with its inverse document frequency."""

    def __init__(self, kind: str, keys: NDArray[np.uint32], idf: Floats) -> None:
        """`keys` [F] ascend; `idf` [F] are their weights."""
        self.kind, self.keys, self.idf = kind, keys, idf

    def weigh(self, found: NGrams, texts: int) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats]:
        """The known n-grams of a number of texts: the text, the index in the vocabulary, and the TF-IDF weight."""
        known, indices = self.look_up(found.keys)
        owner, counts = found.texts[known], found.counts[known]
        weights = self.idf[indices]
        repeated = np.flatnonzero(counts > 1)
        weights[repeated] *= 1 + np.log(counts[repeated], dtype=np.float32)
        group = 2 * owner + (self.keys[indices] >= SECOND_GROUP)
        norms = np.sqrt(np.bincount(group, weights**2, 2 * texts))
        return owner, indices, (weights / norms[group]).astype(np.float32)

    def look_up(self, keys: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of some keys [M] are in the vocabulary, as indices [K], and their indices in the vocabulary [K].

        Keys are hashes, so the leading bits of a key tell about where it is: that is five times as fast as bisection.
        """
        if not len(self.keys):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        last = len(self.keys) - 1
        indices = np.minimum(self._firsts[keys >> self._shift], last)
        behind = np.flatnonzero(self.keys[indices] < keys)
        while len(behind):
            behind = behind[indices[behind] < last]
            indices[behind] += 1
            behind = behind[self.keys[indices[behind]] < keys[behind]]
        known = np.flatnonzero(self.keys[indices] == keys)
        return known, indices[known]

    @cached_property
    def _shift(self) -> np.uint32:
        """By how many bits keys are shifted, so that their leading bits have about as many values as there are keys."""
        return np.uint32(32 - len(self.keys).bit_length())

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """The index of the first key with at least these leading bits."""
        counts = np.bincount(self.keys >> self._shift, minlength=1 << len(self.keys).bit_length())
        return np.concatenate([np.zeros(1, np.int64), counts.cumsum()[:-1]])


@dataclass(frozen=True)
class LinearModel:
    """The weights and the bias of each label, for the n-grams of a vocabulary."""

    vocabulary: Vocabulary
    weight: Floats  # [F, C]; for one of two labels a text [F, 1], the difference of the second and the first
    bias: Floats  # [C]

    @classmethod
    def of(cls, weights: Mapping[str, Any], kind: str | None) -> LinearModel | None:
        """The linear model among a classifier's weights, or None."""
        if kind in (None, "none") or PREFIX + "weight" not in weights:
            return None
        names = ("keys", "idf", "weight", "bias", "share")
        keys, idf, weight, bias, share = (np.asarray(weights[PREFIX + name]) for name in names)
        return cls(Vocabulary(kind, keys, idf), weight * share, bias * share)

    def weights(self, share: float = 1.0) -> dict[str, np.ndarray]:
        """The arrays that `of` reads, which multiplies weights and bias by `share`."""
        arrays = {"keys": self.vocabulary.keys, "idf": self.vocabulary.idf, "weight": self.weight, "bias": self.bias}
        return {PREFIX + name: value for name, value in arrays.items()} | {
            PREFIX + "share": np.array([share], np.float32)
        }

    def logits(self, texts: Sequence[str]) -> Floats:
        """The logits [N, C] of texts."""
        sums = [np.zeros((0, self.weight.shape[1]), np.float32), *map(self._sums, portions(texts))]
        return self.by_label(np.concatenate(sums)) + self.bias

    def _sums(self, texts: Sequence[str]) -> Floats:
        """The summed weights of the n-grams of texts [N, columns of `weight`]."""
        owner, indices, values = self.vocabulary.weigh(count_ngrams(texts, self.vocabulary.kind), len(texts))
        sums = np.empty((len(texts), self.weight.shape[1]), np.float32)
        if sums.shape[1] <= FEW_COLUMNS:
            for column, weights in enumerate(self.weight.T):
                sums[:, column] = np.bincount(owner, weights[indices] * values, len(texts))
            return sums
        bounds = np.searchsorted(owner, np.arange(len(texts) + 1)).tolist()
        for (start, end), row in zip(pairwise(bounds), sums, strict=True):
            row[:] = (self.weight[indices[start:end]] * values[start:end, None]).sum(0)
        return sums

    def by_label(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Sums of weights, as columns of `weight`, for each label [N, C]."""
        return sums if sums.shape[1] == len(self.bias) else np.hstack([-sums, sums]) * np.float32(0.5)


def network_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """A classifier's weights without those of its linear model."""
    return {name: value for name, value in weights.items() if not name.startswith(PREFIX)}


def weight_shapes(ngrams: int, labels: int, *, several: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays that `LinearModel.of` reads; with `several`, a text has any number of labels."""
    columns = 1 if labels == 2 and not several else labels
    shapes = {"idf": (ngrams,), "weight": (ngrams, columns), "bias": (labels,), "share": (1,)}
    return {KEYS: (ngrams,)} | {PREFIX + name: shape for name, shape in shapes.items()}


def check_keys(weights: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless the keys of n-grams ascend, as `Vocabulary.look_up` needs them, and each counts."""
    keys, idf = weights.get(KEYS), weights.get(IDF)
    if keys is not None and not (keys[1:] > keys[:-1]).all():
        raise ValueError(f"the keys in {KEYS} do not ascend")
    if idf is not None and not (idf > 0).all():
        raise ValueError(f"a weight in {IDF} is not positive")
