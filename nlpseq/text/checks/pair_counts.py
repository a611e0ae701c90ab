"""What is counted in pairs of texts, in one pass, by several processes, and in constant memory.

The pairs are not kept, only numbers: a record of 34 bytes for each pair, and 24 bytes that tell whether it was there
before. They go to temporary files if there are many pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.checks.pair_features import (
    BEFORE,
    RECORD,
    Chunk,
    Features,
    Letters,
    shared_words,
)
from nlpseq.text.checks.spill import HashedRows, Records, Rows, sorted_parts
from nlpseq.text.heap import without_holes
from nlpseq.text.tables.pair_tables import Pair
from nlpseq.workers import available_cores, in_order

PAIRS_AT_ONCE = 4096
CHARACTERS_AT_ONCE = 1 << 20
FEW_CHUNKS = 4  # that one process looks at sooner than others would start


class Tally:
    """The number of pairs that have a property, and the index of the first."""

    def __init__(self) -> None:
        self.count = 0
        self.first = -1

    def add(self, indices: NDArray[np.int64]) -> None:
        """Count the pairs at some indices."""
        if len(indices):
            self.add_counted(len(indices), int(indices.min()))

    def add_counted(self, count: int, first: int) -> None:
        """Count pairs, of which the first is known."""
        if count:
            self.first = first if self.first < 0 else min(self.first, first)
            self.count += count


class SideScripts:
    """The scripts of a side: which one most of its letters are in, and the texts that are in another."""

    def __init__(self) -> None:
        self._letters: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._first_other: dict[str, int] = {}
        self._enough = Tally()  # texts whose script shows

    def add(self, start: int, found: Letters) -> None:
        """Take the letters of the texts from index `start` on."""
        for name, script in found.scripts.items():
            if name not in self._letters and self._enough.count:
                self._first_other[name] = self._enough.first
            self._letters[name] = self._letters.get(name, 0) + script.letters
            self._texts[name] = self._texts.get(name, 0) + script.texts
            if script.first_other >= 0:
                self._first_other.setdefault(name, start + script.first_other)
        if found.texts:
            for name in self._letters.keys() - found.scripts.keys():
                self._first_other.setdefault(name, start + found.first)
            self._enough.add_counted(found.texts, start + found.first)

    @property
    def usual(self) -> str:
        """The script of most letters; empty without letters."""
        return max(self._letters, key=lambda name: self._letters[name], default="")

    @property
    def others(self) -> Tally:
        """The texts that have fewer than half of their letters in the usual script."""
        tally = Tally()
        count = self._enough.count - self._texts[self.usual]
        tally.add_counted(count, self._first_other.get(self.usual, 0))
        return tally


class PairCounts:
    """The counts of pairs, blank ones included."""

    def __init__(self) -> None:
        self.count = 0
        self.characters = np.zeros(2, np.int64)
        self.words = np.zeros(2, np.int64)
        self.target_bytes = 0
        self.blank, self.equal = Tally(), Tally()
        self.scripts = (SideScripts(), SideScripts())
        self.records = Records(RECORD)
        self.stripped = HashedRows(2)  # hash of the source without spaces around it, and the index
        self._hashes = HashedRows(3)  # of source and pair, and the index
        self.repeated, self.contradicting = Tally(), Tally()

    def read(self, pairs: Iterable[Pair], *, compared: bool) -> None:
        """Count pairs. Raises what `pairs` raises, and RunError if the temporary file cannot be written.

        `compared` says that the sources will be compared with others.
        """
        edge = _Edge()
        items = edge.watched(_chunks(pairs))
        first = list(islice(items, FEW_CHUNKS))
        processes = available_cores() if len(first) == FEW_CHUNKS else 1
        found = in_order("nlpseq.text.checks.pair_features:make", None, chain(first, items), processes)
        for features in without_holes(found):
            self._add(features, compared=compared)
        if self.count >= BEFORE:
            head = self.records.window(0, BEFORE).copy()
            head["words"] = shared_words(edge.joined())
            self.records.replace(0, head)

    def _add(self, found: Features, *, compared: bool) -> None:
        start, records = self.count, found.records
        self.records.add(records)
        self.characters += records["lengths"].sum(axis=0, dtype=np.int64)
        self.words += found.words
        self.target_bytes += found.target_bytes
        self.blank.add(start + np.flatnonzero((records["filled"] == 0).any(axis=1)))
        self.equal.add(start + found.equal)
        for side, letters in zip(self.scripts, found.letters, strict=True):
            side.add(start, letters)
        self._hashes.add(found.hashes + np.array([0, 0, start]))
        if compared:
            self.stripped.add(np.stack([found.stripped, np.arange(start, start + len(records))], axis=1))
        self.count += len(records)

    def compare(self) -> None:
        """Look for pairs and sources that were there before. Raises RunError if a temporary file cannot be written."""
        for (rows,) in sorted_parts(self._hashes):
            order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
            sources, both, indices = rows[order].T
            is_new_source = np.append(True, sources[1:] != sources[:-1])[: len(rows)]
            is_new = is_new_source | np.append(True, both[1:] != both[:-1])[: len(rows)]
            self.repeated.add(indices[~is_new])
            firsts = np.minimum.reduceat(indices, np.flatnonzero(is_new_source)) if len(rows) else indices
            self.contradicting.add(indices[is_new & (indices != firsts[np.cumsum(is_new_source) - 1])])


class _Edge:
    """The first and the last pairs of all, which are compared as if in a circle."""

    def __init__(self) -> None:
        self._first: list[Pair] = []
        self._last = Chunk([], [], 0)

    def watched(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The same chunks."""
        for chunk in chunks:
            if len(self._first) < BEFORE:
                new = zip(chunk.sources[chunk.before :], chunk.targets[chunk.before :], strict=True)
                self._first += islice(new, BEFORE - len(self._first))
            self._last = chunk
            yield chunk

    def joined(self) -> Chunk:
        """The first pairs after the last."""
        sources, targets = ([pair[side] for pair in self._first] for side in (0, 1))
        last = self._last
        return Chunk(last.sources[-BEFORE:] + sources, last.targets[-BEFORE:] + targets, BEFORE)


