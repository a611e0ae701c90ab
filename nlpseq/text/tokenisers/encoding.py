"""The tokens of a corpus, piece by piece, by as many processes as it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.heap import PIECES, give_back
from nlpseq.text.stream import token_type
from nlpseq.text.tokenisers.sharing import share_pieces
from nlpseq.text.tokenisers.subwords import MANY_WORDS
from nlpseq.text.tokenisers.table import load_tokeniser
from nlpseq.text.tokenisers.tokeniser import Tokeniser

BLOCK = 1 << 16  # tokens


class EncodedPiece(NamedTuple):
    """The tokens of a piece of text."""

    ids: NDArray[Any]  # [T], of the smallest unsigned type
    counts: NDArray[np.int32]  # [V], how often each token occurs
    characters: int


def encode_pieces(tokeniser: Tokeniser, pieces: Iterable[str], processes: int | None = None) -> Iterator[EncodedPiece]:
    """The tokens of each piece, in order, as `Tokeniser.encode` gives them with `exact` off; see `share_pieces`."""
    here, function = encoder(tokeniser), f"{__name__}:loaded_encoder"
    return share_pieces(here, function, tokeniser.to_bytes(), pieces, processes, tokeniser.encoded_alone)


def loaded_encoder(data: bytes) -> Callable[[str], EncodedPiece]:
    """The `encoder` of a stored tokeniser, for a worker process; it leaves no holes in the heap."""
    encode, numbers = encoder(load_tokeniser(data)), count(1)

    def encode_and_give_back(piece: str) -> EncodedPiece:
        if next(numbers) % PIECES == 0:
            give_back()
        return encode(piece)

    return encode_and_give_back


def encoder(tokeniser: Tokeniser) -> Callable[[str], EncodedPiece]:
    """A function that encodes a piece of text."""
    kind = token_type(tokeniser.size)
    tokeniser.remember(MANY_WORDS)

    def encode(piece: str) -> EncodedPiece:
        ids = tokeniser.encode(piece, exact=False)
        return EncodedPiece(ids.astype(kind), _counts(ids, tokeniser.size), len(piece))

    return encode


def _counts(ids: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """How often each token occurs [V], counted in blocks that stay in the processor's cache."""
    counts = np.zeros(size, np.int32)
    for start in range(0, len(ids), BLOCK):
        counts += np.bincount(ids[start : start + BLOCK], minlength=size)
    return counts
