"""The nearest of many texts: by the cosine of their TF-IDF vectors, as a translation memory finds it.

A vector has a field for each word and each pair of adjacent words, without regard to case, with the weight

    tf * (ln((1 + N) / (1 + df)) + 1)       tf times in the text, in df of N texts; then divided by the vector's length

Texts without spaces are cut into characters instead of words. The words of the texts are held in an inverted index:
for each word or pair the texts that have it, about 50 bytes for each word of each text while it is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.tables.labelled import has_no_spaces

WORD = re.compile(r"\w+|[^\w\s]")
CHARACTER = re.compile(r"\S")
UNKNOWN = -1  # the number of a word that no text has

Indices = NDArray[np.int64]
Weights = NDArray[np.float64]


class NearestText:
    """An index of N texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._pattern = CHARACTER if has_no_spaces(texts) else WORD
        self._words: dict[str, int] = {}
        rows = [[self._words.setdefault(word, len(self._words)) for word in self._cut(text)] for text in texts]
        self._count = len(rows)
        owners, keys = self._features(rows)
        self._keys, numbers = np.unique(keys, return_inverse=True)
        cells, times = _counted(numbers * np.int64(self._count) + owners)
        features, self._texts = np.divmod(cells, np.int64(self._count))
        frequency = np.bincount(features, minlength=len(self._keys))
        self._ends = np.cumsum(frequency)  # of the texts of each word or pair
        self._rarity: Weights = np.log((1 + self._count) / (1 + frequency)) + 1
        weights = times * self._rarity[features]
        lengths = np.sqrt(np.bincount(self._texts, weights**2, self._count))
        self._weights: Weights = weights / lengths[self._texts]

    def index(self, text: str) -> int | None:
        """The index of the nearest text, the first of several; None if no text shares a word with this one."""
        keys, times = _counted(self._features([[self._words.get(word, UNKNOWN) for word in self._cut(text)]])[1])
        numbers = np.searchsorted(self._keys, keys)
        is_known = numbers < len(self._keys)
        is_known[is_known] = self._keys[numbers[is_known]] == keys[is_known]
        if not is_known.any():
            return None
        numbers, times = numbers[is_known], times[is_known]
        spans = [slice(self._ends[number - 1] if number else 0, self._ends[number]) for number in numbers]
        texts = np.concatenate([self._texts[span] for span in spans])
        weights = np.repeat(times * self._rarity[numbers], [span.stop - span.start for span in spans])
        products = weights * np.concatenate([self._weights[span] for span in spans])
        return int(np.bincount(texts, products).argmax())

    def _cut(self, text: str) -> list[str]:
        words: list[str] = self._pattern.findall(text.lower())
        return words

    def _features(self, rows: Sequence[Sequence[int]]) -> tuple[Indices, Indices]:
        """The row and the key of each known word and pair of words in rows of words' numbers."""
        lengths = [len(row) for row in rows]
        words = np.fromiter(chain.from_iterable(rows), np.int64, sum(lengths))
        owners = np.repeat(np.arange(len(rows)), lengths)
        adjacent = owners[1:] == owners[:-1]
        first, second = words[:-1][adjacent], words[1:][adjacent]
        pairs = np.where((first == UNKNOWN) | (second == UNKNOWN), UNKNOWN, (first + 1) * len(self._words) + second)
        keys, owners = np.concatenate([words, pairs]), np.concatenate([owners, owners[1:][adjacent]])
        return owners[keys != UNKNOWN], keys[keys != UNKNOWN]


def _counted(keys: Indices) -> tuple[Indices, Indices]:
    """The different keys, sorted, and how often each occurs."""
    keys = np.sort(keys)
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return keys[starts], np.diff(starts, append=len(keys))
