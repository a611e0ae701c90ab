"""Unknown words of a translation, copied from the source (Luong et al., 2015, "rare words").

A word without a unit in the vocabulary is spelled in bytes, and a model that has seldom seen them spells badly. Here
each such word of a translation is replaced by the source word that got most attention while it was spelled. This is
right for names and numbers, and wrong for words that have a translation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlpseq.decoding.beam import Rows, Values
from nlpseq.text.tokenisers import NEWLINE, NUM_BYTES, Tokeniser

SPACE = ord(" ")


def has_unknown(tokeniser: Tokeniser, tokens: Sequence[int]) -> bool:
    """Whether a text [T] has bytes instead of units; never with tokenisers of bytes and characters."""
    return can_have_unknown(tokeniser) and any(token < NUM_BYTES and token not in (SPACE, NEWLINE) for token in tokens)


def can_have_unknown(tokeniser: Tokeniser) -> bool:
    """Whether a tokeniser has units that are words."""
    return tokeniser.kind not in ("byte", "char")


def replace_unknown(tokeniser: Tokeniser, source: Rows, tokens: Sequence[int], attention: Values) -> list[bytes]:
    """The words of a text [T] in bytes, with unknown words replaced by words of the source [S].

    `attention` [T + 1, S] are the weights of the text's tokens and of its end.
    """
    source_words, source_word_of = _words(tokeniser, source[:-1].tolist())
    words, word_of = _words(tokeniser, tokens)
    for word in {word_of[index] for index, token in enumerate(tokens) if has_unknown(tokeniser, [token])}:
        weights = attention[np.flatnonzero(word_of == word)].sum(0)[: len(source_word_of)]
        if len(source_word_of):
            words[word] = source_words[int(np.bincount(source_word_of, weights).argmax())]
    return words


def _words(tokeniser: Tokeniser, tokens: Sequence[int]) -> tuple[list[bytes], Rows]:
    """The words between the spaces of a text [T], and for each token the index [T] of the word of its last byte."""
    before = [None, *tokens][: len(tokens)]
    pieces = [tokeniser.piece(previous, token) for previous, token in zip(before, tokens, strict=True)]
    words = b"".join(pieces).split(b" ")
    spaces = np.cumsum([piece.count(b" ") for piece in pieces], dtype=np.int64)
    return words, spaces
