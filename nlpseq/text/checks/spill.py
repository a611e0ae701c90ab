"""Numbers of a corpus that may not fit in memory: rows that come back sorted by a hash, and records in their order.

Equal lines are found by 64-bit hashes. Rows that start with a hash are sorted in blocks, and the blocks are merged, one
range of hashes after the other. What does not fit into one block goes to a temporary file without a name, 8 bytes a
number, so memory stays constant. Among a hundred million different lines, two have the same hash with a probability of
1 in 4,000; the check would then count one repeated line too many.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import RunError
from nlpseq.text.heap import without_holes

BLOCK = 1 << 18  # rows that are sorted in memory
RANGES = 1 << 10  # of hashes; a block keeps the start of each
IN_MEMORY = 1 << 23  # bytes of records that are not written to a file

Rows = NDArray[np.int64]  # [N, fields]; the first field is the hash


class HashedRows:
    """Rows of integers, of which the first is a hash; `sorted_parts` gives them back sorted by it."""

    def __init__(self, fields: int) -> None:
        self.fields = fields
        self.count = 0
        self._gathered: list[Rows] = []
        self._waiting = 0
        self._file: BinaryIO | None = None
        self._blocks: list[tuple[int, NDArray[np.int64]]] = []  # position in the file, and the start of each range

    def add(self, rows: Rows) -> None:
        """Add rows [N, fields]. Raises RunError if the temporary file cannot be written."""
        self._gathered.append(rows)
        self._waiting += len(rows)
        self.count += len(rows)
        if self._waiting >= BLOCK:
            self.spill()

    @property
    def is_spilled(self) -> bool:
        """Whether there are rows in the temporary file."""
        return bool(self._blocks)

    def spill(self) -> None:
        """Write the rows in memory to the temporary file. Raises RunError if it cannot be written."""
        rows = self.taken()
        edges = np.arange(1 - RANGES // 2, RANGES // 2) * ((1 << 64) // RANGES)
        starts = np.array([0, *np.searchsorted(rows[:, 0], edges), len(rows)])
        with _told():
            self._file = self._file or _opened(self)
            self._blocks.append((self._file.seek(0, 2), starts))
            self._file.write(rows.tobytes())

    def taken(self) -> Rows:
        """The rows in memory, sorted; they are not kept."""
        rows = np.concatenate([np.empty((0, self.fields), np.int64), *self._gathered])
        self._gathered, self._waiting = [], 0
        return _sorted(rows)

    def counts(self) -> NDArray[np.int64]:
        """The number of rows in each range [RANGES] of the temporary file."""
        return np.asarray(sum(np.diff(starts) for _, starts in self._blocks), np.int64)

    def merged(self, first: int, last: int) -> Rows:
        """The rows in the temporary file from range `first` up to `last`, sorted."""
        assert self._file is not None
        found = []
        for position, starts in self._blocks:
            start, stop = int(starts[first]), int(starts[last])
            self._file.seek(position + start * self.fields * 8)
            data = self._file.read((stop - start) * self.fields * 8)
            found.append(np.frombuffer(data, np.int64).reshape(stop - start, self.fields))
        return _sorted(np.concatenate(found))


def sorted_parts(*tables: HashedRows) -> Iterator[tuple[Rows, ...]]:
    """The rows of tables, sorted by hash, in parts: each has the rows of every table whose hashes are in one span.

    Rows with the same hash keep the order in which they were added. Raises RunError if the temporary file cannot be
    written.
    """
    if not any(table.is_spilled for table in tables):
        yield tuple(table.taken() for table in tables)
        return
    for table in tables:
        table.spill()
    counts = np.asarray(sum(table.counts() for table in tables), np.int64)
    first = 0
    spans = []
    while first < RANGES:
        spans.append((first, first + max(1, int(np.searchsorted(np.cumsum(counts[first:]), BLOCK, "right")))))
        first = spans[-1][1]
    yield from (tuple(table.merged(*span) for table in tables) for span in without_holes(spans))


def _sorted(rows: Rows) -> Rows:
    return rows[np.argsort(rows[:, 0], kind="stable")]


class Records:
    """Numbers of each pair, in their order, of a structured type; as if in a circle, the last comes before the first.

    Up to IN_MEMORY bytes are kept in memory, and more in a temporary file.
    """

    def __init__(self, fields: Any) -> None:
        self.fields = np.dtype(fields)
        self.count = 0
        self._file = _opened(self, IN_MEMORY)

    def add(self, records: NDArray[Any]) -> None:
        """Add records [N]. Raises RunError if the temporary file cannot be written."""
        self.replace(self.count, records)
        self.count += len(records)

    def replace(self, start: int, records: NDArray[Any]) -> None:
        """Write records [N] over those from `start` on. Raises as `add`."""
        with _told():
            self._file.seek(start * self.fields.itemsize)
            self._file.write(records.tobytes())

    def window(self, start: int, stop: int) -> NDArray[Any]:
        """The records from `start` up to `stop`, which may be before the first and after the last one."""
        if start < 0:
            return np.concatenate([self._read(start + self.count, self.count), self.window(0, stop)])
        if stop > self.count:
            return np.concatenate([self._read(start, self.count), self._read(0, stop - self.count)])
        return self._read(start, stop)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        self._file.seek(start * self.fields.itemsize)
        return np.frombuffer(self._file.read((stop - start) * self.fields.itemsize), self.fields)


def _opened(owner: object, in_memory: int = 1) -> BinaryIO:
    """A temporary file that is closed with its owner, and kept in memory up to a number of bytes."""
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(in_memory))  # noqa: SIM115
    weakref.finalize(owner, file.close)
    return file


@contextmanager
def _told() -> Iterator[None]:
    """Inside, a temporary file that cannot be written raises RunError."""
    try:
        yield
    except OSError as error:
        what = f"the check's temporary file cannot be written: {error.strerror or error}"
        hint = "export TMPDIR=FOLDER, a folder on a disk with more space"
        raise RunError(tempfile.gettempdir(), what, hint) from None
