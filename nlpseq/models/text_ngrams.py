"""The n-grams of texts, as numbers that a linear model counts.

    words        words and word pairs
    parts        words and word pairs, and as a second group the characters of each word, 2 to 5 in a row
    characters   1 to 3 characters in a row, for scripts without spaces between words

A word is a run of letters and digits, or one other character. Characters are counted within a word and the spaces
around it, so they are stems and endings, which short texts share more often than whole words.

An n-gram is a hash of 31 bits, computed for all texts of a portion at once from running sums (Karp and Rabin, 1987).
Two of a hundred thousand n-grams hardly ever have one hash. The cost is that nobody can read an n-gram in the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORDS, PARTS, CHARACTERS = KINDS = ("words", "parts", "characters")
PAIRS = 2  # words in a row, at most
WITHIN_WORDS = (2, 3, 4, 5)
IN_A_ROW = (1, 2, 3)  # of CHARACTERS
SECOND_GROUP = np.uint32(1 << 31)  # marks the characters of words
CHARACTERS_AT_ONCE = 1 << 18
SPACE = 32

_WORD = re.compile(r"\w+|[^\w\s]")
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIXES = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


class NGrams(NamedTuple):
    """The different n-grams of some texts."""

    texts: Numbers  # [M] index of the text, ascending
    keys: NDArray[np.uint32]  # [M] ascending within a text
    counts: Numbers  # [M] how often the text has the n-gram


def count_ngrams(texts: Sequence[str], kind: str) -> NGrams:
    """The n-grams of texts, which are in lower case or not, as a model was trained."""
    spaced = [f" {' '.join(text.split() if kind == CHARACTERS else _WORD.findall(text))} " for text in texts]
    codes = np.frombuffer("".join(spaced).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(text) for text in spaced])
    found = _character_keys(codes, owner) if kind == CHARACTERS else _word_keys(codes, owner, parts=kind == PARTS)
    cells = np.sort(np.concatenate([starts_owner << np.uint64(32) | keys for starts_owner, keys in found]))
    firsts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1])[: len(cells)])
    counts = np.diff(firsts, append=len(cells))
    cells = cells[firsts]
    return NGrams((cells >> np.uint64(32)).astype(np.int64), cells.astype(np.uint32), counts)


def portions(texts: Iterable[str], characters: int = CHARACTERS_AT_ONCE) -> Iterator[list[str]]:
    """Texts in lists of at most this number of characters, unless a text alone has more."""
    portion: list[str] = []
    size = 0
    for text in texts:
        if portion and size + len(text) > characters:
            yield portion
            portion, size = [], 0
        portion.append(text)
        size += len(text)
    if portion:
        yield portion


class _Spans:
    """The hash of any span of an array of codes, from sums of codes times powers of a base."""

    def __init__(self, codes: Hashes) -> None:
        self._inverses = _powers(_INVERSE, len(codes) + 1)
        self._sums = np.concatenate(([np.uint64(0)], np.cumsum((codes + np.uint64(1)) * _powers(_BASE, len(codes)))))

    def hashes(self, starts: Numbers, ends: Numbers) -> Hashes:
        """The hashes of the spans from `starts` [K] to before `ends` [K]."""
        hashes: Hashes = (self._sums[ends] - self._sums[starts]) * self._inverses[starts]
        return hashes


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, np.uint64(base))
    powers[:1] = 1
    products: Hashes = np.cumprod(powers)
    return products


def _keys(hashes: Hashes, order: int) -> Hashes:
    """Hashes as keys of 31 bits, different for n-grams of different orders; mixed as by SplitMix64 (Vigna, 2015)."""
    mixed = hashes + np.uint64(order)
    for shift, factor in zip((30, 27), _MIXES, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
    return mixed >> np.uint64(33)


def _word_keys(codes: Hashes, owner: Hashes, *, parts: bool) -> Iterator[tuple[Hashes, Hashes]]:
    """The texts and keys of words, word pairs and `parts` of words. Each text starts and ends with a space."""
    spans, is_space = _Spans(codes), codes == SPACE
    spaces = np.flatnonzero(is_space)
    starts, ends = spaces[:-1] + 1, spaces[1:]
    words = ends > starts  # not between one text and the next
    starts, ends = starts[words], ends[words]
    word_hashes, word_owner = spans.hashes(starts, ends), owner[starts]
    yield word_owner, _keys(word_hashes, 1)
    pairs = word_owner[1:] == word_owner[:-1]
    joined = word_hashes[:-1] * np.uint64(_BASE) + word_hashes[1:]
    yield word_owner[1:][pairs], _keys(joined[pairs], 2)
    if not parts:
        return
    positions = np.arange(len(codes))
    next_space = np.append(spaces, len(codes))[np.searchsorted(spaces, positions, side="right")]
    next_space[spaces[:-1][~words]] = -1
    next_space[-1:] = -1
    for length in WITHIN_WORDS:
        chosen = np.flatnonzero(positions + length - 1 <= next_space)
        keys = _keys(spans.hashes(chosen, chosen + length), 2 + length)
        yield owner[chosen], keys | np.uint64(SECOND_GROUP)


def _character_keys(codes: Hashes, owner: Hashes) -> Iterator[tuple[Hashes, Hashes]]:
    """The texts and keys of characters in a row."""
    spans, positions = _Spans(codes), np.arange(len(codes))
    for length in IN_A_ROW:
        chosen = positions[: len(codes) - length + 1]
        chosen = chosen[owner[chosen] == owner[chosen + length - 1]]
        yield owner[chosen], _keys(spans.hashes(chosen, chosen + length), length)
