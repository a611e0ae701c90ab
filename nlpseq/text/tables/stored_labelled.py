"""Labelled texts in temporary files: a table of any size, split as `labelled_parts.split` splits it.

Beside each text are the number of its label and its rank, a hash of 64 bits. What compares texts with each other
compares ranks: which texts are held out, and which are there twice. So memory grows by less than a byte for each text.
The cost is that ranks are read up to PARTS times, and that two different texts might have one rank: among 100 million
texts that happens in one corpus of 3,700.

If a text may have several labels, they are kept beside it in one line, and a hash of them is their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain, compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.signature import rows_sha256
from nlpseq.text.tables.label_sets import label_set
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import Texts, add_labelled, check_known, checked_labels
from nlpseq.text.tables.labelled_parts import candidates, held_out_count, text_rank, without_only_texts
from nlpseq.text.tables.stored_rows import StoredNumbers, StoredTexts

PARTS = 64  # of all ranks, at most, which are compared one part after the other,
PART = 1 << 16  # with at least this number of texts
SET_BITS = 33  # of a hash of labels are left out, so that it fits where a label's number does

Numbers = NDArray[np.int64]
Ranks = NDArray[np.uint64]


class Block(NamedTuple):
    """Some texts in a row: their indices, label numbers and ranks, each [K]."""

    indices: Numbers
    labels: Numbers
    ranks: Ranks

    def chosen(self, which: NDArray[np.bool_] | Numbers) -> Block:
        """Some of them."""
        return Block(self.indices[which], self.labels[which], self.ranks[which])


class StoredLabelled:
    """Labelled texts in temporary files, and the number of rows dropped because a side was blank.

    Label numbers count the labels in the order of their first texts. `notes` tell how the tables were read. `several`
    is whether a text has any number of labels.
    """

    def __init__(self, folder: Path, several: bool | None = None) -> None:
        self.folder, self.several = folder, several
        self.texts = StoredTexts(folder)
        self._sets: StoredTexts | None = None  # the labels of each text, if there are several
        self.blank = 0
        self.notes: list[str] = []
        self._origins: dict[str, str] = {}  # of each label's first text
        self._numbers: dict[str, int] = {}
        self._counts: list[int] = []
        self._labels = StoredNumbers(folder, "i")
        self._ranks = StoredNumbers(folder, "Q")

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, label: str, text: str, origin: str) -> None:
        """Add a text. Raises RunError if it cannot be written."""
        for single in label_set(label) if self.several else [label]:
            number = self._numbers.setdefault(single, len(self._numbers))
            if number == len(self._counts):
                self._counts.append(0)
                self._origins[single] = origin
            self._counts[number] += 1
        self.texts.append(text)
        if self.several:
            number = text_rank(label) >> SET_BITS
            if self._sets is None:
                self._sets = StoredTexts(self.folder)
            self._sets.append(label)
        self._labels.append(number)
        self._ranks.append(text_rank(text))

    @property
    def labels(self) -> Iterator[str]:
        """The label of each text, or its labels as `joined_labels` writes them. Raises RunError as `blocks`."""
        if self._sets is not None:
            return iter(self._sets)
        names = self.names
        return (names[number] for block in self.blocks() for number in block.labels.tolist())

    @property
    def names(self) -> list[str]:
        """The labels by their numbers."""
        return list(self._numbers)

    @property
    def counts(self) -> Counter[str]:
        """The number of texts of each label, in the order of each label's first text."""
        return Counter(dict(zip(self._numbers, self._counts, strict=True)))

    def origin(self, labels: Container[str]) -> str:
        """The origin of the first text that has one of the labels."""
        return next(origin for label, origin in self._origins.items() if label in labels)

    def blocks(self) -> Iterator[Block]:
        """All texts in blocks. Raises RunError if they cannot be read."""
        start = 0
        for labels, ranks in zip(self._labels.blocks(), self._ranks.blocks(), strict=True):
            yield Block(np.arange(start, start + len(labels)), labels.astype(np.int64), ranks)
            start += len(labels)

    def held_out(self) -> Numbers:
        """The indices of the texts that `labelled_parts.split` holds out. Raises CorpusError as that function does."""
        return self._held_out_of_sets() if self.several else self._held_out_of_labels()

    def _held_out_of_sets(self) -> Numbers:
        count = candidates(len(self))
        smallest = _joined([])
        for block in self.blocks():
            both = _joined([smallest, block])
            smallest = both.chosen(np.lexsort((both.indices, both.ranks))[:count])
        is_smallest = np.zeros(len(self), bool)
        is_smallest[smallest.indices] = True
        sets = dict(zip(np.sort(smallest.indices).tolist(), compress(self.labels, is_smallest), strict=True))
        indices = smallest.indices.tolist()
        chosen = without_only_texts(indices, [label_set(sets[index]) for index in indices], self)
        return np.sort(np.array(chosen, np.int64))

    def _held_out_of_labels(self) -> Numbers:
        """The indices of the texts of each label with the smallest ranks."""
        most = np.array([held_out_count(count, len(self)) for count in self._counts])
        limits = np.full(len(most), np.iinfo(np.uint64).max, np.uint64)  # a higher rank is not among the smallest
        smallest = _joined([])
        for block in self.blocks():
            further = block.chosen(block.ranks <= limits[block.labels])
            both = _joined([smallest, further])
            both = both.chosen(np.lexsort((both.indices, both.ranks, both.labels)))
            starts = np.searchsorted(both.labels, np.arange(len(most)))
            smallest = both.chosen(np.arange(len(both.labels)) - starts[both.labels] < most[both.labels])
            counts = np.bincount(smallest.labels, minlength=len(most))
            full = (counts == most) & (most > 0)
            limits[full] = smallest.ranks[counts.cumsum()[full] - 1]
        return np.sort(smallest.indices)


