"""Text to numbers and back, with nothing lost.

    byte      no units: every byte is a token
    char      units are the characters beyond ASCII (an ASCII character is its byte)
    word      units are the words between single spaces
    unigram   units are word pieces, chosen by likelihood (Kudo 2018)
    bpe       units are word pieces, merged pair by pair (Sennrich et al. 2016)

Every vocabulary begins with the 256 bytes, ids 0 to 255; ids from 256 are the units learned from a corpus.
There is no unknown token, no padding and no sentence mark: what is not a unit is spelled in its UTF-8
bytes, and NEWLINE (10) ends a line. So encoding is total, decoding undoes it, and bits per byte mean the
same under every tokeniser. The price is 256 rows in every embedding, most of which a word model never
trains.

Text is `str` in which an undecodable byte is a lone surrogate, as `bytes.decode("utf-8",
"surrogateescape")` leaves it. A tokeniser travels as one JSON document inside the model file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import TokeniserError
from nlpseq.text.tokenisers.subwords import SPACE_MARK, SubwordModel, train_subword_model

NUM_BYTES = 256
NEWLINE = 10
SPACE = 32
LONGEST_WORD = 1000  # characters; a longer "word" is no unit, so a text may be cut inside one

_FORMAT = 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_NEVER_IN_A_WORD = re.compile("[ \n\ud800-\udfff]")
_NOT_A_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def to_utf8(text: str) -> bytes:
    """The bytes that `text` stands for.

    An escaped byte (U+DC80 to U+DCFF) becomes itself again. Any other lone surrogate stands for no byte
    (JSON can spell one) and becomes the three bytes that UTF-8 would give it, which decoding leaves
    escaped.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        escaped = _NOT_A_BYTE.sub(
            lambda found: found[0].encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"), text
        )
        return escaped.encode("utf-8", "surrogateescape")


class Tokeniser(ABC):
    """A vocabulary of the 256 bytes and some units, and how text is cut into them."""

    kind: ClassVar[str]
    description: ClassVar[str]

    def __init__(self, units: Sequence[str]) -> None:
        self.units = tuple(units)
        self._pieces = [bytes([value]) for value in range(NUM_BYTES)] + [unit.encode() for unit in units]

    @classmethod
    @abstractmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        """Learn at most `vocabulary_size - 256` units from lines that carry no newline."""

    @classmethod
    @abstractmethod
    def from_payload(cls, payload: Any) -> Self:
        """Rebuild from what `payload` returned; raise TokeniserError where it cannot be."""

    @abstractmethod
    def payload(self) -> Any:
        """Everything that was learned, as JSON values."""

    @abstractmethod
    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        """Ids [T] of any text; only the word tokeniser knows an inexact way, the others are always exact."""

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary, the 256 bytes included."""
        return len(self._pieces)

    @cached_property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell one tokeniser from another."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:8]

    def piece(self, previous: int | None, token: int) -> bytes:
        """The bytes that `token` adds to a text whose last token is `previous` (None: the text begins)."""
        if not 0 <= token < len(self._pieces):
            raise _unknown_token(token, self.size)
        return self._pieces[token]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids [T] spell; TokeniserError for an id outside the vocabulary."""
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
            "nlpseq-tokeniser": _FORMAT,
            "kind": self.kind,
            "check": _checksum(payload),
            "payload": payload,
        }
        return _json(document)


class ByteTokeniser(Tokeniser):
    """Every byte is a token; nothing is learned."""

    kind = "byte"
    description = "bytes: 256 tokens, any language, long sequences"

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        return cls(())

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        if payload != []:
            raise _damaged("a byte tokeniser with units")
        return cls(())

    def payload(self) -> Any:
        return []

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        return np.frombuffer(to_utf8(text), np.uint8).astype(np.int32)

    def spell(self, token: int) -> str:
        return _spell_character(token) or super().spell(token)


