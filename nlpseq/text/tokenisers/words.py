"""Words between single spaces as tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.encodings import to_utf8
from nlpseq.text.tokenisers.counts import CountedTokeniser
from nlpseq.text.tokenisers.tokeniser import NEWLINE, NUM_BYTES, SPACE, checked_units

LONGEST_WORD = 1000  # characters; a longer "word" is not a unit, so a text may be cut inside it
UNKNOWN = -1  # in the place of an id

_NEVER_IN_A_WORD = re.compile("[ \n\ud800-\udfff]")


class WordTokeniser(CountedTokeniser):
    """Words between single spaces, most frequent first, ties in code point order.

    Two units in a row imply one space between them; every other space is a byte token. Words are cut at U+0020 alone,
    so a comma belongs to its word unless the corpus has spaces around it.
    """

    kind = "word"
    description = "words between spaces; rare ones in bytes"

    def __init__(self, units: Sequence[str]) -> None:
        super().__init__(units)
        self._ids = {"\n": NEWLINE} | {unit: NUM_BYTES + index for index, unit in enumerate(units)}

    @classmethod
    def candidates(cls, text: str) -> list[str]:
        return text.replace("\n", " ").split(" ")

    @classmethod
    def is_unit(cls, text: str) -> bool:
        return _is_word_unit(text)

    @classmethod
    def from_payload(cls, payload: Any) -> Self:
        return cls(checked_units(payload, _is_word_unit))

    def payload(self) -> Any:
        return list(self.units)

    def encode(self, text: str, *, exact: bool = True) -> NDArray[np.int32]:
        """Ids [T]; with `exact` every space is kept.

        Without `exact` spacing is made regular, as is usual for language models: runs of spaces become one space, and
        lines lose the spaces at both ends. So `" = Title = \\n"` is four tokens, and counts agree with those published
        for WikiText.
        """
        words = text.replace("\n", " \n ").split(" ")
        if not exact:
            words = [word for word in words if word]
        ids = np.fromiter(map(self._ids.get, words, repeat(UNKNOWN)), np.int32, len(words))
        unknown = np.flatnonzero(ids == UNKNOWN)
        return _with_spelled_words(ids, unknown, [words[index] for index in unknown]) if len(unknown) else ids

    def _join(self, tokens: list[int]) -> bytes:
        return b"".join(map(self.piece, [None, *tokens[:-1]], tokens))

    def piece(self, previous: int | None, token: int) -> bytes:
        own = super().piece(previous, token)
        between_units = token >= NUM_BYTES and previous is not None and previous >= NUM_BYTES
        return b" " + own if between_units else own


def _is_word_unit(text: str) -> bool:
    return 0 < len(text) <= LONGEST_WORD and not _NEVER_IN_A_WORD.search(text)


def _with_spelled_words(
    ids: NDArray[np.int32],  # [N] of words, UNKNOWN for some
    unknown: NDArray[np.int64],  # [U], the positions of these
    words: list[str],  # [U]
) -> NDArray[np.int32]:
    """Ids [T] with every unknown word in bytes, and with the spaces around it that no pair of units implies.

    There are newlines between lines and "" between two spaces; neighbours within a line are one space apart.
    """
    data = np.frombuffer(to_utf8(" ".join(words) + " "), np.uint8)  # no word has a space
    ends = np.flatnonzero(data == SPACE)
    lengths = np.diff(ends, prepend=-1) - 1
    around = np.concatenate([[NEWLINE], ids, [NEWLINE]])
    before, after = around[unknown] != NEWLINE, ~np.isin(around[unknown + 2], (NEWLINE, UNKNOWN))
    widths = np.ones(len(ids), np.int64)
    widths[unknown] = before + lengths + after
    stops = np.cumsum(widths)
    spelled = np.full(stops[-1], SPACE, np.int32)
    is_known = ids != UNKNOWN
    spelled[stops[is_known] - 1] = ids[is_known]
    letters = np.flatnonzero(data != SPACE)
    moves = (stops - widths)[unknown] + before - (ends - lengths)  # of each word, from `data` to `spelled`
    spelled[letters + np.repeat(moves, lengths)] = data[letters]
    return spelled
