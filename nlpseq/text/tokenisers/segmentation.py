"""Random segmentations of texts into word pieces, so that a model in training sees a word cut in several ways.

A fraction of what joins characters to pieces is left out at random, for each occurrence of a word anew:

    bpe       before each merge, each pair that could be merged is left out (BPE dropout, Provilkov et al., 2020)
    unigram   each piece of several characters is left out wherever it fits, and the likeliest of the others are taken

With 0 that is the tokeniser's own segmentation, and with 1 all characters stay alone. Sentencepiece can draw
segmentations, too, but its random state cannot be saved, so a run could not be resumed to the bit; and it leaves a
merge out for good, which makes texts longer. Here a word's segmentation depends on the word, the seed and a number
below VARIANTS alone. It is computed when it is first needed, and remembered, so a batch of 128 pairs takes about 4
milliseconds. The cost is that a word has at most VARIANTS segmentations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from hashlib import blake2b
from operator import add

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.encodings import to_utf8
from nlpseq.text.tokenisers.subwords import LONGEST_REMEMBERED, MANY_WORDS, cut_into_words, is_spelled

VARIANTS = 16
NO_PIECE = float("-inf")
UNKNOWN_PENALTY = 10.0  # nats that a character without a piece costs more than the least likely piece

Keep = Callable[[], bool]  # whether a merge or a piece is kept


class Pieces:
    """The pieces of a vocabulary with their scores."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.scores = scores
        self.longest = max(map(len, scores), default=1)
        self.unknown = min(scores.values(), default=0.0) - UNKNOWN_PENALTY


Cut = Callable[[str, Pieces, Keep], list[str]]  # a word into pieces


def merged(word: str, known: Pieces, keep: Keep) -> list[str]:
    """The characters of a word, merged pair by pair: each time the kept pair with the highest score."""
    pieces = list(word)
    scores = [known.scores.get(pair, NO_PIECE) for pair in map(add, pieces, pieces[1:])]  # of neighbours
    while merges := [(-score, index) for index, score in enumerate(scores) if score > NO_PIECE and keep()]:
        _, index = min(merges)
        pieces[index : index + 2] = [pieces[index] + pieces[index + 1]]
        del scores[index]
        for left in range(max(0, index - 1), min(index + 1, len(scores))):
            scores[left] = known.scores.get(pieces[left] + pieces[left + 1], NO_PIECE)
    return pieces


def likeliest(word: str, known: Pieces, keep: Keep) -> list[str]:
    """The pieces of a word with the greatest sum of log-probabilities."""
    scores = known.scores
    best: list[tuple[float, int]] = [(0.0, 0)]  # for each end: the sum, and the start of its last piece
    for end in range(1, len(word) + 1):
        found = (best[end - 1][0] + scores.get(word[end - 1], known.unknown), end - 1)
        for start in range(max(0, end - known.longest), end - 1):
            score = scores.get(word[start:end])
            if score is not None and keep():
                found = max(found, (best[start][0] + score, start))
        best.append(found)
    pieces, end = [], len(word)
    while end:
        start = best[end][1]
        pieces.append(word[start:end])
        end = start
    return pieces[::-1]


CUTS: dict[str, Cut] = {"bpe": merged, "unigram": likeliest}  # by kind of tokens


class Segmentations:
    """Draws segmentations of texts."""

    def __init__(self, cut: Cut, scores: Mapping[str, float], first_id: int, dropout: float, seed: int) -> None:
        """`scores` are those of the pieces in the order of their ids, from `first_id` on; lower ids are bytes."""
        self._cut, self._known = cut, Pieces(scores)
        self._ids = {piece: first_id + index for index, piece in enumerate(scores)}
        self._dropout, self._seed = dropout, seed
        self._random = random.Random()
        self._words = _Words()

    def encode(self, text: str, generator: np.random.Generator) -> NDArray[np.int32]:
        """Ids [T] of a text, drawn by `generator`."""
        words = cut_into_words(text)
        chosen = generator.integers(VARIANTS, size=len(words)).tolist()
        known = map(self._words.__getitem__, words)
        drawn = [
            variants[number] or self._draw(word, number, variants)
            for word, number, variants in zip(words, chosen, known, strict=True)
        ]
        return np.frombuffer(b"".join(drawn), np.int32)

    def _draw(self, word: str, number: int, variants: list[bytes]) -> bytes:
        """The ids of one of a word's segmentations, which is remembered among its `variants`."""
        drawn = np.array(self._segmented(word, number), np.int32).tobytes()
        variants[number] = next((other for other in variants if other == drawn), drawn)  # equal ones are kept once
        return drawn

    def _segmented(self, word: str, number: int) -> list[int]:
        if is_spelled(word):
            return list(to_utf8(word))
        name = f"{self._seed}/{number}/{word}".encode()
        self._random.seed(int.from_bytes(blake2b(name, digest_size=8).digest(), "big"))
        draw, dropout = self._random.random, self._dropout
        ids: list[int] = []
        for piece in self._cut(word, self._known, lambda: draw() >= dropout):
            token = self._ids.get(piece)
            ids += to_utf8(piece) if token is None else (token,)
        return ids


class _Words(dict[str, list[bytes]]):
    """The ids of words in each of their segmentations; b"" for those that have not been needed yet.

    MANY_WORDS words are kept, and as many that were kept before them.
    """

    def __init__(self) -> None:
        self._older: dict[str, list[bytes]] = {}

    def __missing__(self, word: str) -> list[bytes]:
        variants = self._older.get(word) or [b""] * VARIANTS
        if len(self) >= MANY_WORDS:
            self._older = dict(self)
            self.clear()
        if len(word) <= LONGEST_REMEMBERED:
            self[word] = variants
        return variants
