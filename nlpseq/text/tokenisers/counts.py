"""Tokenisers whose units are the most frequent texts of a kind: characters or words.

A corpus is counted in pieces, and the counts are merged in order. At most MOST_COUNTED different texts are remembered:
when there are more, the rarest are forgotten until at most half are left, so a word that is rare everywhere may get a
count that is too low (Manku and Motwani, 2002). The most frequent ones do not notice.

What occurs once is no unit, so it is spelled in bytes. Their share of a text is about the share of unseen ones in
another (Good, 1953): so a model learns to spell as often as it will have to. Without them in training, an unseen word
costs a model dozens of nats, for it has never met a byte.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Self

import numpy as np

from nlpseq.text.tokenisers.tokeniser import NUM_BYTES, Tokeniser

MOST_COUNTED = 1_000_000
LEAST_COUNT = 2  # of a unit
UNITS_COUNTED = 4  # different texts that are remembered for each token, if these are more
COUNTED_TOGETHER = 1 << 20  # characters of lines that are counted at once

Candidates = Mapping[str, int] | Iterable[str]


class CountedTokeniser(Tokeniser):
    """A tokeniser that learns its units from their counts, ties in code point order."""

    counted_alone: ClassVar[int | None] = 8_000_000  # as `encoded_alone`

    @classmethod
    @abstractmethod
    def candidates(cls, text: str) -> Candidates:
        """What may be a unit in a text of whole words, each time it occurs or with its count; also what is no unit."""

    @classmethod
    @abstractmethod
    def is_unit(cls, text: str) -> bool:
        """Whether a text can be a unit."""

    @classmethod
    def of_candidates(cls, found: Iterable[Candidates], vocabulary_size: int) -> Self:
        """A tokeniser of at most `vocabulary_size` tokens, from the candidates in the pieces of a corpus."""
        merged = merge_counts(found, max(MOST_COUNTED, UNITS_COUNTED * vocabulary_size))
        units = {text: count for text, count in merged.items() if count >= LEAST_COUNT and cls.is_unit(text)}
        return cls(most_frequent(units, vocabulary_size - NUM_BYTES))

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        return cls.of_candidates(map(cls.candidates, _joined(lines)), vocabulary_size)


def merge_counts(found: Iterable[Candidates], most: int) -> dict[str, int]:
    """The counts of all candidates; of more than `most` different ones, the rarest are forgotten as said above."""
    merged: Counter[str] = Counter()
    for candidates in found:
        merged.update(candidates)
        if len(merged) > most:
            numbers = np.fromiter(merged.values(), np.int64, len(merged))
            limit = np.partition(numbers, -(most // 2))[-(most // 2)]
            merged = Counter({text: number for text, number in merged.items() if number > limit})
    return merged


def most_frequent(counts: Mapping[str, int], most: int) -> list[str]:
    """At most `most` texts, the most frequent first, ties in code point order."""
    limit = 0
    if 0 < most < len(counts):
        limit = int(np.partition(np.fromiter(counts.values(), np.int64, len(counts)), -most)[-most])
    chosen = [(-number, text) for text, number in counts.items() if number >= limit]
    return [text for _, text in sorted(chosen)[: max(0, most)]]


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines in pieces of about COUNTED_TOGETHER characters, so that a short line costs little."""
    gathered: list[str] = []
    waiting = 0
    for line in lines:
        gathered.append(line)
        waiting += len(line)
        if waiting >= COUNTED_TOGETHER:
            yield "\n".join(gathered)
            gathered, waiting = [], 0
    yield "\n".join(gathered)
