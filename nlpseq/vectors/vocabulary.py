"""The words, or tokens, whose vectors in a model's embedding are most like a word's, by cosine.

A word that is several tokens has the mean of their vectors. The vectors of n-grams, if the model has them, are not
looked at. Bytes that are no characters are never found.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from nlpseq.errors import OptionError
from nlpseq.models.model_file import Model
from nlpseq.text.display import quoted
from nlpseq.text.tokenisers import NUM_BYTES, Tokeniser
from nlpseq.vectors.embedder import unit_length

OF_CHARACTERS = ("byte", "char")  # kinds of tokens of which the bytes are among the words
OF_WORDS = "word"
BYTE = "<0x"  # starts the spelling of a byte that is no character


class SimilarWord(NamedTuple):
    """A token as it is spelled, and how like a word it is."""

    similarity: float  # the cosine of both vectors
    word: str

    @property
    def shown(self) -> str:
        """The word."""
        return self.word


class Vocabulary:
    """The words of a model and their vectors."""

    def __init__(self, model: Model) -> None:
        self.tokeniser: Tokeniser = model.tokeniser
        self.lowercase = bool(model.options.get("lowercase"))
        self.embedding = model.weights["embedding.weight"]
        self._first = 0 if self.tokeniser.kind in OF_CHARACTERS else NUM_BYTES
        self._units = unit_length(self.embedding[self._first : self.tokeniser.size])
        self._bytes = [token for token in range(self._first, NUM_BYTES) if self.tokeniser.spell(token).startswith(BYTE)]

    @property
    def tokens(self) -> str:
        """What the tokens are: words, characters, bytes, or pieces of words."""
        names = {OF_WORDS: "words", "char": "characters", "byte": "bytes"}
        return names.get(self.tokeniser.kind, "pieces of words")

    def count(self, word: str) -> int:
        """The number of different tokens of a word. Raises OptionError for a word that is not known."""
        return len(self._ids(word))

    def nearest(self, word: str, top: int) -> list[SimilarWord]:
        """The `top` tokens most like a word, without its own. Raises OptionError for a word that is not known."""
        ids = self._ids(word)
        (vector,) = unit_length(self.embedding[ids].mean(0, keepdims=True))
        similarities = self._units @ vector
        similarities[ids - self._first] = -np.inf
        similarities[np.array(self._bytes, np.int64) - self._first] = -np.inf
        order = np.argsort(-similarities, kind="stable")[: min(top, int(np.isfinite(similarities).sum()))]
        return [
            SimilarWord(float(similarities[index]), self.tokeniser.spell(int(index) + self._first)) for index in order
        ]

    def _ids(self, word: str) -> np.ndarray:
        """The different tokens of a word, which are all known."""
        word = word.strip()
        text = word.lower() if self.lowercase else word
        if not text:
            raise OptionError("word", "must not be blank")
        ids = self.tokeniser.encode(text, exact=False)
        if self._first:  # a word of pieces may have a piece that starts with a space
            ids = min(self.tokeniser.encode(" " + text, exact=False), ids, key=len)
        if ids.min() < self._first:
            near = get_close_matches(text, [unit.strip() for unit in self.tokeniser.units], 1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise OptionError("word", f"must be in the model's vocabulary, was {quoted(word)}", hint)
        return np.unique(ids)
