"""What the counts of weights of evidence need if a text may have several labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.array_files import spans

Numbers = NDArray[np.int64]


class Stretches:
    """The fold of each training text: all texts, in their order, are cut into stretches."""

    def __init__(self, texts: int, folds: int) -> None:
        self._texts, self._folds = texts, folds

    def __getitem__(self, chosen: Numbers) -> Numbers:
        """The folds [B] of the texts at the indices `chosen` [B]."""
        folds: Numbers = chosen * self._folds // self._texts
        return folds

    def of(self, chosen: Numbers, labels: NDArray[Any]) -> Numbers:
        """The same; the texts' labels do not matter."""
        return self[chosen]


def for_each_label(flags: NDArray[np.uint8], texts: Numbers, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The pairs of `texts` and `rows` [K] once for each label of the text, and once more for all texts: with the label.

    `flags` [N, C] are the labels of all texts; the label that all texts have is C.
    """
    every = np.concatenate([flags, np.ones((len(flags), 1), np.uint8)], 1)
    counts = every.sum(1, dtype=np.int64)
    labels = np.nonzero(every)[1]
    own = counts[texts]
    return np.repeat(texts, own), np.repeat(rows, own), spans(labels, (counts.cumsum() - counts)[texts], own)
