"""Cross-fitted weights of evidence for the training texts: each text's weights are counted on the other folds.

A weight that is counted on a text itself knows the text's label, and a network would learn to trust it far too much. So
the texts are divided into folds, and each text is read with weights counted on all folds but its own. Validation texts
and new texts are read with weights counted on all folds. A fold is a stretch of the corpus, because adjacent texts are
often about one thing (a film, an author), and their weights would know it.

If a text may have several labels, the stretches are those of all texts, and each label's texts are weighed against the
texts without it.

The texts are counted some at a time, so memory depends on the size of the tables alone: 40 bytes for each row and label
while they are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpseq.models.evidence import evidence_rows, table_rows, weigh_each
from nlpseq.models.evidence import weigh as weigh_all
from nlpseq.models.text_ngrams import run_starts
from nlpseq.training.data.labels import LabelledCorpus, TokenisedTexts
from nlpseq.training.data.sentences import Sentences
from nlpseq.training.data.set_evidence import Stretches, for_each_label

FOLDS = 5
TEXTS_AT_ONCE, TOKENS_AT_ONCE = 1 << 16, 1 << 19  # while they are counted


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
        several, texts = corpus.several, len(corpus.train)
        self.folds = Stretches(texts, FOLDS) if several else Folds(corpus.train, corpus.label_counts)
        weigh = weigh_each if several else weigh_all
        counts = _count(corpus, longest, self.folds)
        whole = counts.sum(0)
        self.table = weigh(whole)  # [R, C]
        self._tables = place(np.stack([weigh(whole - fold) for fold in counts]))  # [K, R, C]

    def of(self, ids: Tensor, folds: Tensor) -> Tensor:
        """The weights [T, B, O*C] of texts `ids` [T, B] that belong to the folds `folds` [B]."""
        rows = evidence_rows(ids, self.longest, self.vocabulary_size)
        return torch.cat([self._tables[folds, order_rows] for order_rows in rows], -1)


class Folds:
    """The fold of each training text: the texts of each label, in their order, are cut into FOLDS stretches.

    Only the ends of the stretches are kept, so memory does not grow with the number of texts.
    """

    def __init__(self, texts: TokenisedTexts, counts: NDArray[np.int64]) -> None:
        """`counts` [C] are the numbers of texts of each label."""
        self._texts = texts
        self._starts = np.full((len(counts), FOLDS), len(texts))  # the index of the first text of each label and fold
        seen = np.zeros_like(counts)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            labels = texts.label_file[start : start + TEXTS_AT_ONCE]
            for label in np.unique(labels):
                indices = np.flatnonzero(labels == label)
                folds = (seen[label] + np.arange(len(indices))) * FOLDS // counts[label]
                firsts, places = np.unique(folds, return_index=True)
                self._starts[label, firsts] = np.minimum(self._starts[label, firsts], start + indices[places])
                seen[label] += len(indices)

    def __getitem__(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """The folds [B] of the texts at the indices `chosen` [B]."""
        return self.of(chosen, self._texts.label_file[chosen])

    def of(self, chosen: NDArray[np.int64], labels: NDArray[Any]) -> NDArray[np.int64]:
        """The same, with the texts' labels [B]."""
        starts = self._starts[labels]
        folds: NDArray[np.int64] = np.where(chosen[:, None] >= starts, np.arange(FOLDS), 0).max(1)
        return folds


def _count(corpus: LabelledCorpus, longest: int, folds: Folds | Stretches) -> NDArray[np.int64]:
    """The number of texts [K, R, C] of each fold and label that contain each n-gram.

    If a text may have several labels, one more label counts all texts [K, R, C + 1].
    """
    rows, labels = table_rows(longest, corpus.tokeniser.size), len(corpus.labels) + corpus.several
    counts = np.zeros(FOLDS * rows * labels, np.int64)
    for first, last in _spans(corpus.train.texts):
        own_labels = corpus.train.label_file[first:last]
        own_folds = folds.of(np.arange(first, last), own_labels)
        for text, row in _ngrams(corpus.train.texts, first, last, longest, corpus.tokeniser.size):
            if corpus.several:
                text, row, label = for_each_label(own_labels, text, row)
            else:
                label = own_labels[text].astype(np.int64)
            cells = np.sort((own_folds[text] * rows + row) * labels + label)
            starts = run_starts(cells)
            counts[cells[starts]] += np.diff(starts, append=len(cells))
    return counts.reshape(FOLDS, rows, labels)


def _spans(texts: Sentences) -> Iterator[tuple[int, int]]:
    """Spans of texts with about TOKENS_AT_ONCE tokens each."""
    for start in range(0, len(texts.lengths), TEXTS_AT_ONCE):
        pieces = texts.lengths[start : start + TEXTS_AT_ONCE].cumsum() // TOKENS_AT_ONCE
        ends = [*(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(pieces)]
        yield from pairwise([start, *(start + end for end in ends)])


def _ngrams(
    texts: Sentences, first: int, last: int, longest: int, vocabulary_size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The n-grams of each length in some texts: the text, counted from `first`, and the table row, each once."""
    starts = texts.starts[first : last + 1]
    ids = texts.ids[starts[0] : starts[-1]].astype(np.int64)
    owner = np.repeat(np.arange(last - first), np.diff(starts))
    position = np.arange(len(ids)) - (starts[:-1] - starts[0])[owner]  # of each token in its text
    rows = table_rows(longest, vocabulary_size)
    for order, order_rows in enumerate(evidence_rows(ids[:, None], longest, vocabulary_size)):
        complete = position >= order  # the n-gram starts in the same text
        keys = np.sort(owner[complete] * rows + order_rows[complete, 0])
        keys = keys[run_starts(keys)]  # an n-gram counts once in a text
        yield keys // rows, keys % rows
