"""A linear model of a text's n-grams, whose logits are added to those of a classifier's network.

It is the strongest simple classifier: TF-IDF weights of words and parts of words, each group scaled to length one, times
a weight for each label. Alone it is hard to beat on short texts and on few of them; the network adds what depends on
the order of words. Two labels have one column of weights, the logit of the second one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.text_ngrams import SECOND_GROUP, NGrams, count_ngrams, portions

PREFIX = "linear."
PRODUCTS_AT_ONCE = 1 << 21

Floats = NDArray[np.float32]


class Vocabulary:
    """The n-grams of a model, each with its inverse document frequency."""

    def __init__(self, kind: str, keys: NDArray[np.uint32], idf: Floats) -> None:
        """`keys` [F] ascend; `idf` [F] are their weights."""
        self.kind, self.keys, self.idf = kind, keys, idf

    def weigh(self, found: NGrams, texts: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """The known n-grams of a number of texts: the text, the index in the vocabulary, and the TF-IDF weight."""
        if not len(self.keys):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        indices = np.minimum(np.searchsorted(self.keys, found.keys), len(self.keys) - 1)
        known = self.keys[indices] == found.keys
        owner, indices = found.texts[known], indices[known]
        weights = (1 + np.log(found.counts[known])) * self.idf[indices]
        group = 2 * owner + (self.keys[indices] >= SECOND_GROUP)
        norms = np.sqrt(np.bincount(group, weights**2, 2 * texts))
        return owner, indices, (weights / norms[group]).astype(np.float32)


@dataclass(frozen=True)
class LinearModel:
    """The weights and the bias of each label, for the n-grams of a vocabulary."""

    vocabulary: Vocabulary
    weight: Floats  # [F, C], or [F, 1] for two labels
    bias: Floats  # [C], or [1]

    @classmethod
    def of(cls, weights: Mapping[str, np.ndarray], kind: str | None) -> LinearModel | None:
        """The linear model among a classifier's weights, or None."""
        if kind is None or PREFIX + "weight" not in weights:
            return None
        keys, idf, weight, bias = (np.asarray(weights[PREFIX + name]) for name in ("keys", "idf", "weight", "bias"))
        return cls(Vocabulary(kind, keys, idf), weight, bias)

    def weights(self, share: float = 1.0) -> dict[str, np.ndarray]:
        """The arrays that `of` reads; the logits are multiplied by `share`."""
        arrays = {"keys": self.vocabulary.keys, "idf": self.vocabulary.idf}
        arrays |= {"weight": self.weight * np.float32(share), "bias": self.bias * np.float32(share)}
        return {PREFIX + name: value for name, value in arrays.items()}

    def logits(self, texts: Sequence[str]) -> Floats:
        """The logits [N, C] of texts; of two labels [N, 2], which sum to zero."""
        columns = self.weight.shape[1]
        logits = np.empty((len(texts), columns), np.float32)
        start = 0
        for portion in portions(texts, max(1, PRODUCTS_AT_ONCE // (8 * columns))):
            owner, indices, values = self.vocabulary.weigh(count_ngrams(portion, self.vocabulary.kind), len(portion))
            sums = np.zeros((len(portion), columns), np.float32)
            if len(owner):
                firsts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
                sums[owner[firsts]] = np.add.reduceat(self.weight[indices] * values[:, None], firsts, 0)
            logits[start : start + len(portion)] = sums + self.bias
            start += len(portion)
        return both(logits)


def both(logits: Floats) -> Floats:
    """Logits [N, C] as they are; of one column [N, 1], those of two labels [N, 2]."""
    return np.hstack([-logits, logits]) / 2 if logits.shape[1] == 1 else logits
