"""The n-grams of texts, as numbers that a linear model counts.

    words        words and word pairs
    parts        words and word pairs, and as a second group the characters of each word, 2 to 5 in a row
    characters   1 to 3 characters in a row, for scripts without spaces between words

A word is a run of letters and digits, or one other character. Characters are counted within a word and the spaces
around it, so they are stems and endings, which short texts share more often than whole words.

An n-gram is a hash of 31 bits, computed for all texts of a portion at once from running sums (Karp and Rabin, 1987).
Two of a hundred thousand n-grams hardly ever have one hash. The cost is that the n-grams of a model cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WORDS, PARTS, CHARACTERS = KINDS = ("words", "parts", "characters")
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

    texts: NDArray[np.int32]  # [M] index of the text, ascending
    keys: NDArray[np.uint32]  # [M] ascending within a text
    counts: NDArray[np.int32]  # [M] how often the text has the n-gram


class Spans(NamedTuple):
    """Some of the n-grams of a string, each as often as it occurs."""

    starts: Numbers  # [K] indices of characters
    ends: Numbers  # [K] behind the last character
    keys: NDArray[np.uint32]  # [K]


def count_ngrams(texts: Sequence[str], kind: str) -> NGrams:
    """The n-grams of texts, which are in lower case or not, as a model was trained."""
    spaced = [spaced_text(text, kind) for text in texts]
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64) << np.uint64(32), [len(text) for text in spaced])
    found = [owner[spans.starts] | spans.keys for spans in _spans("".join(spaced), owner, kind)]
    cells = np.sort(np.concatenate(found))
    firsts = run_starts(cells)
    counts = np.diff(firsts, append=len(cells))
    cells = cells[firsts]
    return NGrams((cells >> np.uint64(32)).astype(np.int32), cells.astype(np.uint32), counts.astype(np.int32))


def locate_ngrams(text: str, kind: str) -> Spans:
    """Where the n-grams of a text are in `spaced_text`."""
    spaced = spaced_text(text, kind)
    found = _spans(spaced, np.zeros(len(spaced), np.uint64), kind)
    return Spans(*(np.concatenate(values) for values in zip(*found, strict=True)))


def spaced_text(text: str, kind: str) -> str:
    """A text as its n-grams are taken from it: a space before each word and behind the last; nothing for a blank text.

    With CHARACTERS, a word is all between two spaces.
    """
    words = text.split() if kind == CHARACTERS else _WORD.findall(text)
    return f" {' '.join(words)} " if words else ""


def run_starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where each value starts in a sorted array; `np.unique` is thirty times slower, because its hashes collide."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])


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


class _Hashes:
    """The hash of any span of an array of codes, from sums of codes times powers of a base."""

    def __init__(self, codes: Hashes) -> None:
        self._inverses = _powers(_INVERSE, len(codes) + 1)
        self._sums = np.concatenate(([np.uint64(0)], np.cumsum((codes + np.uint64(1)) * _powers(_BASE, len(codes)))))

    def keys(self, starts: Numbers, ends: Numbers, order: int) -> NDArray[np.uint32]:
        """The keys of the spans from `starts` [K] to before `ends` [K]; those of different orders differ."""
        return _mixed((self._sums[ends] - self._sums[starts]) * self._inverses[starts], order)

    def keys_at(self, starts: Numbers, length: int, order: int) -> NDArray[np.uint32]:
        """As `keys`, of many spans of one length; all spans are hashed, which is faster than choosing them first."""
        behind = self._sums[length:]
        return _mixed((behind - self._sums[: len(behind)]) * self._inverses[: len(behind)], order)[starts]


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, np.uint64(base))
    powers[:1] = 1
    products: Hashes = np.cumprod(powers)
    return products


def _mixed(hashes: Hashes, order: int) -> NDArray[np.uint32]:
    """Hashes as keys of 31 bits, mixed as by SplitMix64 (Vigna, 2015); overwrites the hashes."""
    hashes += np.uint64(order)
    for shift, factor in zip((30, 27), _MIXES, strict=True):
        hashes ^= hashes >> np.uint64(shift)
        hashes *= factor
    return (hashes >> np.uint64(33)).astype(np.uint32)


def _spans(spaced: str, owner: Hashes, kind: str) -> Iterator[Spans]:
    """The n-grams of a portion, within each text; `owner` tells the texts of its characters apart."""
    codes = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if kind == CHARACTERS:
        return _character_spans(_Hashes(codes), owner)
    return _word_spans(_Hashes(codes), codes == SPACE, owner, parts=kind == PARTS)


def _word_spans(hashes: _Hashes, is_space: NDArray[np.bool_], owner: Hashes, *, parts: bool) -> Iterator[Spans]:
    """Words, word pairs and `parts` of words."""
    spaces = np.flatnonzero(is_space)
    words = np.diff(spaces) > 1  # not between one text and the next
    starts, ends = spaces[:-1][words] + 1, spaces[1:][words]
    yield Spans(starts, ends, hashes.keys(starts, ends, 1))
    pairs = owner[starts[1:]] == owner[starts[:-1]]
    firsts, lasts = starts[:-1][pairs], ends[1:][pairs]
    yield Spans(firsts, lasts, hashes.keys(firsts, lasts, 2))
    if not parts:
        return
    last = np.repeat(np.where(words, spaces[1:], -1), np.diff(spaces))  # the space that ends a word, of each character
    positions = np.arange(len(last))
    for length in WITHIN_WORDS:
        chosen = np.flatnonzero(positions + (length - 1) <= last)
        yield Spans(chosen, chosen + length, hashes.keys_at(chosen, length, 2 + length) | SECOND_GROUP)


def _character_spans(hashes: _Hashes, owner: Hashes) -> Iterator[Spans]:
    """Characters in a row."""
    for length in IN_A_ROW:
        behind = owner[length - 1 :]
        chosen = np.flatnonzero(owner[: len(behind)] == behind)
        yield Spans(chosen, chosen + length, hashes.keys_at(chosen, length, length))
