"""Weights of evidence for the texts that are trained on, each from the other folds.

A weight counted on a text itself knows the text's label, and a network would learn to trust it far too much. So the
texts are dealt into folds, and a text is read with weights counted on all folds but its own; new texts, and those of
validation, are read with weights counted on all. A fold is a stretch of the corpus, since texts that stand together are
often of one thing (a film, an author), and such weights would know it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpseq.models.evidence import evidence_rows, table_rows, weigh
from nlpseq.training.data.labels import LabelledCorpus

FOLDS = 5


class CrossFitted:
    """The tables of a corpus: one for each fold, and one of all."""

    def __init__(
        self,
        corpus: LabelledCorpus,
        longest: int,
        place: Callable[[NDArray[np.float32]], Tensor] = torch.from_numpy,
    ) -> None:
        """`place` takes the tables [K, R, C] to the device that reads them."""
        self.longest = longest
        self.vocabulary_size = corpus.tokeniser.size
        counts = _count(corpus, longest)
        whole = counts.sum(0)
        self.table = weigh(whole)  # [R, C]
        self._tables = place(np.stack([weigh(whole - one) for one in counts]))  # [K, R, C]
        self.folds = _folds(corpus.train.labels)  # [N], of the texts of training

    def of(self, ids: Tensor, folds: Tensor) -> Tensor:
        """The weights [T, B, O*C] for texts `ids` [T, B] of the folds `folds` [B]."""
        rows = evidence_rows(ids, self.longest, self.vocabulary_size)
        return torch.cat([self._tables[folds, one] for one in rows], -1)


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each text [N]: each label's texts, in their order, are cut into as many stretches."""
    folds = np.empty_like(labels)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        folds[places] = np.arange(len(places)) * FOLDS // len(places)
    return folds


def _count(corpus: LabelledCorpus, longest: int) -> NDArray[np.int64]:
    """In how many texts of each fold and label each n-gram is [K, R, C]."""
    texts, size, labels = corpus.train.texts, corpus.tokeniser.size, len(corpus.labels)
    rows = table_rows(longest, size)
    owner = np.repeat(np.arange(len(corpus.train)), texts.lengths)
    found = evidence_rows(texts.ids.astype(np.int64)[:, None], longest, size)
    begins = np.arange(len(texts.ids)) - texts.starts[owner]  # tokens before each in its text
    folds = _folds(corpus.train.labels)
    counts = np.zeros(FOLDS * rows * labels, np.int64)
    for order, row in enumerate(found):
        whole = begins >= order
        keys = np.unique(owner[whole] * rows + row[whole, 0])  # an n-gram counts once in a text
        text, place = keys // rows, keys % rows
        cells = (folds[text] * rows + place) * labels + corpus.train.labels[text]
        counts += np.bincount(cells, minlength=len(counts))
    return counts.reshape(FOLDS, rows, labels)
