"""Texts and numbers in temporary files, for tables that are larger than memory.

A table is read once, whatever it is (a compressed file, a data set of the hub), and its rows are kept as plain text
beside the tokens that they become. So a source that changes or goes away in the meantime does no harm, and no format
is parsed twice. The cost is disk space: as much as the uncompressed text, until training begins. The files have no
name, or are removed when the process ends, however it ends.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast, overload

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import RunError

BLOCK_ROWS = 512
BLOCK_CHARACTERS = 1 << 20
BLOCK_NUMBERS = 1 << 16


class _Blocks:
    """A temporary file in a folder, written and read in blocks. Raises RunError if that fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  # until it is not needed
        except OSError as error:
            raise self._failed(error) from error
        weakref.finalize(self, self.file.close)
        self.offsets = array("q", [0])  # of each block, and the end

    def append(self, block: bytes) -> None:
        try:
            self.file.seek(self.offsets[-1])
            self.file.write(block)
        except OSError as error:
            raise self._failed(error) from error
        self.offsets.append(self.offsets[-1] + len(block))

    def __getitem__(self, number: int) -> bytes:
        try:
            self.file.seek(self.offsets[number])  # each time, because several readings may take turns
            return self.file.read(self.offsets[number + 1] - self.offsets[number])
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunError:
        what = f"the rows of the corpus cannot be kept there: {error.strerror or error}"
        return RunError(str(self.folder), what, "free some space there, or choose another folder with --out")


class StoredTexts(Sequence[str]):
    """Texts without newlines, in a file; a slice is a view."""

    def __init__(self, folder: Path) -> None:
        """No texts, in a new temporary file in `folder`."""
        self._blocks = _Blocks(folder)
        self._rows = array("q", [0])  # the first of each block, and the number of texts in all blocks
        self._pending: list[str] = []
        self._characters = 0  # of the pending texts

    def append(self, text: str) -> None:
        """Add a text. Raises RunError if it cannot be written."""
        self._pending.append(text)
        self._characters += len(text)
        if len(self._pending) == BLOCK_ROWS or self._characters > BLOCK_CHARACTERS:
            self._blocks.append("\n".join(self._pending).encode("utf-8", "surrogatepass"))
            self._rows.append(self._rows[-1] + len(self._pending))
            self._pending, self._characters = [], 0

    def __len__(self) -> int:
        return self._rows[-1] + len(self._pending)

    def read(self, start: int, stop: int) -> Iterator[str]:
        """The texts from `start` up to `stop`. Raises RunError if they cannot be read."""
        number = bisect_right(self._rows, start) - 1
        while number < len(self._rows) - 1 and self._rows[number] < stop:
            first = self._rows[number]
            texts = self._blocks[number].decode("utf-8", "surrogatepass").split("\n")
            yield from texts[max(0, start - first) : stop - first]
            number += 1
        first = self._rows[-1]
        if stop > first:
            yield from self._pending[max(0, start - first) : stop - first]

    def __iter__(self) -> Iterator[str]:
        return self.read(0, len(self))

    @overload
    def __getitem__(self, chosen: int) -> str: ...

    @overload
    def __getitem__(self, chosen: slice) -> Sequence[str]: ...

    def __getitem__(self, chosen: int | slice) -> str | Sequence[str]:
        return _View(self, range(len(self)))[chosen]


class _View(Sequence[str]):
    """Some of the texts in a file, one after the other."""

    def __init__(self, texts: StoredTexts, rows: range) -> None:
        self.texts, self.rows = texts, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return self.texts.read(self.rows.start, self.rows.stop)

    @overload
    def __getitem__(self, chosen: int) -> str: ...

    @overload
    def __getitem__(self, chosen: slice) -> Sequence[str]: ...

    def __getitem__(self, chosen: int | slice) -> str | Sequence[str]:
        if isinstance(chosen, int):
            row = self.rows[chosen]
            return next(self.texts.read(row, row + 1))
        rows = self.rows[chosen]
        if rows.step != 1:
            raise ValueError(f"stored texts are read in steps of 1, not {rows.step}")
        return _View(self.texts, rows)


class StoredNumbers:
    """Numbers in a temporary file, appended one by one and read in blocks of BLOCK_NUMBERS."""

    def __init__(self, folder: Path, code: str) -> None:
        """No numbers; `code` is the type's in Python's module `array`."""
        self._blocks = _Blocks(folder)
        self._code = code
        self._pending = array(code)

    def append(self, number: int) -> None:
        """Add a number. Raises RunError if it cannot be written."""
        self._pending.append(number)
        if len(self._pending) == BLOCK_NUMBERS:
            self._blocks.append(self._pending.tobytes())
            self._pending = array(self._code)

    def __len__(self) -> int:
        return (len(self._blocks.offsets) - 1) * BLOCK_NUMBERS + len(self._pending)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All numbers in arrays. Raises RunError if they cannot be read."""
        for number in range(len(self._blocks.offsets) - 1):
            yield np.frombuffer(self._blocks[number], self._code)
        if self._pending:
            yield np.array(self._pending, self._code)
