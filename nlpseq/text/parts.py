"""A part of a corpus: what training holds out, and what an evaluation reads again.

Parts are counted in characters and read from the sources each time, so that nothing is kept but two numbers;
the cost is that a part at the end is reached by reading all that is before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlpseq.text.formats import open_corpus

HELD_OUT = 10  # one part in so many is for validation
MOST_HELD_OUT = 500_000  # characters: a longer validation part would take long and say no more
LEAST_HELD_OUT = 1000  # characters: a shorter validation part would say nothing


@dataclass(frozen=True)
class CorpusPart:
    """Some of a corpus: all of the named sources from `start` to `stop`, counted in characters."""

    names: tuple[str, ...]
    start: int = 0
    stop: int | None = None

    def pieces(self) -> Iterator[str]:
        """The part's text, piece by piece."""
        place = 0
        for name in self.names:
            for piece in open_corpus(name):
                first, last = max(self.start - place, 0), len(piece)
                if self.stop is not None:
                    last = min(last, self.stop - place)
                place += len(piece)
                if first < last:
                    yield piece[first:last]


@dataclass
class Measured:
    """What one reading of a corpus tells."""

    characters: int = 0
    sha256: str = ""


def measure(part: CorpusPart) -> Measured:
    """Read a corpus once. Raises CorpusError if a source cannot be read."""
    found, digest = Measured(), hashlib.sha256()
    for piece in part.pieces():
        found.characters += len(piece)
        digest.update(piece.encode("utf-8", "surrogateescape"))
    found.sha256 = digest.hexdigest()
    return found


def split(names: Sequence[str], whole: Measured, *, at_line_end: bool) -> tuple[CorpusPart, CorpusPart | None]:
    """The training part and the part held out at the end; None for that where the corpus is too short to spare it."""
    everything = CorpusPart(tuple(names))
    cut = max(whole.characters * (HELD_OUT - 1) // HELD_OUT, whole.characters - MOST_HELD_OUT)
    if at_line_end:
        cut = _next_line_end(everything, cut)
    if whole.characters - cut < LEAST_HELD_OUT:
        return everything, None
    return CorpusPart(everything.names, 0, cut), CorpusPart(everything.names, cut)


def hold_out(names: Sequence[str], kind: str) -> tuple[CorpusPart, CorpusPart | None, Measured]:
    """The parts that training makes for a `kind` of tokens, and the whole.

    Characters and bytes are cut in mid-line, longer tokens at a line's end. Raises CorpusError if a source
    cannot be read.
    """
    whole = measure(CorpusPart(tuple(names)))
    return *split(names, whole, at_line_end=kind not in ("char", "byte")), whole


def _next_line_end(part: CorpusPart, cut: int) -> int:
    """The first place after a line's end at or behind `cut`."""
    place = 0
    for piece in part.pieces():
        if place + len(piece) > cut:
            end = piece.find("\n", max(0, cut - place - 1))
            if end >= 0:
                return place + end + 1
        place += len(piece)
    return cut
