"""The pairs that a translator is trained on: those of the corpus, and synthetic ones, of which a model made one side.

A pass reads each synthetic pair once. It reads each pair of the corpus once, or more often if otherwise more than a
chosen share of the pairs would be synthetic. A token before its source tells the model that a pair is synthetic (tagged
back-translation, Caswell et al., 2019). It is the byte 255, which no text in UTF-8 contains. So the model translates as
it has learned from the corpus.

With random segmentations the texts of a batch are cut into other pieces each time: their ids are decoded and encoded
again. So nothing but the ids is kept on the disk.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.models.translator import decoder_inputs
from nlpseq.text.padding import Ids, as_columns
from nlpseq.text.tokenisers import NEWLINE, SubwordTokeniser
from nlpseq.training.data.pairs import Batch, ParallelCorpus
from nlpseq.training.data.sentences import Lengths, Sentences

TAG = 255  # the token before the source of a synthetic pair
ROUNDING = 1e-9

Texts = tuple[NDArray[Any], Ids]  # the ids of texts, one after the other, and the number of ids of each [B]


class JoinedLengths:
    """The lengths of several lists of texts, as those of one list."""

    def __init__(self, parts: Sequence[Lengths]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))  # of each part

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, span: slice) -> Ids:
        start, stop, _ = span.indices(len(self))
        found = [np.empty(0, np.int64)]
        index = bisect_right(self._ends, start)
        while start < stop:
            part, end = self._parts[index], self._ends[index]
            first = end - len(part)
            found.append(part[start - first : min(stop, end) - first])
            start, index = end, index + 1
        return np.concatenate(found)


class Mixture:
    """Pairs for training, by their indices: `repeats` times those of the corpus, then the synthetic ones."""

    def __init__(self, corpus: ParallelCorpus, share: float, *, tagged: bool, dropout: float, seed: int) -> None:
        """At most `share` of the pairs are synthetic, and their sources are `tagged` or not.

        `dropout` is the fraction of merges or pieces that random segmentations leave out, and `seed` is theirs. The
        corpus' tokeniser must be one of word pieces unless `dropout` is 0.
        """
        self.train, self.synthetic = corpus.train, corpus.synthetic
        self.tokeniser, self.tagged, self.seed = corpus.tokeniser, tagged, seed
        self.repeats = 1 if self.synthetic is None else repeats(len(self.train), len(self.synthetic), share)
        parts = [self.train] * self.repeats + ([] if self.synthetic is None else [self.synthetic])
        self.source_lengths = JoinedLengths([part.sources.lengths for part in parts])
        self.target_lengths = JoinedLengths([part.targets.lengths for part in parts])
        self.segmentations = None
        if dropout:
            assert isinstance(self.tokeniser, SubwordTokeniser)
            self.segmentations = self.tokeniser.segmentations(dropout, seed)

    def __len__(self) -> int:  # of pairs in a pass
        return len(self.target_lengths)

    def batch(self, chosen: NDArray[np.int64], number: Sequence[int]) -> Batch:
        """The pairs at the indices `chosen`, the synthetic ones last.

        `number` says which batch of the run it is; the random segmentations depend on it.
        """
        own = self.repeats * len(self.train)
        parts = [(self.train, chosen[chosen < own] % len(self.train), False)]
        if self.synthetic is not None:
            parts.append((self.synthetic, chosen[chosen >= own] - own, self.tagged))
        sources = _joined([_read(pairs.sources, indices, tagged) for pairs, indices, tagged in parts])
        targets = _joined([_read(pairs.targets, indices) for pairs, indices, _ in parts])
        if self.segmentations is not None:
            generator = np.random.default_rng([self.seed, *number, 1])  # not that of the order of the pairs
            sources, targets = (self._cut_anew(ids, generator) for ids, _ in (sources, targets))
        columns = as_columns(*targets)
        return Batch(as_columns(*sources), sources[1], decoder_inputs(columns), columns, targets[1])

    def _cut_anew(self, ids: NDArray[Any], generator: np.random.Generator) -> Texts:
        """Texts, each ended by its newline, in a random segmentation."""
        assert self.segmentations is not None
        drawn = self.segmentations.encode(self.tokeniser.decode(ids), generator)
        return drawn, np.diff(np.flatnonzero(drawn == NEWLINE), prepend=-1)


def repeats(pairs: int, synthetic: int, share: float) -> int:
    """How often a pass reads the `pairs` of the corpus, so that at most a `share` of what it reads is synthetic."""
    return max(1, math.ceil(synthetic * (1 - share) / (share * pairs) - ROUNDING))


def _read(side: Sentences, indices: NDArray[np.int64], tagged: bool = False) -> Texts:
    ids, lengths = side.joined(indices)
    return (np.insert(ids, lengths.cumsum() - lengths, TAG), lengths + 1) if tagged else (ids, lengths)


def _joined(parts: Sequence[Texts]) -> Texts:
    ids, lengths = zip(*parts, strict=True)
    return np.concatenate(ids), np.concatenate(lengths)