class CharTokeniser(Tokeniser):
    """ASCII characters are their bytes; the most frequent others are units, ties in code point order."""

    kind = "char"
    description = "characters; rare ones in bytes"

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        counts: Counter[str] = Counter()
        for line in lines:
            if not line.isascii():
                counts.update(line)
        characters = [character for character in _by_frequency(counts) if _is_character_unit(character)]
        return cls(characters[: vocabulary_size - NUM_BYTES])

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        return cls(_checked_units(payload, _is_character_unit))

    def payload(self) -> Any:
        return list(self.units)

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = self._table[code_points]
        unknown = ids < 0
        return _spell_in_utf8(code_points, ids, unknown) if unknown.any() else ids

    def spell(self, token: int) -> str:
        return _spell_character(token) or super().spell(token)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The id of every code point, -1 where it must be spelled in bytes."""
        table = np.full(0x110000, -1, np.int32)
        table[:0x80] = np.arange(0x80)
        table[0xDC80:0xDD00] = np.arange(0x80, 0x100)  # a lone surrogate is the byte it stands for
        table[[ord(unit) for unit in self.units]] = np.arange(NUM_BYTES, self.size)
        return table


class WordTokeniser(Tokeniser):
    """Words between single spaces, most frequent first, ties in code point order.

    Between two units that follow each other one space is understood; every other space is a byte token.
    Words are cut at U+0020 alone, so a comma clings to its word unless the corpus is written with spaces
    around it.
    """

    kind = "word"
    description = "words between spaces; rare ones in bytes"

    def __init__(self, units: Sequence[str]) -> None:
        super().__init__(units)
        self._ids = {"\n": NEWLINE} | {unit: NUM_BYTES + place for place, unit in enumerate(units)}

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(line.split(" "))
        words = [word for word in _by_frequency(counts) if _is_word_unit(word)]
        return cls(words[: vocabulary_size - NUM_BYTES])

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        return cls(_checked_units(payload, _is_word_unit))

    def payload(self) -> Any:
        return list(self.units)

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        """Ids [T]; with `exact` every space is kept, without it spacing is first made regular.

        The inexact way is that of language models: runs of spaces become one and lines lose the spaces at
        both ends, so that `" = Title = \\n"` is four tokens and counts agree with WikiText's published
        ones.
        """
        words = text.replace("\n", " \n ").split(" ")
        if not exact:
            words = [word for word in words if word]
        ids = list(map(self._ids.get, words))
        return np.array(_spell_unknown_words(words, ids), np.int32)

    def _join(self, tokens: list[int]) -> bytes:
        return b"".join(map(self.piece, [None, *tokens[:-1]], tokens))

    def piece(self, previous: int | None, token: int) -> bytes:
        own = super().piece(previous, token)
        between_units = token >= NUM_BYTES and previous is not None and previous >= NUM_BYTES
        return b" " + own if between_units else own


class SubwordTokeniser(Tokeniser):
    """Word pieces of a sentencepiece model; what it must not see is spelled in bytes around it."""

    def __init__(self, model: bytes) -> None:
        self._model = SubwordModel(model)
        super().__init__(self._model.units)

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        return cls(train_subword_model(cls.kind, lines, vocabulary_size - NUM_BYTES))

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        if not isinstance(payload, str):
            raise _damaged("the sentencepiece model is not text")
        try:
            return cls(base64.b64decode(payload, validate=True))
        except binascii.Error:
            raise _damaged("the sentencepiece model is not base64") from None

    def payload(self) -> Any:
        return base64.b64encode(self._model.model).decode("ascii")

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        parts = self._model.split(text)
        spelled: list[Iterable[int]] = [()] * len(parts)
        spelled[0::2] = self._model.encode(parts[0::2])
        spelled[1::2] = [to_utf8(part) for part in parts[1::2]]
        return np.fromiter(chain.from_iterable(spelled), np.int32)


class UnigramTokeniser(SubwordTokeniser):
    """Pieces whose product of probabilities is greatest (Kudo 2018)."""

    kind = "unigram"
    description = "word pieces by likelihood (sentencepiece)"


class BpeTokeniser(SubwordTokeniser):
    """Pieces made by merging the most frequent pair again and again (Sennrich et al. 2016)."""

    kind = "bpe"
    description = "word pieces by merging pairs (sentencepiece)"


TOKENISERS: dict[str, type[Tokeniser]] = {
    tokeniser.kind: tokeniser
    for tokeniser in (ByteTokeniser, CharTokeniser, WordTokeniser, UnigramTokeniser, BpeTokeniser)
}


def train_tokeniser(kind: str, lines: Iterable[str], vocabulary_size: int) -> Tokeniser:
    """Learn a tokeniser of at most `vocabulary_size` tokens, bytes included, from lines without newlines.

    A corpus too small for the size asked gives a smaller vocabulary: compare `size` with what was asked.
    Raises TokeniserError for an unknown kind and for a size below 256.
    """
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
    return TOKENISERS[kind].train(lines, vocabulary_size)


def load_tokeniser(data: bytes) -> Tokeniser:
    """Rebuild what `to_bytes` returned; TokeniserError if it is damaged, foreign or newer."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise _damaged("it is not JSON") from None
    if not isinstance(document, dict) or "nlpseq-tokeniser" not in document:
        raise TokeniserError("tokeniser", "this is not a tokeniser of nlpseq")
    if document["nlpseq-tokeniser"] != _FORMAT:
        what = f"its format is {document['nlpseq-tokeniser']!r}, this version reads {_FORMAT}"
        raise TokeniserError("tokeniser", what, "pip install --upgrade nlpseq")
    kind, payload = document.get("kind"), document.get("payload")
    if not isinstance(kind, str) or kind not in TOKENISERS:
        raise _damaged(f"there is no kind {kind!r}")
    if document.get("check") != _checksum(payload):
        raise _damaged("its checksum does not agree with its contents")
    return TOKENISERS[kind].from_payload(payload)


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # "replace" only ever acts on a damaged document


