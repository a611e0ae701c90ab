"""What a check looks at in pairs of texts: a chunk of them at a time, so that several processes can share the work.

Hashes are the same in every process, unlike Python's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.encodings import to_utf8

SHIFTS = (-3, -2, -1, 1, 2, 3)  # lines by which the target may be ahead of the source
UNRELATED = (17, 29, 53)  # shifts between lines that do not belong together
COMPARED = (0, *SHIFTS, *UNRELATED)  # shifts for which shared words are counted
BEFORE = max(COMPARED)  # pairs before a chunk that its words are compared with
MOST_SHARED = 4  # a greater number of shared words tells no more
FEW_LETTERS = 5  # fewer do not show a script

RECORD = [
    ("lengths", "<i4", (2,)),  # characters of source and target
    ("filled", "<i4", (2,)),  # the same without spaces around them
    ("commas", "<i4", (2,)),
    ("words", "u1", (len(COMPARED),)),  # words shared by source and target, one of them `shift` pairs before this pair
]

_WORDS = re.compile(r"\d+|[^\W\d_]{3,}")
_OTHER_COMMAS = re.compile("[\uff0c\u3001\u060c]")
_START = 3  # letters of a word; related words of two languages often start alike
_MOST_STARTS = 1 << 17  # words whose starts are kept

Starts = frozenset[str]


class Chunk(NamedTuple):
    """Some pairs in a row, of which the first `before` are known from the chunk before."""

    sources: list[str]
    targets: list[str]
    before: int


class Script(NamedTuple):
    """The letters of a script in a chunk; the texts with FEW_LETTERS or more of which half are its letters or more."""

    letters: int
    texts: int
    first_other: int  # index of the first text with FEW_LETTERS or more that is not one of them; -1 without any


class Letters(NamedTuple):
    """The scripts of a side of a chunk, in the order in which they appear, and the texts with FEW_LETTERS or more."""

    scripts: dict[str, Script]
    texts: int
    first: int  # index of the first of these texts; -1 without any


class Features(NamedTuple):
    """What was found in the new pairs of a chunk [N]."""

    records: NDArray[Any]  # [N] of RECORD
    hashes: NDArray[np.int64]  # [M, 3]: of source and of pair, and the index, of pairs whose source is not blank
    stripped: NDArray[np.int64]  # [N], hashes of the sources without spaces around them
    equal: NDArray[np.int64]  # indices of pairs with two equal sides
    words: tuple[int, int]
    target_bytes: int
    letters: tuple[Letters, Letters]


def make(settings: None) -> Callable[[Chunk], Features]:
    """The function that looks at a chunk, as `nlpseq.workers` loads it."""
    return features


def features(chunk: Chunk) -> Features:
    """Look at the new pairs of a chunk."""
    sources, targets = chunk.sources[chunk.before :], chunk.targets[chunk.before :]
    bare = [[text.strip() for text in side] for side in (sources, targets)]
    records = np.zeros(len(sources), RECORD)
    for side, (texts, stripped) in enumerate(zip((sources, targets), bare, strict=True)):
        records["lengths"][:, side] = list(map(len, texts))
        records["filled"][:, side] = list(map(len, stripped))
        records["commas"][:, side] = list(map(_commas, texts))
    records["words"] = shared_words(chunk)
    filled = [index for index, text in enumerate(bare[0]) if text]
    hashes = [
        (source_hash(sources[index]), source_hash(f"{sources[index]}\n{targets[index]}"), index) for index in filled
    ]
    return Features(
        records,
        np.array(hashes, np.int64).reshape(-1, 3),
        np.fromiter(map(source_hash, bare[0]), np.int64, len(sources)),
        np.array([index for index in filled if bare[0][index] == bare[1][index]], np.int64),
        (sum(len(text.split()) for text in sources), sum(len(text.split()) for text in targets)),
        len("".join(targets).encode("utf-8", "replace")),
        (letters(sources), letters(targets)),
    )


def shared_words(chunk: Chunk) -> NDArray[np.uint8]:
    """How many numbers and starts of words two texts share, up to MOST_SHARED, for each new pair and shift of COMPARED.

    Two texts that are `shift` pairs apart belong to the later pair. A text before the chunk's first shares none.
    """
    ours, theirs = ([starts(text) for text in side] for side in (chunk.sources, chunk.targets))
    shared = np.zeros((len(ours), len(COMPARED)), np.uint8)
    for number, shift in enumerate(COMPARED):
        ahead, behind = (theirs, ours) if shift > 0 else (ours, theirs)
        later = ahead[abs(shift) :]
        counts = [min(len(words & others), MOST_SHARED) for words, others in zip(later, behind, strict=False)]
        shared[abs(shift) :, number] = counts
    return shared[chunk.before :]


def _commas(text: str) -> int:
    others = 0 if text.isascii() else len(_OTHER_COMMAS.findall(text))
    return text.count(",") + others


class _StartsOfWords(dict[str, str]):
    """The start of each word, in small letters; of a number all of it."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _MOST_STARTS:
            self.clear()
        start = self[word] = word[:_START].lower() if word[0].isalpha() else word
        return start


_start_of = _StartsOfWords().__getitem__


def starts(text: str) -> Starts:
    """The numbers and the starts of words in a text."""
    return frozenset(map(_start_of, _WORDS.findall(text)))


def source_hash(text: str) -> int:
    """A hash of 64 bits, the same in every process."""
    return int.from_bytes(blake2b(to_utf8(text), digest_size=8).digest(), "little", signed=True)


def letters(texts: Sequence[str]) -> Letters:
    """Count the letters of each script in texts."""
    numbers = _scripts.of("\n".join(texts) + "\n")  # of the script of each character; 0: not a letter
    present = [int(number) for number in np.flatnonzero(np.bincount(numbers)) if number]
    if not present:
        return Letters({}, 0, -1)
    chosen = sorted(present, key=lambda number: first_index(numbers == number))
    columns = np.zeros(len(_scripts.names), np.int64)
    columns[chosen] = np.arange(1, len(chosen) + 1)
    owners = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    size = len(chosen) + 1
    counts = np.bincount(owners * size + columns[numbers], minlength=len(texts) * size).reshape(-1, size)[:, 1:]
    totals = counts.sum(axis=1)
    enough = totals >= FEW_LETTERS
    is_main = (2 * counts >= totals[:, None]) & enough[:, None]
    others = ~is_main & enough[:, None]
    found = {
        _scripts.names[number]: Script(
            int(counts[:, column].sum()), int(is_main[:, column].sum()), first_index(others[:, column])
        )
        for column, number in enumerate(chosen)
    }
    return Letters(found, int(enough.sum()), first_index(enough))


def first_index(which: NDArray[np.bool_]) -> int:
    """The index of the first that is true; -1 if none is."""
    return int(which.argmax()) if which.any() else -1


class _Scripts:
    """A table of the script of each character, which is filled as characters are met."""

    def __init__(self) -> None:
        self.names = [""]
        self._numbers = np.full(0x110000, -1, np.int16)

    def of(self, text: str) -> NDArray[np.int16]:
        """The numbers of the scripts of a text's characters; 0 for what is not a letter."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        for code in np.unique(codes[self._numbers[codes] < 0]).tolist():
            name = script(chr(code))
            if name not in self.names:
                self.names.append(name)
            self._numbers[code] = self.names.index(name)
        return self._numbers[codes]


_scripts = _Scripts()


@cache
def script(character: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN; Chinese and Japanese count as one script."""
    if not character.isalpha():
        return ""
    word = unicodedata.name(character, "?").split()[0]
    return "CJK" if word in ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC") else word
