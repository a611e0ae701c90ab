"""The order in which training reads texts.

In each pass the texts are shuffled, sorted by length within windows of many batches, and cut into batches, which are
shuffled again. So a batch holds texts of similar length, with little padding.

More texts than fit in a group of about a million are shuffled in blocks. Chunks of neighbouring texts are shuffled, cut
into groups, and the texts of a group are shuffled as above, when their turn comes. So memory does not grow with the
corpus, and a run resumes at once, because a group depends on nothing but the seed, the pass and its number. The cost is
that a text meets only texts of the 256 chunks that are in its group in this pass.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.padding import Ids, cuts
from nlpseq.training.data.seal import checked_place

WINDOW = 32  # batches in a window
USUAL = 64  # texts in a batch, for the size of a window if only tokens are limited
CHUNK = 4096  # neighbouring texts that stay in one group
GROUP = 256  # chunks that are shuffled together, at most
STRIDE = 1 << 32  # between the positions at which two groups start

Batches = list[NDArray[np.int64]]


class Numbers(Protocol):
    """A number for each of N texts, in memory or not."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> Ids: ...


class Shuffled:
    """Batches of shuffled texts, as indices, without end; `passes` and `position` are all that is needed to resume.

    `position` is the number of batches of this pass so far; of several groups, the number of the group times STRIDE,
    and the number of its batches so far.
    """

    def __init__(
        self,
        lengths: Numbers,
        batch_size: int | None,
        seed: int,
        *,
        batch_tokens: int | None = None,
        ties: Numbers | None = None,
        chunk: int = CHUNK,
    ) -> None:
        """A batch has at most `batch_size` texts and `batch_tokens` tokens, padding included; None means no limit.

        `lengths` [N] are those of the texts. Texts of equal length are sorted by `ties` [N]. Up to 256 * `chunk` texts
        are one group.
        """
        self.lengths = lengths
        self.ties = lengths if ties is None else ties
        self.batch_size = batch_size
        self.window = WINDOW * min(batch_size or USUAL, len(lengths))
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.passes = 0
        self.position = 0
        self.chunk = chunk
        self._chunks = -(-len(lengths) // chunk)
        self._groups = -(-self._chunks // GROUP)
        self._plan: tuple[tuple[int, int], Batches] | None = None

    def __len__(self) -> int:
        """The number of batches in this pass; of several groups, in the first pass, from which others differ little.

        To count the batches of several groups, each group is planned once: 0.15 seconds for a million texts.
        """
        return len(self._batches(0)) if self._groups == 1 else self._in_first_pass

    @cached_property
    def _in_first_pass(self) -> int:
        return sum(len(self._batches_of(0, group)) for group in range(self._groups))

    def go_to(self, place: NDArray[np.int64]) -> None:
        """Continue from `passes` and `position` [2]. Raises ValueError if there is no such position."""
        passes, position = checked_place(place, 2)
        if position // STRIDE >= self._groups:
            raise ValueError(f"there is no position {position} in its data")
        self.passes, self.position = passes, position

    def next(self) -> NDArray[np.int64]:
        """The indices of the next batch's texts."""
        group, number = divmod(self.position, STRIDE)
        if number >= len(self._batches(group)):
            group, number = group + 1, 0
        if group == self._groups:
            self.passes, group = self.passes + 1, 0
        self.position = group * STRIDE + number + 1
        return self._batches(group)[number]

    def _batches(self, group: int) -> Batches:
        """The indices of the texts in each batch of a group in this pass."""
        if self._plan is None or self._plan[0] != (self.passes, group):
            self._plan = None  # so that there is never more than one in memory
            self._plan = (self.passes, group), self._batches_of(self.passes, group)
        return self._plan[1]

    def _batches_of(self, number: int, group: int) -> Batches:
        """The same of a pass, by its number."""
        generator = np.random.default_rng([self.seed, number])
        chunks = np.arange(self._chunks)
        if self._groups > 1:
            chunks = np.sort(np.array_split(generator.permutation(self._chunks), self._groups)[group])
            generator = np.random.default_rng([self.seed, number, group + 1])  # numbers that end in 0 are no others
        rows, lengths, ties = self._read(chunks)
        order = generator.permutation(len(rows))
        batches: Batches = []
        for start in range(0, len(order), self.window):
            window = order[start : start + self.window]  # a view, which takes its sorted rows
            chosen = window[np.lexsort((ties[window], lengths[window]))]
            window[:] = rows[chosen]
            batches += [window[cut] for cut in cuts(lengths[chosen], self.batch_tokens, self.batch_size)]
        return [batches[index] for index in generator.permutation(len(batches))]

    def _read(self, chunks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """The indices of the texts in some chunks, their lengths, and their numbers for ties."""
        spans = [
            slice(chunk * self.chunk, min((chunk + 1) * self.chunk, len(self.lengths))) for chunk in chunks.tolist()
        ]
        rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        lengths, ties = np.empty((2, len(rows)), np.int32)
        start = 0
        for span in spans:
            stop = start + span.stop - span.start
            lengths[start:stop] = self.lengths[span]
            ties[start:stop] = lengths[start:stop] if self.ties is self.lengths else self.ties[span]
            start = stop
        return rows, lengths, ties
