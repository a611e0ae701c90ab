"""Text to token ids and back, without loss.

    byte      no units: every byte is a token
    char      units are the characters beyond ASCII (an ASCII character is its byte)
    word      units are the words between single spaces
    unigram   units are word pieces, chosen by likelihood (Kudo, 2018)
    bpe       units are word pieces, merged pair by pair (Sennrich et al., 2016)

Every vocabulary starts with the 256 bytes, ids 0 to 255; ids from 256 are the units learned from a corpus. There is no
unknown token, no padding and no sentence mark: text without a unit is spelled in its UTF-8 bytes, and NEWLINE (10) ends
a line. So every text can be encoded, decoding restores it, and bits per byte mean the same under every tokeniser. The
price is 256 rows in every embedding; a word model trains few of them.

Text is `str` in which an undecodable byte is a lone surrogate, as from `bytes.decode("utf-8", "surrogateescape")`. A
tokeniser is stored as one JSON document inside the model file.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import TokeniserError
from nlpseq.text.tokenisers.subwords import SPACE_MARK

NUM_BYTES = 256
NEWLINE = 10
SPACE = 32
FORMAT = 1  # version of the file format


class Tokeniser(ABC):
    """A vocabulary of the 256 bytes and learned units, and a method that cuts text into them."""

    kind: ClassVar[str]
    description: ClassVar[str]
    encoded_alone: ClassVar[int | None] = 4_000_000  # characters before worker processes start; None: any number
    learned_from: int | None = None  # characters of the sample that it was trained on just now; None: the whole text

    def __init__(self, units: Sequence[str]) -> None:
        self.units = tuple(units)
        self._pieces = [bytes([value]) for value in range(NUM_BYTES)] + [unit.encode() for unit in units]

    @classmethod
    @abstractmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        """Learn at most `vocabulary_size - 256` units from lines without newlines."""

    @classmethod
    @abstractmethod
    def from_payload(cls, payload: Any) -> Self:
        """The tokeniser of a `payload`. Raises TokeniserError if it is damaged."""

    @abstractmethod
    def payload(self) -> Any:
        """Everything that was learned, as JSON values."""

    @abstractmethod
    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        """Ids [T] of any text; `exact` matters to the word tokeniser only."""

    def remember(self, words: int) -> None:  # noqa: B027 - most kinds remember none
        """Keep the ids of up to twice this number of words, which makes a long text faster to encode."""

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary, the 256 bytes included."""
        return len(self._pieces)

    @cached_property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell one tokeniser from another."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:8]

    def piece(self, previous: int | None, token: int) -> bytes:
        """The bytes that `token` adds to a text whose last token is `previous`; None at the start of a text."""
        if not 0 <= token < len(self._pieces):
            raise _unknown_token(token, self.size)
        return self._pieces[token]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids [T] spell. Raises TokeniserError for an id outside the vocabulary."""
        tokens: list[int] = ids.tolist() if isinstance(ids, np.ndarray) else [int(token) for token in ids]
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.size:
            raise _unknown_token(min(tokens) if min(tokens) < 0 else max(tokens), self.size)
        return self._join(tokens)

    def _join(self, tokens: list[int]) -> bytes:
        return b"".join(map(self._pieces.__getitem__, tokens))

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids [T] spell, undecodable bytes as lone surrogates."""
        return self.decode_bytes(ids).decode("utf-8", "surrogateescape")

    def spell(self, token: int) -> str:
        """A printable name of one token: a unit's text, or `<0x0A>` for a byte."""
        if not 0 <= token < self.size:
            raise _unknown_token(token, self.size)
        return f"<0x{token:02X}>" if token < NUM_BYTES else _printable(self.units[token - NUM_BYTES])

    def to_bytes(self) -> bytes:
        """A self-contained file: JSON in UTF-8."""
        payload = self.payload()
        document = {
            "nlpseq-tokeniser": FORMAT,
            "kind": self.kind,
            "check": checksum(payload),
            "payload": payload,
        }
        return to_json(document)


def to_json(value: Any) -> bytes:
    """A value in JSON with its keys sorted, in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # only a damaged document has characters to replace


def checksum(payload: Any) -> str:
    """The first digits of the SHA-256 of a tokeniser's payload."""
    return hashlib.sha256(to_json(payload)).hexdigest()[:16]


def damaged(reason: str) -> TokeniserError:
    """The error for a damaged tokeniser file."""
    return TokeniserError("tokeniser", f"it is damaged: {reason}", "take a good copy, or train it again")


def _unknown_token(token: int, size: int) -> TokeniserError:
    return TokeniserError("tokeniser", f"there is no token {token}: ids go from 0 to {size - 1}")


def checked_units(payload: Any, is_unit: Callable[[str], bool]) -> list[str]:
    """The units of a payload. Raises TokeniserError if they are not units."""
    if not isinstance(payload, list) or not all(isinstance(unit, str) and is_unit(unit) for unit in payload):
        raise damaged("its units include something that cannot be a unit")
    if len(set(payload)) != len(payload):
        raise damaged("it has a unit twice")
    return payload


def _printable(unit: str) -> str:
    """A unit with spaces shown as SPACE_MARK, and invisible characters as their code points: `<U+200D>`."""
    shown = unit.replace(SPACE_MARK, f"<U+{ord(SPACE_MARK):04X}>").replace(" ", SPACE_MARK)
    if shown.isprintable():
        return shown
    return "".join(character if character.isprintable() else f"<U+{ord(character):04X}>" for character in shown)
