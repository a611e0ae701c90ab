"""The labels of texts that have any number of them, in files: the numbers of all labels, and where each text starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.array_files import spans
from nlpseq.text.tables.label_sets import label_set
from nlpseq.text.tables.stored_labelled import LabelledPart
from nlpseq.training.data.encoding import Encoded
from nlpseq.training.data.sentences import Sentences, SentenceWriter

AT_ONCE = 1 << 12  # texts


class LabelSets:
    """The labels of each text as a row of ones and zeros; only the rows that are asked for are in memory."""

    def __init__(self, sets: Sentences, count: int) -> None:
        """`sets` holds the numbers of each text's labels, and `count` is the number of different labels C."""
        self._sets, self.count = sets, count

    @classmethod
    def open(cls, folder: Path, name: str, count: int) -> LabelSets:
        """The labels that `write_label_sets` wrote. Raises OSError or ValueError if they are gone or damaged."""
        return cls(Sentences.open(folder, name).check(name, count), count)

    def __len__(self) -> int:  # of texts
        return len(self._sets.lengths)

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        """The labels [K, C] of the texts of a slice or at some indices: 1 for each that applies."""
        indices = np.arange(len(self))[chosen] if isinstance(chosen, slice) else chosen
        starts, ends = spans(self._sets.starts, indices, np.full(len(indices), 2)).reshape(-1, 2).T
        labels = spans(self._sets.ids, starts, ends - starts)
        rows = np.zeros((len(indices), self.count), np.uint8)
        rows[np.repeat(np.arange(len(indices)), ends - starts), labels] = 1
        return rows


def write_label_sets(folder: Path, name: str, texts: LabelledPart, labels: Sequence[str]) -> None:
    """Write the labels of texts as indices into the list `labels`. Raises RunError if that fails."""
    index_of = {label: index for index, label in enumerate(labels)}
    with SentenceWriter(folder, name, len(labels)) as file:
        for encoded in _encoded(texts, index_of):
            file.append(encoded)


def _encoded(texts: LabelledPart, index_of: dict[str, int]) -> Iterator[Encoded]:
    labels = texts.labels
    while rows := list(islice(labels, AT_ONCE)):
        sets = [[index_of[label] for label in label_set(row)] for row in rows]
        lengths = np.array([len(indices) for indices in sets], np.int64)
        numbers: NDArray[Any] = np.array([index for indices in sets for index in indices], np.int64)
        yield Encoded(numbers, lengths)
