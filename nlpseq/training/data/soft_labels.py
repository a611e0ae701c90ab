"""The answers of a teacher to the training texts of a classifier, in a file beside their tokens.

They are computed once, so a run that is continued needs no teacher, and an epoch costs no more than without one. An
answer is a logarithm in 16 bits: of a label's probability, or of its odds if a text may have any number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.array_files import ArrayWriter, StoredArray
from nlpseq.text.progress import Watch, watched_rows
from nlpseq.text.tables.stored_labelled import LabelledPart

AT_ONCE = 1024  # texts
LARGEST = 6e4  # absolute value of a logarithm, which 16 bits can hold


class TextTeacher(Protocol):
    """A classifier, or several, whose answers a student learns."""

    @property
    def labels(self) -> list[str]:
        """All labels C."""

    @property
    def several(self) -> bool:
        """Whether a text may have any number of labels."""

    def label(self, texts: Sequence[str]) -> list[str]:
        """The label of each text, or its labels as `joined_labels` writes them."""

    def answers(self, texts: Sequence[str]) -> NDArray[Any]:
        """The logarithms of probabilities, or of odds, of texts [N, C]."""


class SoftLabels:
    """The answers to the training texts; only the rows that are asked for are in memory."""

    def __init__(self, path: Path, count: int) -> None:
        """Open a file for `count` labels C. Raises OSError or ValueError if it is gone or damaged."""
        self._values, self.count = StoredArray(path), count
        if len(self._values) % count:
            raise ValueError(f"{path.name} is not for {count} labels")

    def __len__(self) -> int:  # of texts
        return len(self._values) // self.count

    def __getitem__(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """The answers [K, C] to the texts at some indices."""
        found = self._values.spans(chosen * self.count, np.full(len(chosen), self.count))
        return found.reshape(-1, self.count).astype(np.float32)


def write_soft_labels(folder: Path, texts: LabelledPart, teacher: TextTeacher, watch: Watch) -> None:
    """Ask the teacher about texts, and write its answers into a folder. Raises RunError if that fails."""
    rows = watched_rows(texts.texts, watch, "asking the teacher", len(texts))
    with ArrayWriter(_path(folder), np.float16) as file:
        while some := list(islice(rows, AT_ONCE)):
            file.append(teacher.answers(some).clip(-LARGEST, LARGEST).ravel())


def open_soft_labels(folder: Path, count: int) -> SoftLabels | None:
    """What `write_soft_labels` wrote, for `count` labels, or None if there is no such file."""
    path = _path(folder)
    return SoftLabels(path, count) if path.exists() else None


def _path(folder: Path) -> Path:
    return folder / "train.soft.npy"
