"""Texts as ids: all ids one after the other, and where each text starts, in memory or in files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nlpseq.models.translator import line_ids
from nlpseq.text.array_files import ArrayWriter, StoredArray, spans
from nlpseq.text.padding import Ids, as_columns
from nlpseq.text.stream import token_type
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.data.encoding import Encoded
from nlpseq.training.data.seal import check_ids, check_starts


class Lengths:
    """The number of tokens of each text [N], computed when it is asked for."""

    def __init__(self, starts: NDArray[np.int64] | StoredArray) -> None:
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, span: slice) -> Ids:
        first, last, _ = span.indices(len(self))
        return np.diff(self._starts[first : max(first, last) + 1])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)


class Sentences:
    """Texts as ids, each with the newline that ends it."""

    def __init__(self, ids: NDArray[Any] | StoredArray, starts: NDArray[np.int64] | StoredArray) -> None:
        self.ids = ids  # of all texts
        self.starts = starts  # [N + 1]

    @classmethod
    def encode(cls, tokeniser: Tokeniser, texts: Iterable[str]) -> Self:
        """Encode texts without newlines, in memory."""
        ids = [line_ids(tokeniser, text) for text in texts]
        return cls(np.concatenate(ids), np.array([0, *map(len, ids)], np.int64).cumsum())

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """The texts that a `SentenceWriter` wrote. Raises OSError or ValueError if they are gone or damaged."""
        ids, starts = map(StoredArray, _paths(folder, name))
        if starts[len(starts) - 1 :].tolist() != [len(ids)]:
            raise ValueError(f"the files of {name} do not belong together")
        return cls(ids, starts)

    def check(self, name: str, vocabulary_size: int) -> Self:
        """Itself. Raises ValueError for ids beyond the vocabulary, or for texts that end before they start."""
        check_ids(name, self.ids, vocabulary_size)
        check_starts(name, self.starts)
        return self

    @property
    def lengths(self) -> Lengths:
        """The number of tokens of each text, its newline included [N]."""
        return Lengths(self.starts)

    def __getitem__(self, index: int) -> NDArray[Any]:
        start, stop = self.starts[index : index + 2].tolist()
        return self.ids[start:stop]

    def joined(self, chosen: NDArray[np.int64]) -> tuple[NDArray[Any], Ids]:
        """The ids of the texts at the indices `chosen`, one text after the other, and the texts' lengths [B]."""
        starts, ends = spans(self.starts, chosen, np.full(len(chosen), 2)).reshape(-1, 2).T
        lengths = ends - starts
        return spans(self.ids, starts, lengths), lengths

    def padded(self, chosen: NDArray[np.int64]) -> tuple[Ids, Ids]:
        """The texts at the indices `chosen`, padded with newlines [T, B], and their lengths [B]."""
        ids, lengths = self.joined(chosen)
        return as_columns(ids, lengths), lengths


class SentenceWriter:
    """Writes texts into two files of a folder, in a `with` statement. Raises RunError if that fails."""

    def __init__(self, folder: Path, name: str, vocabulary_size: int) -> None:
        ids, starts = _paths(folder, name)
        with ExitStack() as files:
            self._ids = files.enter_context(ArrayWriter(ids, token_type(vocabulary_size)))
            self._starts = files.enter_context(ArrayWriter(starts, np.int64))
            self._starts.append(np.zeros(1, np.int64))
            self._files = files.pop_all()

    def append(self, texts: Encoded) -> None:
        """Add texts."""
        self._starts.append(self._ids.count + texts.lengths.cumsum())
        self._ids.append(texts.ids)

    def __len__(self) -> int:  # of texts
        return self._starts.count - 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.ids.npy", folder / f"{name}.starts.npy"
