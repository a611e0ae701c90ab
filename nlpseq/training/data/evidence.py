"""Cross-fitted weights of evidence for the training texts: each text's weights are counted on the other folds.

A weight that is counted on a text itself knows the text's label, and a network would learn to trust it far too much. So
the texts are divided into folds, and each text is read with weights counted on all folds but its own. Validation texts
and new texts are read with weights counted on all folds. A fold is a stretch of the corpus, because adjacent texts are
often about one thing (a film, an author), and their weights would know it.
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
    """The tables of a corpus: one for each fold, counted on the other folds, and one counted on all texts."""

    def __init__(
        self,
        corpus: LabelledCorpus,
        longest: int,
        place: Callable[[NDArray[np.float32]], Tensor] = torch.from_numpy,
    ) -> None:
        """N-grams have up to `longest` tokens; `place` copies the tables [K, R, C] to the device that reads them."""
        self.longest = longest
        self.vocabulary_size = corpus.tokeniser.size
        counts = _count(corpus, longest)
        whole = counts.sum(0)
        self.table = weigh(whole)  # [R, C]
        self._tables = place(np.stack([weigh(whole - fold) for fold in counts]))  # [K, R, C]
        self.folds = _folds(corpus.train.labels)  # [N], of the training texts

    def of(self, ids: Tensor, folds: Tensor) -> Tensor:
        """The weights [T, B, O*C] of texts `ids` [T, B] that belong to the folds `folds` [B]."""
        rows = evidence_rows(ids, self.longest, self.vocabulary_size)
        return torch.cat([self._tables[folds, order_rows] for order_rows in rows], -1)


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each text [N]: the texts of each label, in their order, are cut into FOLDS stretches."""
    folds = np.empty_like(labels)
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        folds[indices] = np.arange(len(indices)) * FOLDS // len(indices)
    return folds


def _count(corpus: LabelledCorpus, longest: int) -> NDArray[np.int64]:
    """The number of texts [K, R, C] of each fold and label that contain each n-gram."""
    texts, size, labels = corpus.train.texts, corpus.tokeniser.size, len(corpus.labels)
    rows = table_rows(longest, size)
    owner = np.repeat(np.arange(len(corpus.train)), texts.lengths)
    rows_by_order = evidence_rows(texts.ids.astype(np.int64)[:, None], longest, size)
    position = np.arange(len(texts.ids)) - texts.starts[owner]  # of each token in its text
    folds = _folds(corpus.train.labels)
    counts = np.zeros(FOLDS * rows * labels, np.int64)
    for order, order_rows in enumerate(rows_by_order):
        complete = position >= order  # the n-gram starts in the same text
        keys = np.unique(owner[complete] * rows + order_rows[complete, 0])  # an n-gram counts once in a text
        text, row = keys // rows, keys % rows
        cells = (folds[text] * rows + row) * labels + corpus.train.labels[text]
        counts += np.bincount(cells, minlength=len(counts))
    return counts.reshape(FOLDS, rows, labels)
