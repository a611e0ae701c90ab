"""A tokenised corpus on disk: one column of ids in an Arrow file, memory-mapped.

Ids have the smallest unsigned type that holds the vocabulary (8, 16 or 32 bits), and are stored in pieces of PIECE
tokens. Reading maps the file, and copies only slices that cross from one piece into the next. So a corpus may be larger
than memory, and several processes share one copy. Pages that were read count as the memory of this process, although
they are the operating system's, so they are released again and again. The price is that the file is tied to its
tokeniser: it holds ids, not text.
"""

from __future__ import annotations

import hashlib
import mmap
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import CorpusError
from nlpseq.files import open_temporary, put_in_place, temporary_path
from nlpseq.paths import need_target

PIECE = 1 << 20  # tokens
MAPPED = 1 << 25  # bytes of the file that count as memory of this process, about the most
MAPPED_AT_ONCE = 1 << 16  # bytes: the system maps what lies around a byte that is read

_TYPES = ("uint8", "uint16", "uint32", "uint64")
_COLUMN = "token"
_REMEDY = "delete it and tokenise the corpus again"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # Arrow's mark; without it the file was cut short


def token_type(vocabulary_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every id of a vocabulary."""
    return np.min_scalar_type(vocabulary_size - 1)


class TokenStream:
    """All tokens of a corpus, in order; `stream[a:b]` is an array of the small type.

    A slice within one piece is a read-only view of the mapped file; any other slice is a copy.
    """

    def __init__(self, path: str | Path) -> None:
        """Map a file of `write_stream`. Raises CorpusError if it is missing, damaged or another file."""
        self._mapping = _Mapping()
        self._set_pieces(_map(Path(path), self._mapping))

    @classmethod
    def from_array(cls, tokens: NDArray[Any]) -> Self:
        """A stream over ids [T] in memory, without a copy."""
        stream = cls.__new__(cls)
        stream._mapping = _Mapping()
        stream._set_pieces([tokens])
        return stream

    def _set_pieces(self, pieces: Sequence[NDArray[Any]]) -> None:
        self._pieces = pieces
        self._starts = list(accumulate(map(len, pieces), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def piece_lengths(self) -> list[int]:
        """The number of tokens in each piece of the file."""
        return [len(piece) for piece in self._pieces]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of every slice."""
        return self._pieces[0].dtype

    def __getitem__(self, span: slice) -> NDArray[Any]:
        """Ids [b - a] of `stream[a:b]`; a slice beyond the end is cut, as always, and a step is refused."""
        start, stop, step = span.indices(len(self))
        if step != 1:
            raise ValueError(f"a token stream is read in steps of 1, not {step}")
        first = bisect_right(self._starts, start, hi=len(self._pieces)) - 1
        self._mapping.read((max(start, stop) - start) * self.dtype.itemsize)
        slices = [self._pieces[first][start - self._starts[first] : max(start, stop) - self._starts[first]]]
        while self._starts[first + 1] < stop:
            first += 1
            slices.append(self._pieces[first][: stop - self._starts[first]])
        return slices[0] if len(slices) == 1 else np.concatenate(slices)

    @cached_property
    def sha256(self) -> str:
        """Hash of the ids as little-endian 32-bit numbers; it does not depend on their type and the pieces."""
        digest = hashlib.sha256()
        for start in range(0, len(self), PIECE):
            digest.update(self[start : start + PIECE].astype("<u4").tobytes())
        return digest.hexdigest()


def write_stream(path: str | Path, pieces: Iterable[NDArray[Any]], vocabulary_size: int) -> TokenStream:
    """Write arrays of ids, of any lengths, one after the other, and map the file.

    The file appears whole or not at all: it is written under a temporary name beside `path`, flushed to the disk and
    renamed. Raises CorpusError if it cannot be written, and the exceptions of `pieces`.
    """
    path = Path(path)
    need_target(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_temporary(path) as file:
            _write(file, _even_pieces(pieces, vocabulary_size))
            put_in_place(file, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CorpusError(str(path), f"it cannot be written: {reason}", "free some space there") from None
    finally:
        with suppress(OSError):
            temporary_path(path).unlink()
    return TokenStream(path)


def _write(file: BinaryIO, pieces: Iterator[NDArray[Any]]) -> None:
    """Write pieces, none of them empty, in the type of the first one."""
    import pyarrow

    first = next(pieces, np.empty(0, np.uint8))
    kind = pyarrow.from_numpy_dtype(first.dtype)
    schema = pyarrow.schema([(_COLUMN, kind)])
    with pyarrow.ipc.new_stream(file, schema) as writer:
        for piece in chain([first], pieces):  # without a copy: pyarrow.array would import pandas
            column = pyarrow.Array.from_buffers(kind, len(piece), [None, pyarrow.py_buffer(piece)])
            writer.write_batch(pyarrow.record_batch([column], schema=schema))


def _even_pieces(pieces: Iterable[NDArray[Any]], vocabulary_size: int) -> Iterator[NDArray[Any]]:
    """The same ids in the smallest type, in pieces of PIECE tokens; the last may be shorter."""
    kind = token_type(vocabulary_size)
    gathered: list[NDArray[Any]] = []
    waiting = 0
    for piece in pieces:
        if len(piece) and not 0 <= int(piece.min()) <= int(piece.max()) < vocabulary_size:
            raise ValueError(f"an id outside 0..{vocabulary_size - 1} came from the tokeniser")
        gathered.append(piece.astype(kind))
        waiting += len(piece)
        while waiting >= PIECE:
            joined = np.concatenate(gathered)
            yield joined[:PIECE]
            gathered, waiting = [joined[PIECE:]], waiting - PIECE
    if waiting:
        yield np.concatenate(gathered)


class _Mapping:
    """A file's pages in the memory of this process: how many there may be, and their release."""

    def __init__(self) -> None:
        self.pages: mmap.mmap | None = None
        self._mapped = 0

    def open(self, path: Path) -> mmap.mmap:
        """Map a file to read it. Raises OSError, and ValueError for an empty file."""
        with path.open("rb") as file:
            self.pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self.pages

    def read(self, size: int) -> None:
        """Make space for `size` bytes that will be read from any position."""
        self._mapped += size + MAPPED_AT_ONCE
        if self._mapped > MAPPED and self.pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED)  # they are read from the file again when they are needed
            self._mapped = size + MAPPED_AT_ONCE


def _map(path: Path, mapping: _Mapping) -> list[NDArray[Any]]:
    """The pieces of a stream's file as read-only views."""
    import pyarrow

    pieces = []
    try:
        pages = mapping.open(path)
        whole = pages[-len(_END_OF_STREAM) :] == _END_OF_STREAM
        for batch in pyarrow.ipc.open_stream(pyarrow.py_buffer(pages)):
            mapping.read(0)
            pieces.append(_ids(batch.column(_COLUMN)))
    except FileNotFoundError:
        raise CorpusError(str(path), "there is no such token stream") from None
    except (OSError, pyarrow.ArrowException, KeyError, ValueError) as error:
        raise CorpusError(str(path), f"this is not a token stream: {error}", _REMEDY) from None
    if not whole:
        raise CorpusError(str(path), "this token stream is cut short", _REMEDY)
    return [piece for piece in pieces if len(piece)] or [np.empty(0, np.uint8)]


def _ids(chunk: Any) -> NDArray[Any]:
    """A piece's memory as an array, read-only; pyarrow's own ways to NumPy would import pandas. Raises ValueError."""
    if str(chunk.type) not in _TYPES or chunk.null_count:
        raise ValueError(f"its column holds {chunk.type}, not ids")
    kind = np.dtype(str(chunk.type))
    return np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * kind.itemsize)
