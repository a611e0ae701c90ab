"""Arrays of numbers in files: written piece by piece, read where they are needed.

The files are NumPy's own (.npy), so that any program can look into them, and several processes read one. They are read
and not mapped, because a page counts as memory of each process that maps it, and Linux maps up to two megabytes around
each byte that is touched. The cost is a system call for each span, about a microsecond; touching a page that is not yet
mapped costs more.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from nlpseq.errors import RunError
from nlpseq.files import open_temporary, put_in_place, temporary_path
from nlpseq.paths import need_target


class ArrayWriter:
    """Writes an array [N] to a file, or [N, `width`], piece by piece, in a `with` statement.

    The file appears at the end, whole and flushed to the disk, or not at all. Raises RunError if it cannot be written;
    its hint names `flag`, which chose the file.
    """

    def __init__(self, path: Path, kind: DTypeLike, width: int | None = None, flag: str = "--out") -> None:
        self.path = path
        self.kind = np.dtype(kind)
        self.width = width
        self.flag = flag
        self.count = 0
        need_target(path, flag)
        try:
            self._file = open_temporary(path)
            self._write_header()
        except OSError as error:
            raise self._failed(error) from error

    def append(self, values: NDArray[Any]) -> None:
        """Add numbers [K], or rows [K, `width`], that the array's type can hold."""
        try:
            self._file.write(np.ascontiguousarray(values, self.kind).data)
        except OSError as error:
            raise self._failed(error) from error
        self.count += len(values)

    def _write_header(self) -> None:
        """The header with the current length; NumPy keeps space in it for a longer one."""
        shape = (self.count,) if self.width is None else (self.count, self.width)
        npy.write_array_header_1_0(self._file, {"descr": self.kind.str, "fortran_order": False, "shape": shape})

    def _failed(self, error: OSError) -> RunError:
        what = f"cannot be written: {error.strerror or error}"
        return RunError(str(self.path), what, f"free some space there, or choose another folder with {self.flag}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._file.seek(0)
                    self._write_header()
                    put_in_place(self._file, self.path)
        except OSError as failure:
            if kind is None:
                raise self._failed(failure) from failure
        finally:
            with suppress(OSError):
                temporary_path(self.path).unlink()


class StoredArray:
    """An array [N] in a file, of which only what is asked for is in memory."""

    def __init__(self, path: Path) -> None:
        """Open a file of `ArrayWriter`. Raises OSError if it is gone, and ValueError if it is damaged or cut short."""
        self.path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        if npy.read_magic(self._file) != (1, 0):
            raise ValueError(f"{path.name} has another version of NumPy's format")
        (self._length,), _, self.dtype = npy.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        if os.fstat(self._file.fileno()).st_size != self._start + self._length * self.dtype.itemsize:
            raise ValueError(f"{path.name} is cut short")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> NDArray[Any]:
        """The numbers of a slice or at some indices. Raises RunError if they cannot be read."""
        if isinstance(chosen, slice):
            start, stop, step = chosen.indices(self._length)
            if step != 1:
                raise ValueError(f"a stored array is read in steps of 1, not {step}")
            return np.frombuffer(self._read(start, max(start, stop)), self.dtype)
        return self.spans(chosen, np.ones(len(chosen), np.int64))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def spans(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[Any]:
        """The numbers from each start [B] on, as many as its length [B] says, one span after the other.

        Raises RunError if they cannot be read.
        """
        bounds = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        return np.frombuffer(b"".join([self._read(start, stop) for start, stop in bounds]), self.dtype)

    def _read(self, start: int, stop: int) -> bytes:
        size, offset = (stop - start) * self.dtype.itemsize, self._start + start * self.dtype.itemsize
        try:
            found = self._read_at(size, offset)
            while found and len(found) < size:  # an operating system may return less than two gigabytes
                further = self._read_at(size - len(found), offset + len(found))
                found = found + further if further else b""
        except OSError as error:
            raise RunError(str(self.path), f"cannot be read: {error.strerror or error}") from error
        if len(found) < size:
            raise RunError(str(self.path), "has become shorter since it was opened", "let nothing else write there")
        return found

    def _read_at(self, size: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), size, offset)
        self._file.seek(offset)  # on Windows
        return self._file.read(size)


def spans(values: NDArray[Any] | StoredArray, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """The same as `StoredArray.spans`, also of an array in memory."""
    if isinstance(values, StoredArray):
        return values.spans(starts, lengths)
    before = lengths.cumsum() - lengths
    found: NDArray[Any] = values[np.arange(lengths.sum()) + np.repeat(starts - before, lengths)]
    return found
