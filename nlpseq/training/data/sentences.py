"""Texts as ids, and the order in which training reads them.

Texts are shuffled in each pass, sorted by length within windows of many batches, cut into batches and shuffled again,
so that a batch holds texts of about one length and little of it is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.translator import line_ids
from nlpseq.text.padding import Ids, side_by_side, together
from nlpseq.text.tokenisers import Tokeniser

WINDOW = 32  # batches that are sorted by length together
USUAL = 64  # texts in a batch, where only their tokens are counted


class Sentences:
    """Texts as ids, each with the newline that ends it."""

    def __init__(self, ids: NDArray[Any], starts: NDArray[np.int64]) -> None:
        self.ids = ids  # of all texts
        self.starts = starts  # [N + 1]

    @classmethod
    def encode(cls, tokeniser: Tokeniser, texts: Sequence[str]) -> Sentences:
        """The ids of texts that hold no newline."""
        return cls.join([line_ids(tokeniser, text) for text in texts])

    @classmethod
    def join(cls, parts: Sequence[NDArray[Any]]) -> Sentences:
        """Texts that are ids already."""
        lengths = np.array([0, *map(len, parts)], np.int64)
        return cls(np.concatenate(parts), lengths.cumsum())

    @property
    def lengths(self) -> Ids:
        """Tokens of each text, its newline included [N]."""
        return np.diff(self.starts)

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def columns(self, chosen: NDArray[np.int64]) -> tuple[Ids, Ids]:
        """Chosen texts side by side [S, B], newlines behind their ends, and their lengths [B]."""
        return side_by_side([self[int(index)] for index in chosen])


class Shuffled:
    """Batches of texts, as places, without end; `passes` and `position` are all there is to resume from."""

    def __init__(
        self,
        lengths: Ids,
        batch_size: int | None,
        seed: int,
        *,
        batch_tokens: int | None = None,
        ties: Ids | None = None,
    ) -> None:
        """Of `batch_size` texts each, where that is given, and of at most `batch_tokens` tokens, padding included.

        `lengths` [N] are the texts'; `ties` [N] are what texts of one length are sorted by.
        """
        self.lengths = lengths
        self.ties = lengths if ties is None else ties
        self.batch_size = batch_size
        self.window = WINDOW * min(batch_size or USUAL, len(lengths))
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.passes = 0
        self.position = 0  # batches of this pass that are done
        self._plan: tuple[int, list[NDArray[np.int64]]] | None = None

    def __len__(self) -> int:
        """Batches in this pass."""
        return len(self._batches())

    def next(self) -> NDArray[np.int64]:
        """The places of the next batch's texts."""
        if self.position >= len(self):
            self.passes, self.position = self.passes + 1, 0
        self.position += 1
        return self._batches()[self.position - 1]

    def _batches(self) -> list[NDArray[np.int64]]:
        """The texts of each batch of this pass."""
        if self._plan is None or self._plan[0] != self.passes:
            generator = np.random.default_rng([self.seed, self.passes])
            order = generator.permutation(len(self.lengths))
            made: list[NDArray[np.int64]] = []
            for start in range(0, len(order), self.window):
                window = order[start : start + self.window]
                window = window[np.lexsort((self.ties[window], self.lengths[window]))]
                made += [window[some] for some in together(self.lengths[window], self.batch_tokens, self.batch_size)]
            self._plan = self.passes, [made[place] for place in generator.permutation(len(made))]
        return self._plan[1]