class LabelledPart:
    """Some of the labelled texts in temporary files, in their order."""

    def __init__(self, whole: StoredLabelled, held_out: Numbers, *, is_held_out: bool) -> None:
        """The texts at the indices `held_out`, in order, or all the others."""
        self.whole = whole
        self._chosen, self._is_chosen = held_out, is_held_out

    @property
    def blank(self) -> int:
        """The number of rows dropped while these texts were read; 0 for texts that are held out of others."""
        return 0 if self._is_chosen else self.whole.blank

    @property
    def notes(self) -> list[str]:
        """How the tables were read; nothing for texts that are held out of others."""
        return [] if self._is_chosen else self.whole.notes

    def __len__(self) -> int:
        return len(self._chosen) if self._is_chosen else len(self.whole) - len(self._chosen)

    def blocks(self) -> Iterator[Block]:
        """The texts in blocks. Raises RunError if they cannot be read."""
        for block in self.whole.blocks():
            yield block.chosen(self._mask(block))

    @property
    def texts(self) -> Iterator[str]:
        """The texts."""
        return compress(self.whole.texts, (kept for block in self.whole.blocks() for kept in self._mask(block)))

    @property
    def numbers(self) -> Iterator[int]:
        """The label number of each text."""
        return (number for block in self.blocks() for number in block.labels.tolist())

    @property
    def labels(self) -> Iterator[str]:
        """The label of each text, or its labels as `joined_labels` writes them."""
        return compress(self.whole.labels, (kept for block in self.whole.blocks() for kept in self._mask(block)))

    @property
    def several(self) -> bool:
        """Whether a text has any number of labels."""
        return bool(self.whole.several)

    def _mask(self, block: Block) -> NDArray[np.bool_]:
        mask = np.full(len(block.indices), not self._is_chosen)
        first, last = np.searchsorted(self._chosen, (block.indices[0], block.indices[-1] + 1))
        mask[self._chosen[first:last] - block.indices[0]] = self._is_chosen
        return mask

    @property
    def names(self) -> list[str]:
        """The labels by their numbers, with those that none of these texts has."""
        return self.whole.names

    @property
    def counts(self) -> Counter[str]:
        """The number of texts of each label, in the order of each label's first text."""
        if self.several:
            return Counter(chain.from_iterable(map(label_set, self.labels)))
        names, counts = self.whole.names, Counter[str]()
        for block in self.blocks():
            numbers, first, totals = np.unique(block.labels, return_index=True, return_counts=True)
            for index in np.argsort(first):
                counts[names[numbers[index]]] += int(totals[index])
        return counts

    @property
    def sha256(self) -> str:
        """A hash of all labels and texts."""
        return rows_sha256(zip(self.labels, self.texts, strict=True))


def store_parts(
    names: Sequence[str],
    valid: Sequence[str],
    folder: Path,
    columns: LabelColumns | None,
    known: Sequence[str] | None = None,
    watch: Watch = unwatched,
    *,
    several: bool | None = None,
    read: Callable[[Texts, Sequence[str], LabelColumns | None, Watch], object] = add_labelled,
) -> tuple[LabelledPart, LabelledPart]:
    """The training and the validation texts as `labelled_parts.read_parts` reads them, in temporary files in `folder`.

    `read` adds the texts of tables that are named. Raises CorpusError as that function does, and RunError if the texts
    cannot be kept.
    """
    texts, nothing = StoredLabelled(folder, several), np.empty(0, np.int64)
    read(texts, names, columns, watch)
    labels = checked_labels(texts, names[0], known, held_out=not valid)
    if not valid:
        held_out = texts.held_out()
        return LabelledPart(texts, held_out, is_held_out=False), LabelledPart(texts, held_out, is_held_out=True)
    others = StoredLabelled(folder, texts.several)
    read(others, valid, columns, watch)
    check_known(others, labels)
    return LabelledPart(texts, nothing, is_held_out=False), LabelledPart(others, nothing, is_held_out=False)


class Repeats(NamedTuple):
    """The numbers of texts that repeat an earlier one with the same label, or with another; and of shared ones."""

    same: int
    other: int
    shared: int


def count_repeats(texts: LabelledPart, others: LabelledPart) -> Repeats:
    """Count what `labelled.repeated` and `labelled.shared` find. Raises RunError if the texts cannot be read."""
    counts = np.zeros(3, np.int64)
    parts = min(PARTS, -(-max(len(texts), len(others)) // PART))
    for part in range(parts):
        low, high = (number * 2**64 // parts for number in (part, part + 1))
        mine, theirs = (_between(side, low, high - 1) for side in (texts, others))
        order = np.argsort(mine.ranks, kind="stable")  # equal texts keep their order
        ranks, labels = mine.ranks[order], mine.labels[order]
        is_first = np.append(True, ranks[1:] != ranks[:-1])[: len(ranks)]
        agrees = labels == labels[is_first][is_first.cumsum() - 1] if len(ranks) else is_first
        counts += (
            (agrees & ~is_first).sum(),
            (~agrees).sum(),
            np.isin(ranks, theirs.ranks).sum(),
        )
    return Repeats(*counts.tolist())


def _between(texts: LabelledPart, low: int, high: int) -> Block:
    """The texts whose ranks are at least `low` and at most `high`."""
    least, most = np.uint64(low), np.uint64(high)
    blocks = (block.chosen((block.ranks >= least) & (block.ranks <= most)) for block in texts.blocks())
    return _joined(list(blocks))


def _joined(blocks: Sequence[Block]) -> Block:
    nothing = Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))
    indices, labels, ranks = (np.concatenate(values) for values in zip(nothing, *blocks, strict=True))
    return Block(indices, labels, ranks)
