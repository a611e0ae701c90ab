"""The texts of a classifier's language model, one in each line of a file, and a few others for its validation.

They are the texts without labels, written as the labelled ones are: in lower case if the classifier reads lower case,
with punctuation apart if it is apart there, and long texts cut after sentences if the labelled ones are short. The
training texts are spread among them, repeated so that they are a tenth of the file, but at most MOST_COPIES times each.
Texts for validation are not among them: neither those of the labelled texts, nor equal ones without a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nlpseq.errors import CorpusError, RunError
from nlpseq.text.encodings import to_utf8
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.signature import TextHash
from nlpseq.text.tables.labelled import has_no_spaces
from nlpseq.text.tables.labelled_parts import text_rank
from nlpseq.text.tables.stored_labelled import LabelledPart, store_parts
from nlpseq.text.tables.stored_rows import StoredTexts
from nlpseq.training.pretraining.sources import unlabelled_texts
from nlpseq.training.pretraining.spelling import Spelling, spelling_of
from nlpseq.training.requests import ClassifierRequest

TRAIN, VALID = "texts", "valid"  # the files
HELD_OUT, MOST_HELD_OUT = 0.05, 100_000  # fraction of the texts without labels for validation, and most characters
OWN_FRACTION = 0.1  # of the file's characters are those of training texts
MOST_COPIES = 10  # of a training text
LONG = 3.0  # times the mean length of the labelled texts: longer texts are cut after sentences
LEAST_LONG = 200  # characters: shorter texts are not cut
PIECE = 0.5  # of that mean length is the least length of a piece, but for a text's last one

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"""(?<=[.!?])["')\]]*\s+|(?<=[。！？])""")  # noqa: RUF001


@dataclass(frozen=True)
class Prepared:
    """What was written, and what it was made of."""

    texts: int  # without labels
    left_out: int  # of them, which are texts for validation
    copies: int  # of each training text
    characters: int  # of the file
    holds_out: bool  # whether there is text for validation
    own_texts: int  # the training texts, each counted once
    own_characters: int
    no_spaces: bool  # whether the labelled texts are in a script without spaces
    sha256: str
    notes: tuple[str, ...]  # on tables among the files


class Pieces:
    """Texts without labels, as they are to be written; `texts` and `left_out` count them as they are read."""

    def __init__(self, spelling: Spelling, mean_length: float, held_out: Iterable[str], *, lowercase: bool) -> None:
        """`held_out` are the texts for validation."""
        self.spelling, self.lowercase = spelling, lowercase
        lengths, ranks = {0}, set()
        for text in held_out:
            lengths.add(len(text))
            ranks.add(_rank(spelling.write(text)))
        self.held_out, self.longest_held_out = frozenset(ranks), max(lengths)
        self.longest = max(LEAST_LONG, LONG * mean_length)
        self.least = PIECE * mean_length
        self.texts = self.left_out = 0

    def of(self, texts: Iterable[str]) -> Iterator[str]:
        """The pieces of texts, without blank ones."""
        for text in texts:
            if text.strip():
                self.texts += 1
                yield from self._of_text(text.strip())

    def _of_text(self, text: str) -> Iterator[str]:
        if len(text) <= 2 * self.longest_held_out and _rank(self.spelling.write(text)) in self.held_out:
            self.left_out += 1
            return
        for part in _BREAK.split(text):
            for piece in self._cut(part):
                written = self.spelling.write(piece.strip())
                if written and _rank(written) not in self.held_out:
                    yield written.lower() if self.lowercase else written

    def _cut(self, text: str) -> Iterator[str]:
        """A text, or if it is long, pieces of whole sentences."""
        if len(text) <= self.longest:
            yield text
            return
        start = 0
        for end in _SENTENCE_END.finditer(text):
            if end.end() - start >= self.least:
                yield text[start : end.end()]
                start = end.end()
        yield text[start:]


def _rank(text: str) -> int:
    """A hash of a text, which texts share that differ in capitals and spaces only."""
    return text_rank(" ".join(text.lower().split()))


def prepare_texts(
    request: ClassifierRequest, corpus: Sequence[str], folder: Path, watch: Watch = unwatched
) -> Prepared:
    """Write the texts of the language model to the files TRAIN and VALID in a folder, with temporary files beside them.

    Raises CorpusError if a corpus cannot be read or has too few texts, and RunError if a file cannot be written.
    """
    train, held_out = store_parts(corpus, request.valid, folder, request.columns, watch=watch)
    own_characters = sum(map(len, train.texts))
    spelling, mean = spelling_of(train.texts), own_characters / len(train)
    pieces = Pieces(spelling, mean, held_out.texts, lowercase=request.model.lowercase is not False)
    stored = StoredTexts(folder)
    notes: list[str] = []
    unlabelled = pieces.of(unlabelled_texts(request, notes))
    for piece in watched_rows(unlabelled, watch, "reading texts without labels"):
        stored.append(piece)
    if not len(stored):
        hint = "name a file with a text in each line"
        raise CorpusError(" ".join(request.unlabelled), "it has no text to learn", hint)
    characters = sum(map(len, stored))
    until = _training_count(stored, characters)
    _write(folder / VALID, stored[until:])
    copies = round(OWN_FRACTION / (1 - OWN_FRACTION) * characters / own_characters)
    copies = min(MOST_COPIES, max(1, copies))
    count = copies * len(train)
    rows = _spread(stored[:until], _repeated(train, copies, lowercase=pieces.lowercase), count)
    written, sha256 = _write(folder / TRAIN, watched_rows(rows, watch, "writing texts", until + count))
    return Prepared(
        texts=pieces.texts,
        left_out=pieces.left_out,
        copies=copies,
        characters=written,
        holds_out=until < len(stored),
        own_texts=len(train),
        own_characters=own_characters,
        no_spaces=has_no_spaces(train.texts),
        sha256=sha256,
        notes=tuple(notes),
    )


def _training_count(pieces: Sequence[str], characters: int) -> int:
    """The number of pieces to train on, at least one; those after them are for validation."""
    most, found = characters - min(MOST_HELD_OUT, HELD_OUT * characters), 0
    for count, piece in enumerate(pieces, 1):
        found += len(piece)
        if found > most:
            return count
    return len(pieces)


def _repeated(train: LabelledPart, copies: int, *, lowercase: bool) -> Iterator[str]:
    """The training texts, all of them `copies` times."""
    for _ in range(copies):
        for text in train.texts:
            yield text.strip().lower() if lowercase else text.strip()


def _spread(texts: Sequence[str], others: Iterator[str], count: int) -> Iterator[str]:
    """Texts with the `count` others spread evenly among them."""
    for index, text in enumerate(texts):
        yield text
        yield from islice(others, count * (index + 1) // len(texts) - count * index // len(texts))


def _write(path: Path, rows: Iterable[str]) -> tuple[int, str]:
    """Write rows as lines: the number of characters, and a hash of them. Raises RunError if that fails."""
    characters, digest = 0, TextHash()
    try:
        with path.open("wb") as file:
            for row in rows:
                line = f"{row}\n"
                digest.add(line)
                characters += len(line)
                file.write(to_utf8(line))
    except OSError as error:
        hint = "free some space there, or choose another folder with --out"
        raise RunError(str(path), f"cannot be written: {error.strerror}", hint) from error
    return characters, digest.sha256
