"""Words between single spaces as tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.encodings import to_utf8
from nlpseq.text.tokenisers.tokeniser import NEWLINE, NUM_BYTES, SPACE, Tokeniser, by_frequency, checked_units

LONGEST_WORD = 1000  # characters; a longer "word" is not a unit, so a text may be cut inside it

_NEVER_IN_A_WORD = re.compile("[ \n\ud800-\udfff]")


class WordTokeniser(Tokeniser):
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
    def train(cls, lines: Iterable[str], vocabulary_size: int) -> Self:
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(line.split(" "))
        words = [word for word in by_frequency(counts) if _is_word_unit(word)]
        return cls(words[: vocabulary_size - NUM_BYTES])

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
        ids = list(map(self._ids.get, words))
        return np.array(_spell_unknown_words(words, ids), np.int32)

    def _join(self, tokens: list[int]) -> bytes:
        return b"".join(map(self.piece, [None, *tokens[:-1]], tokens))

    def piece(self, previous: int | None, token: int) -> bytes:
        own = super().piece(previous, token)
        between_units = token >= NUM_BYTES and previous is not None and previous >= NUM_BYTES
        return b" " + own if between_units else own


def _is_word_unit(text: str) -> bool:
    return 0 < len(text) <= LONGEST_WORD and not _NEVER_IN_A_WORD.search(text)


def _spell_unknown_words(words: list[str], ids: list[int | None]) -> list[int]:
    """Ids with every unknown word in bytes, and with the spaces around it that no pair of units implies.

    `words` has "\\n" between lines and "" between two spaces; neighbours within a line are one space apart.
    """
    spelled: list[int] = []
    done = 0
    for index in _indices_of_none(ids):
        spelled.extend(ids[done:index])  # type: ignore[arg-type]  # none of these is None
        if index and words[index - 1] != "\n":
            spelled.append(SPACE)
        spelled.extend(to_utf8(words[index]))
        done = index + 1
        if done < len(ids) and words[done] != "\n" and ids[done] is not None:
            spelled.append(SPACE)
    spelled.extend(ids[done:])  # type: ignore[arg-type]
    return spelled


def _indices_of_none(ids: list[int | None]) -> list[int]:
    return [index for index, token in enumerate(ids) if token is None] if None in ids else []
