"""The table of tokenisers, with functions that train and load one. A new kind is one line in TOKENISERS."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches

from nlpseq.errors import TokeniserError
from nlpseq.text.tokenisers.characters import ByteTokeniser, CharTokeniser
from nlpseq.text.tokenisers.pieces import BpeTokeniser, UnigramTokeniser
from nlpseq.text.tokenisers.tokeniser import FORMAT, NUM_BYTES, Tokeniser, checksum, damaged
from nlpseq.text.tokenisers.words import WordTokeniser

TOKENISERS: dict[str, type[Tokeniser]] = {
    tokeniser.kind: tokeniser
    for tokeniser in (ByteTokeniser, CharTokeniser, WordTokeniser, UnigramTokeniser, BpeTokeniser)
}


def train_tokeniser(kind: str, lines: Iterable[str], vocabulary_size: int) -> Tokeniser:
    """Learn a tokeniser of at most `vocabulary_size` tokens, bytes included, from lines without newlines.

    The vocabulary is smaller if the corpus is too small for `vocabulary_size`; see the tokeniser's `size`. Raises
    TokeniserError for an unknown kind and for a size below 256.
    """
    check_request(kind, vocabulary_size)
    return TOKENISERS[kind].train(lines, vocabulary_size)


def check_request(kind: str, vocabulary_size: int) -> None:
    """Raises TokeniserError for an unknown kind of tokens and for a vocabulary that cannot hold the bytes."""
    if kind not in TOKENISERS:
        near = get_close_matches(kind, TOKENISERS, 1)
        hint = f"did you mean {near[0]}?" if near else "choose one of " + ", ".join(TOKENISERS)
        raise TokeniserError("tokeniser", f"there is no kind {kind!r}", hint)
    if vocabulary_size < NUM_BYTES:
        raise TokeniserError(
            "tokeniser",
            f"a vocabulary of {vocabulary_size} cannot hold the {NUM_BYTES} bytes",
            "ask for 256 or more",
        )


def load_tokeniser(data: bytes) -> Tokeniser:
    """The tokeniser that `to_bytes` wrote. Raises TokeniserError if `data` is damaged, foreign or newer."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise damaged("it is not JSON") from None
    if not isinstance(document, dict) or "nlpseq-tokeniser" not in document:
        raise TokeniserError("tokeniser", "this is not a tokeniser of nlpseq")
    if document["nlpseq-tokeniser"] != FORMAT:
        what = f"its format is {document['nlpseq-tokeniser']!r:.80}, but this version reads {FORMAT}"
        raise TokeniserError("tokeniser", what, "pip install --upgrade nlpseq")
    kind, payload = document.get("kind"), document.get("payload")
    if not isinstance(kind, str) or kind not in TOKENISERS:
        raise damaged(f"there is no kind {kind!r:.80}")
    if document.get("check") != checksum(payload):
        raise damaged("its checksum does not agree with its contents")
    return TOKENISERS[kind].from_payload(payload)
