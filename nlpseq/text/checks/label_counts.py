"""What is counted in labelled texts, in one pass and in constant memory.

The texts are not kept, only a hash of each, its label and its line: 24 bytes, in a temporary file if there are many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

import numpy as np

from nlpseq.text.checks.spill import HashedRows, Rows, sorted_parts
from nlpseq.text.tables.label_sets import label_set

LONG_TEXT = 20_000  # characters
MOST_COUNTED = 100_000  # different labels; no training takes as many
AT_ONCE = 1 << 14  # texts
_OF_A_FILE = 1 << 40  # lines: more than any file has


class Places:
    """The number of texts that have a property, and the place of the first: its file and line in one number."""

    def __init__(self) -> None:
        self.count = 0
        self.first = 0

    @property
    def line(self) -> int:
        """The line of the first in its file; 0 if the text is a whole file."""
        return self.first % _OF_A_FILE

    def add(self, place: int, count: int = 1) -> None:
        """Count texts of which the first is at `place`."""
        self.first = min(self.first, place) if self.count else place
        self.count += count


class LabelCounts:
    """The counts of labelled texts that are added one by one, as `nlpseq.text.tables.labelled` adds them."""

    def __init__(self, several: bool | None = None) -> None:
        self.several = several  # whether a text has any number of labels
        self.blank = 0
        self.notes: list[str] = []
        self.characters = 0
        self.unlabelled = Places()
        self.long = Places()
        self.hashes = HashedRows(3)  # of text and label, and the place
        self.uncounted = 0  # texts with other labels than the first MOST_COUNTED different ones
        self._labels: dict[str, Places] = {}
        self._origins: dict[str, str] = {}  # of each label's first text
        self._length = 0
        self._files: dict[str, int] = {}
        self._waiting: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return self._length

    @property
    def counts(self) -> Counter[str]:
        """The number of texts of each label, in the order of each label's first text."""
        return Counter({label: places.count for label, places in self._labels.items()})

    def add(self, label: str, text: str, origin: str) -> None:
        """Count a text. Raises RunError if the temporary file cannot be written."""
        file, _, number = origin.rpartition(":")
        is_line = number.isdecimal()
        place = self._files.setdefault(file, len(self._files)) * _OF_A_FILE + int(number) if is_line else 0
        self._length += 1
        self.characters += len(text)
        if not label:
            self.unlabelled.add(place)
        for single in label_set(label) if self.several else [label]:
            self._count(single, place, origin)
        if len(text) > LONG_TEXT:
            self.long.add(place)
        self._waiting.append((hash(text.strip()), hash(label), place))
        if len(self._waiting) == AT_ONCE:
            self.finish()

    def _count(self, label: str, place: int, origin: str) -> None:
        if label not in self._labels and len(self._labels) < MOST_COUNTED:
            self._labels[label] = Places()
            self._origins[label] = origin
        if label in self._labels:
            self._labels[label].add(place)
        else:
            self.uncounted += 1

    def finish(self) -> None:
        """Take the hashes that wait. Raises RunError if the temporary file cannot be written."""
        self.hashes.add(np.array(self._waiting, np.int64).reshape(-1, 3))
        self._waiting.clear()

    def origin(self, labels: Container[str]) -> str:
        """The origin of the first text that has one of the labels."""
        return next(origin for label, origin in self._origins.items() if label in labels)

    def first_line(self, label: str) -> int:
        """The line of a label's first text."""
        return self._labels[label].line


class EqualTexts:
    """Texts that were there before, and texts that are among others too."""

    def __init__(self) -> None:
        self.same = Places()  # with the same label
        self.other = Places()  # with another label
        self.shared = Places()  # texts of the others that are here; the first here

    def add(self, ours: Rows, theirs: Rows) -> None:
        """Compare rows of the hashes of text and label and the place [N, 3], sorted by the hash of the text."""
        texts, labels, places = ours.T
        if not len(texts):
            return
        is_first = np.append(True, texts[1:] != texts[:-1])
        agrees = labels == labels[is_first][np.cumsum(is_first) - 1]
        for tally, is_counted in ((self.same, agrees & ~is_first), (self.other, ~agrees)):
            if is_counted.any():
                tally.add(int(places[is_counted].min()), int(is_counted.sum()))
        shared = np.isin(theirs[:, 0], texts)
        if shared.any():
            self.shared.add(int(places[np.isin(texts, theirs[:, 0])].min()), int(shared.sum()))


def compare(ours: LabelCounts, theirs: LabelCounts) -> EqualTexts:
    """Look for equal texts. Raises RunError if the temporary file cannot be written."""
    found = EqualTexts()
    for side in (ours, theirs):
        side.finish()
    for parts in sorted_parts(ours.hashes, theirs.hashes):
        found.add(*parts)
    return found
