"""Unknown words of a translation, taken over from the source (Luong et al., 2015, "rare words").

A word that has no unit in the vocabulary is spelled in bytes, which a model that has seldom seen them spells badly.
Here each such word of a translation becomes the source's word that attention looked at most while it was spelled:
right for names and numbers, wrong for what ought to be translated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlpseq.decoding.beam import Rows, Values
from nlpseq.text.tokenisers import NEWLINE, NUM_BYTES, Tokeniser

SPACE = ord(" ")


def has_unknown(tokeniser: Tokeniser, tokens: Sequence[int]) -> bool:
    """Whether a text [T] has a byte where a unit could be; never so with tokenisers whose tokens are characters."""
    return can_have_unknown(tokeniser) and any(token < NUM_BYTES and token not in (SPACE, NEWLINE) for token in tokens)


def can_have_unknown(tokeniser: Tokeniser) -> bool:
    """Whether a tokeniser knows words at all."""
    return tokeniser.kind not in ("byte", "char")


def replace_unknown(tokeniser: Tokeniser, source: Rows, tokens: Sequence[int], shares: Values) -> list[bytes]:
    """The words of a text [T] in bytes, unknown ones replaced by those of the source [S] at shares [T + 1, S]."""
    theirs, whose = _words(tokeniser, source[:-1].tolist())
    ours, places = _words(tokeniser, tokens)
    for word in {places[place] for place, token in enumerate(tokens) if has_unknown(tokeniser, [token])}:
        looked = shares[np.flatnonzero(places == word)].sum(0)[: len(whose)]
        if len(whose):
            ours[word] = theirs[int(np.bincount(whose, looked).argmax())]
    return ours


def _words(tokeniser: Tokeniser, tokens: Sequence[int]) -> tuple[list[bytes], Rows]:
    """The words between spaces of a text [T], and which of them each token belongs to [T]: that of its last byte."""
    pieces = [tokeniser.piece(previous, token) for previous, token in zip([None, *tokens[:-1]], tokens, strict=True)]
    words = b"".join(pieces).split(b" ")
    spaces = np.cumsum([piece.count(b" ") for piece in pieces], dtype=np.int64)
    return words, spaces
