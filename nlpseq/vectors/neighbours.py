"""The lines whose vectors are most like those of some texts, by cosine.

Lines come in portions, and only the best of each text are kept: so memory does not depend on the number of lines. Of
equal lines the first is found, and the others are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nlpseq.vectors.embedder import Values, unit_length


class Neighbour(NamedTuple):
    """A line and how like a text it is."""

    similarity: float  # the cosine of both vectors, from -1 to 1; 0 if either vector is zero
    number: int  # of the line, from 1
    line: str

    @property
    def shown(self) -> str:
        """The line."""
        return self.line


class Neighbours:
    """The `top` different lines most like each of Q texts, among those added so far; the earlier of two as like."""

    def __init__(self, vectors: Values, top: int) -> None:
        """`vectors` [Q, D] are those of the texts."""
        self.vectors = unit_length(vectors)
        self.top = top
        self.count = 0  # of lines
        self._similarities: Values = np.empty((len(vectors), 0), np.float32)
        self._numbers = np.empty((len(vectors), 0), np.int64)
        self._lines: dict[int, str] = {}  # those that are kept, by number

    def add(self, lines: Sequence[str | None], vectors: Values) -> None:
        """Look at the next lines and their vectors [K, D]; None is a line that is counted and never found."""
        first = {line: index for index, line in reversed(list(enumerate(lines))) if line is not None}
        real = np.array(sorted(first.values()), np.int64)
        found = self.vectors @ unit_length(vectors[real]).T
        self._leave_out_kept(found, [str(lines[index]) for index in real])
        numbers = np.broadcast_to(self.count + 1 + real, found.shape)
        similarities = np.concatenate([self._similarities, found], 1)
        order = np.argsort(-similarities, axis=1, kind="stable")[:, : self.top]
        self._similarities = np.take_along_axis(similarities, order, 1)
        self._numbers = np.take_along_axis(np.concatenate([self._numbers, numbers], 1), order, 1)
        kept: list[int] = np.unique(self._numbers).tolist()
        self._lines = {
            number: self._lines[number] if number <= self.count else str(lines[number - self.count - 1])
            for number in kept
        }
        self.count += len(lines)

    def _leave_out_kept(self, similarities: Values, lines: Sequence[str]) -> None:
        """Set the similarity [Q, K] of a text and a line to -infinity where an equal line is kept for the text."""
        kept: dict[str, list[int]] = {}
        for number, line in self._lines.items():
            kept.setdefault(line, []).append(number)
        for index, line in enumerate(lines):
            if line in kept:
                similarities[np.isin(self._numbers, kept[line]).any(1), index] = -np.inf

    @property
    def found(self) -> bool:
        """Whether any line was more than blank."""
        return self._numbers.shape[1] > 0

    def best(self) -> list[list[Neighbour]]:
        """The lines most like each text, the most like first."""
        return [
            [
                Neighbour(min(1.0, max(-1.0, similarity)), number, self._lines[number])
                for similarity, number in zip(similarities, numbers, strict=True)
                if similarity > -np.inf
            ]
            for similarities, numbers in zip(self._similarities.tolist(), self._numbers.tolist(), strict=True)
        ]
