"""Bytes and characters as tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.encodings import to_utf8
from nlpseq.text.tokenisers.counts import CountedTokeniser
from nlpseq.text.tokenisers.subwords import SPACE_MARK
from nlpseq.text.tokenisers.tokeniser import NUM_BYTES, SPACE, Tokeniser, checked_units, damaged

BLOCK = 1 << 14  # characters that are worked on at once, so that their code points stay in the processor's cache

_SURROGATE = re.compile("[\ud800-\udfff]")


class ByteTokeniser(Tokeniser):
    """Every byte is a token; nothing is learned."""

    kind = "byte"
    description = "bytes: 256 tokens, any language, long sequences"
    encoded_alone = None

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        return cls(())

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        if payload != []:
            raise damaged("a byte tokeniser with units")
        return cls(())

    def payload(self) -> Any:
        return []

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        return np.frombuffer(to_utf8(text), np.uint8).astype(np.int32)

    def spell(self, token: int) -> str:
        return spell_character(token) or super().spell(token)


class CharTokeniser(CountedTokeniser):
    """ASCII characters are their bytes; the most frequent other characters are units, ties in code point order."""

    kind = "char"
    description = "characters; rare ones in bytes"
    encoded_alone = None
    counted_alone = None

    @classmethod
    def candidates(cls, text: str) -> dict[str, int]:
        if text.isascii():
            return {}
        blocks = (_code_points(text[start : start + BLOCK]) for start in range(0, len(text), BLOCK))
        code_points = np.concatenate([block[block >= 0x80] for block in blocks])
        found, counts = np.unique(code_points, return_counts=True)
        return dict(zip(map(chr, found.tolist()), counts.tolist(), strict=True))

    @classmethod
    def is_unit(cls, text: str) -> bool:
        return _is_character_unit(text)

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        return cls(checked_units(payload, _is_character_unit))

    def payload(self) -> Any:
        return list(self.units)

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        if text.isascii():
            return np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int32)
        blocks = [self._encode(text[start : start + BLOCK]) for start in range(0, len(text), BLOCK)]
        return np.concatenate(blocks)

    def _encode(self, text: str) -> NDArray[np.int32]:
        code_points = _code_points(text)
        ids = self._table[code_points]
        unknown = ids < 0
        return _spell_in_utf8(code_points, ids, unknown) if unknown.any() else ids

    def spell(self, token: int) -> str:
        return spell_character(token) or super().spell(token)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The id of every code point; -1 for those that are spelled in bytes."""
        table = np.full(0x110000, -1, np.int32)
        table[:0x80] = np.arange(0x80)
        table[0xDC80:0xDD00] = np.arange(0x80, 0x100)  # a lone surrogate is an escaped byte
        table[[ord(unit) for unit in self.units]] = np.arange(NUM_BYTES, self.size)
        return table


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _is_character_unit(text: str) -> bool:
    return len(text) == 1 and not text.isascii() and not _SURROGATE.match(text)


def spell_character(token: int) -> str:
    """The character of a printable ASCII byte, SPACE_MARK for a space; "" for any other token."""
    if token == SPACE:
        return SPACE_MARK
    return chr(token) if SPACE < token < 0x7F else ""


def _spell_in_utf8(
    code_points: NDArray[np.uint32],  # [N]
    ids: NDArray[np.int32],  # [N], meaningless where unknown
    unknown: NDArray[np.bool_],  # [N]
) -> NDArray[np.int32]:
    """Ids [T] in which every unknown code point is replaced by its two to four UTF-8 bytes."""
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
