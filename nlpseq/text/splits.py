"""Spans of a corpus: the text that training reads, and the text that it holds out for validation and evaluation.

A span is two numbers of characters, and its text is read from the sources each time. The cost is that reading a span at
the end means reading all text before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlpseq.errors import CorpusError
from nlpseq.text.compression import compression_of
from nlpseq.text.encodings import to_utf8
from nlpseq.text.formats import document_noun, need_source, open_corpus
from nlpseq.text.progress import Watch, unwatched, watched_pieces
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
    """The size and the hash of a corpus."""

    characters: int = 0
    sha256: str = ""


def measure(span: CorpusSpan, watch: Watch = unwatched) -> Measured:
    """Read a span once. Raises CorpusError if a source cannot be read, is a pipe, or if all text is blank.

    `watch` is told how much was read: of plain files in bytes, because their sizes are known, else in characters.
    """
    for name in span.names:
        need_source(name)
    measured, text, is_blank = Measured(), TextHash(), True
    total = _plain_bytes(span.names)
    size = len if total is None else _utf8_bytes
    for piece in watched_pieces(span.pieces(), watch, "reading", total, size):
        is_blank = is_blank and piece.isspace()
        measured.characters += len(piece)
        text.add(piece)
    if is_blank:
        hint = "name a file with text, or the bundled corpus `stories`"
        raise CorpusError(" ".join(span.names), "it has no text to learn, only blank lines", hint)
    measured.sha256 = text.sha256
    return measured


def _plain_bytes(names: Sequence[str]) -> int | None:
    """The size of all files together, or None if one of the names is not that of a plain text file."""
    if not all(os.path.isfile(name) and not compression_of(name) and not document_noun(name) for name in names):
        return None
    return sum(map(os.path.getsize, names))


def _utf8_bytes(text: str) -> int:
    return len(to_utf8(text))


def split(names: Sequence[str], whole: Measured, *, at_line_end: bool) -> tuple[CorpusSpan, CorpusSpan | None]:
    """The training text, and the text held out at the end, or None if the corpus is too short to spare any."""
    everything = CorpusSpan(tuple(names))
    cut = max(whole.characters * (HELD_OUT_DIVISOR - 1) // HELD_OUT_DIVISOR, whole.characters - MOST_HELD_OUT)
    if at_line_end:
        cut = _next_line_end(everything, cut)
    if whole.characters - cut < LEAST_HELD_OUT:
        return everything, None
    return CorpusSpan(everything.names, 0, cut), CorpusSpan(everything.names, cut)


def hold_out(names: Sequence[str], kind: str) -> tuple[CorpusSpan, CorpusSpan | None, Measured]:
    """The spans of training and validation text for a `kind` of tokens, and the size and hash of the whole corpus.

    The cut may be within a line for characters and bytes, and is at a line's end for longer tokens. Raises CorpusError
    if a source cannot be read.
    """
    whole = measure(CorpusSpan(tuple(names)))
    return *split(names, whole, at_line_end=kind not in ("char", "byte")), whole


def _next_line_end(span: CorpusSpan, cut: int) -> int:
    """The first offset, from `cut` on, that follows a line's end."""
    offset = 0
    for piece in span.pieces():
        if offset + len(piece) > cut:
            end = piece.find("\n", max(0, cut - offset - 1))
            if end >= 0:
                return offset + end + 1
        offset += len(piece)
    return cut