def _checksum(payload: Any) -> str:
    return hashlib.sha256(_json(payload)).hexdigest()[:16]


def _damaged(reason: str) -> TokeniserError:
    return TokeniserError("tokeniser", f"it is damaged: {reason}", "take a good copy, or train it again")


def _unknown_token(token: int, size: int) -> TokeniserError:
    return TokeniserError("tokeniser", f"there is no token {token}: ids go from 0 to {size - 1}")


def _by_frequency(counts: Counter[str]) -> list[str]:
    return [text for text, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _is_character_unit(text: str) -> bool:
    return len(text) == 1 and not text.isascii() and not _SURROGATE.match(text)


def _is_word_unit(text: str) -> bool:
    return 0 < len(text) <= LONGEST_WORD and not _NEVER_IN_A_WORD.search(text)


def _checked_units(payload: Any, is_unit: Any) -> list[str]:
    """The units of a loaded document, or TokeniserError."""
    if not isinstance(payload, list) or not all(isinstance(unit, str) and is_unit(unit) for unit in payload):
        raise _damaged("something that cannot be a unit is among its units")
    if len(set(payload)) != len(payload):
        raise _damaged("a unit stands in it twice")
    return payload


def _spell_character(token: int) -> str:
    """A byte that is a printable ASCII character as that character, a space as SPACE_MARK; else nothing."""
    if token == SPACE:
        return SPACE_MARK
    return chr(token) if SPACE < token < 0x7F else ""


def _printable(unit: str) -> str:
    """A unit with its spaces shown as SPACE_MARK and what cannot be seen as `<U+200D>`."""
    shown = unit.replace(SPACE_MARK, f"<U+{ord(SPACE_MARK):04X}>").replace(" ", SPACE_MARK)
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else f"<U+{ord(each):04X}>" for each in shown)


def _spell_in_utf8(
    code_points: NDArray[np.uint32],  # [N]
    ids: NDArray[np.int32],  # [N], of no meaning where unknown
    unknown: NDArray[np.bool_],  # [N]
) -> NDArray[np.int32]:
    """Ids [T] with the two to four UTF-8 bytes of every unknown code point in its place."""
    widths = np.ones(len(ids), np.int64)
    widths[unknown] += 1 + (code_points[unknown] >= 0x800) + (code_points[unknown] >= 0x10000)
    ends = np.cumsum(widths)
    spelled = np.empty(ends[-1], np.int32)
    spelled[ends[~unknown] - 1] = ids[~unknown]
    for width, lead in ((2, 0xC0), (3, 0xE0), (4, 0xF0)):
        chosen = widths == width
        last, rest = ends[chosen] - 1, code_points[chosen]
        for back in range(width - 1):
            spelled[last - back] = 0x80 | rest & 0x3F
            rest = rest >> 6
        spelled[last - width + 1] = lead | rest
    return spelled


def _spell_unknown_words(words: list[str], ids: list[int | None]) -> list[int]:
    """Ids with every unknown word in bytes, and with the spaces around it that no pair of units implies.

    `words` holds "\\n" between lines and "" where spaces meet; the list's neighbours within a line are one
    space apart.
    """
    spelled: list[int] = []
    done = 0
    for place in _places_of_none(ids):
        spelled.extend(ids[done:place])  # type: ignore[arg-type]  # none of these is None
        if place and words[place - 1] != "\n":
            spelled.append(SPACE)
        spelled.extend(to_utf8(words[place]))
        done = place + 1
        if done < len(ids) and words[done] != "\n" and ids[done] is not None:
            spelled.append(SPACE)
    spelled.extend(ids[done:])  # type: ignore[arg-type]
    return spelled


def _places_of_none(ids: list[int | None]) -> list[int]:
    return [place for place, token in enumerate(ids) if token is None] if None in ids else []
