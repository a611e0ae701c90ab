"""Spans of a corpus: the text that training reads, and the text that it holds out for validation and evaluation.

A span is two numbers of characters, and its text is read from the sources each time. The cost is that reading a span at
the end means reading all text before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nlpseq.errors import CorpusError
from nlpseq.text.formats import corpus_bytes, need_source, open_corpus
from nlpseq.text.heap import without_holes
from nlpseq.text.progress import Meter, Watch, unwatched
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

    def pieces(self, meter: Meter | None = None) -> Iterator[str]:
        """The span's text, piece by piece; `meter` counts the bytes of files."""
        offset = 0
        for name in self.names:
            for piece in without_holes(open_corpus(name, meter)):
                first, last = max(self.start - offset, 0), len(piece)
                if self.stop is not None:
                    last = min(last, self.stop - offset)
                offset += len(piece)
                if first < last:
                    yield piece[first:last]


@dataclass
class Measured:
    """The size and the hash of a corpus, and its end."""

    characters: int = 0
    sha256: str = ""
    tail: deque[str] = field(default_factory=deque, repr=False)  # the last pieces, more than MOST_HELD_OUT characters
    tail_start: int = 0  # the offset of `tail`, in characters

    def add(self, piece: str) -> None:
        """Take the next piece of the corpus."""
        self.characters += len(piece)
        self.tail.append(piece)
        while self.characters - self.tail_start - len(self.tail[0]) > MOST_HELD_OUT:
            self.tail_start += len(self.tail.popleft())


def measure(span: CorpusSpan, watch: Watch = unwatched) -> Measured:
    """Read a span once. Raises CorpusError if a source cannot be read, is a pipe, or if all text is blank.

    `watch` is told how much was read: of files in bytes, compressed as they are, else in characters.
    """
    for name in span.names:
        need_source(name)
    sizes = [corpus_bytes(name) for name in span.names]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    measured, text, meter, is_blank = Measured(), TextHash(), Meter(), True
    watch("reading", 0, total)
    for piece in span.pieces(meter):
        is_blank = is_blank and piece.isspace()
        measured.add(piece)
        text.add(piece)
        watch("reading", measured.characters if total is None else min(meter.done, total), total)
    if is_blank:
        hint = "name a file with text, or the bundled corpus `stories`"
        raise CorpusError(" ".join(span.names), "it has no text to learn, only blank lines", hint)
    watch("reading", measured.characters if total is None else total, total)
    measured.sha256 = text.sha256
    return measured


def split(names: Sequence[str], whole: Measured, *, at_line_end: bool) -> tuple[CorpusSpan, CorpusSpan | None]:
    """The training text, and the text held out at the end, or None if the corpus is too short to spare any."""
    everything = CorpusSpan(tuple(names))
    cut = max(whole.characters * (HELD_OUT_DIVISOR - 1) // HELD_OUT_DIVISOR, whole.characters - MOST_HELD_OUT)
    if at_line_end:
        cut = _next_line_end(whole, cut)
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


def _next_line_end(whole: Measured, cut: int) -> int:
    """The first offset in the tail, from `cut` on, that follows a line's end."""
    offset = whole.tail_start
    for piece in whole.tail:
        if offset + len(piece) > cut:
            end = piece.find("\n", max(0, cut - offset - 1))
            if end >= 0:
                return offset + end + 1
        offset += len(piece)
    return cut


def parted(pieces: Iterable[str], stop: int) -> tuple[Iterator[str], Iterator[str]]:
    """The first `stop` characters of a text in pieces, and the rest, which must be read after them.

    So a corpus is read once for both parts. A piece with characters of both is cut.
    """
    pieces, crossing = iter(pieces), list[str]()

    def first() -> Iterator[str]:
        left = stop
        for piece in pieces:
            if piece[:left]:
                yield piece[:left]
            if len(piece) >= left:
                crossing.append(piece[left:])
                return
            left -= len(piece)

    def rest() -> Iterator[str]:
        yield from filter(None, crossing)
        yield from pieces

    return first(), rest()
