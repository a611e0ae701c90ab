"""Texts as ids, and the order in which training reads them.

In each pass the texts are shuffled, sorted by length within windows of many batches, and cut into batches, which are
shuffled again. So a batch holds texts of similar length, with little padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.translator import line_ids
from nlpseq.text.padding import Ids, side_by_side, together
from nlpseq.text.tokenisers import Tokeniser

WINDOW = 32  # batches in a window
USUAL = 64  # texts in a batch, for the size of a window if only tokens are limited


class Sentences:
    """Texts as ids, each with the newline that ends it."""

    def __init__(self, ids: NDArray[Any], starts: NDArray[np.int64]) -> None:
        self.ids = ids  # of all texts
        self.starts = starts  # [N + 1]

    @classmethod
    def encode(cls, tokeniser: Tokeniser, texts: Iterable[str]) -> Sentences:
        """Encode texts without newlines."""
        return cls.join([line_ids(tokeniser, text) for text in texts])

    @classmethod
    def join(cls, texts: Sequence[NDArray[Any]]) -> Sentences:
        """Join texts that are ids already."""
        lengths = np.array([0, *map(len, texts)], np.int64)
        return cls(np.concatenate(texts), lengths.cumsum())

    def chosen(self, indices: NDArray[np.int64]) -> Sentences:
        """The texts at `indices`."""
        return self.join([self[int(index)] for index in indices])

    @property
    def lengths(self) -> Ids:
        """The number of tokens of each text, its newline included [N]."""
        return np.diff(self.starts)

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def padded(self, chosen: NDArray[np.int64]) -> tuple[Ids, Ids]:
        """The texts at the indices `chosen`, padded with newlines [T, B], and their lengths [B]."""
        return side_by_side([self[int(index)] for index in chosen])


class Shuffled:
    """Batches of shuffled texts, as indices, without end; `passes` and `position` are all that is needed to resume."""

    def __init__(
        self,
        lengths: Ids,
        batch_size: int | None,
        seed: int,
        *,
        batch_tokens: int | None = None,
        ties: Ids | None = None,
    ) -> None:
        """A batch has at most `batch_size` texts and `batch_tokens` tokens, padding included; None means no limit.

        `lengths` [N] are those of the texts. Texts of equal length are sorted by `ties` [N].
        """
        self.lengths = lengths
        self.ties = lengths if ties is None else ties
        self.batch_size = batch_size
        self.window = WINDOW * min(batch_size or USUAL, len(lengths))
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.passes = 0
        self.position = 0  # number of batches of this pass so far
        self._plan: tuple[int, list[NDArray[np.int64]]] | None = None

    def __len__(self) -> int:
        """The number of batches in this pass."""
        return len(self._batches())

    def next(self) -> NDArray[np.int64]:
        """The indices of the next batch's texts."""
        if self.position >= len(self):
            self.passes, self.position = self.passes + 1, 0
        self.position += 1
        return self._batches()[self.position - 1]

    def _batches(self) -> list[NDArray[np.int64]]:
        """The indices of the texts in each batch of this pass."""
        if self._plan is None or self._plan[0] != self.passes:
            generator = np.random.default_rng([self.seed, self.passes])
            order = generator.permutation(len(self.lengths))
            batches: list[NDArray[np.int64]] = []
            for start in range(0, len(order), self.window):
                window = order[start : start + self.window]
                window = window[np.lexsort((self.ties[window], self.lengths[window]))]
                groups = together(self.lengths[window], self.batch_tokens, self.batch_size)
                batches += [window[group] for group in groups]
            self._plan = self.passes, [batches[index] for index in generator.permutation(len(batches))]
        return self._plan[1]
