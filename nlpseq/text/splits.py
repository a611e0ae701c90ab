"""Spans of a corpus: what training reads, what it holds out, and what an evaluation reads again.

Spans are counted in characters and read from the sources each time, so that nothing is kept but two numbers; the cost
is that a span at the end is reached by reading all that is before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlpseq.text.formats import open_corpus
from nlpseq.text.signature import TextHash

HELD_OUT_DIVISOR = 10  # a tenth is for validation
MOST_HELD_OUT = 500_000  # characters: a longer validation text would take long and say no more
LEAST_HELD_OUT = 1000  # characters: a shorter validation text would say nothing


@dataclass(frozen=True)
class CorpusSpan:
    """The text of all named sources from `start` to `stop`, counted in characters."""

    names: tuple[str, ...]
    start: int = 0
    stop: int | None = None

    def pieces(self) -> Iterator[str]:
        """The span's text, piece by piece."""
        offset = 0
        for name in self.names:
            for piece in open_corpus(name):
                first, last = max(self.start - offset, 0), len(piece)
                if self.stop is not None:
                    last = min(last, self.stop - offset)
                offset += len(piece)
                if first < last:
                    yield piece[first:last]


@dataclass
class Measured:
    """What one reading of a corpus tells."""

    characters: int = 0
    sha256: str = ""


def measure(span: CorpusSpan) -> Measured:
    """Read a span once. Raises CorpusError if a source cannot be read."""
    found, text = Measured(), TextHash()
    for piece in span.pieces():
        found.characters += len(piece)
        text.add(piece)
    found.sha256 = text.sha256
    return found


def split(names: Sequence[str], whole: Measured, *, at_line_end: bool) -> tuple[CorpusSpan, CorpusSpan | None]:
    """What is trained on, and what is held out at the end; None for that if the corpus is too short to spare it."""
    everything = CorpusSpan(tuple(names))
    cut = max(whole.characters * (HELD_OUT_DIVISOR - 1) // HELD_OUT_DIVISOR, whole.characters - MOST_HELD_OUT)
    if at_line_end:
        cut = _next_line_end(everything, cut)
    if whole.characters - cut < LEAST_HELD_OUT:
        return everything, None
    return CorpusSpan(everything.names, 0, cut), CorpusSpan(everything.names, cut)


def hold_out(names: Sequence[str], kind: str) -> tuple[CorpusSpan, CorpusSpan | None, Measured]:
    """The spans that training makes for a `kind` of tokens, and the whole.

    Characters and bytes are cut in mid-line, longer tokens at a line's end. Raises CorpusError if a source
    cannot be read.
    """
    whole = measure(CorpusSpan(tuple(names)))
    return *split(names, whole, at_line_end=kind not in ("char", "byte")), whole


def _next_line_end(span: CorpusSpan, cut: int) -> int:
    """The first offset after a line's end at or behind `cut`."""
    offset = 0
    for piece in span.pieces():
        if offset + len(piece) > cut:
            end = piece.find("\n", max(0, cut - offset - 1))
            if end >= 0:
                return offset + end + 1
        offset += len(piece)
    return cut