def _chunks(pairs: Iterable[Pair]) -> Iterator[Chunk]:
    """Pairs in chunks of a bounded size, each after the last pairs before it."""
    chunk, size = Chunk([], [], 0), 0
    for source, target in pairs:
        chunk.sources.append(source)
        chunk.targets.append(target)
        size += len(source) + len(target)
        if len(chunk.sources) - chunk.before == PAIRS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield chunk
            last: tuple[Sequence[str], Sequence[str]] = (chunk.sources[-BEFORE:], chunk.targets[-BEFORE:])
            chunk, size = Chunk(list(last[0]), list(last[1]), len(last[0])), 0
    if len(chunk.sources) > chunk.before:
        yield chunk


class SharedSources:
    """The different sources of other pairs, and those that are among our sources too."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0
        self.first = -1  # index of the first of our sources that is there too

    def add(self, ours: Rows, theirs: Rows) -> None:
        """Compare sorted rows of hash and index [N, 2] with sorted hashes [M, 1]."""
        hashes = np.unique(theirs[:, 0])
        is_shared = np.isin(ours[:, 0], hashes)
        self.total += len(hashes)
        self.count += int(np.isin(hashes, ours[:, 0]).sum())
        if is_shared.any():
            first = int(ours[is_shared, 1].min())
            self.first = first if self.first < 0 else min(self.first, first)


def shared_sources(ours: PairCounts, theirs: HashedRows) -> SharedSources:
    """Look for our sources among the hashes [N, 1] of others. Raises RunError if a temporary file cannot be written."""
    found = SharedSources()
    for parts in sorted_parts(ours.stripped, theirs):
        found.add(*parts)
    return found
