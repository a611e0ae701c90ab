"""Corpora to token streams.

A corpus is read three times, a piece at a time: to measure it, to train a tokeniser on its training part, and to write its
tokens into the run folder, where they are memory-mapped. Nothing grows with the corpus but the file on disk; the cost is
that it is decompressed and decoded thrice. Without a validation file the last tenth of the characters is held out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.errors import CorpusError, RunError
from nlpseq.evaluation.scores import TextSize
from nlpseq.models.model_file import replace_file
from nlpseq.text.formats import open_corpus
from nlpseq.text.stream import TokenStream, write_stream
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser, train_tokeniser

HELD_OUT = 10  # one part in so many is for validation
LEAST_HELD_OUT = 1000  # characters: a shorter validation part would say nothing
CHARACTERS_ARE_ENOUGH = 6_000_000  # up to here characters are modelled, beyond it pieces of words
VOCABULARY = {"word": 50_000, "bpe": 4096, "unigram": 4096, "byte": 256, "char": 16_384}


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


@dataclass(frozen=True)
class TokenisedCorpus:
    """A corpus as token streams, with what is needed to score it."""

    tokeniser: Tokeniser
    train: TokenStream
    valid: TokenStream
    frequencies: np.ndarray  # [V], counts in the training part
    valid_size: TextSize
    facts: dict[str, Any]  # JSON: names, hashes, sizes


def measure(part: CorpusPart) -> Measured:
    """Read a corpus once. Raises CorpusError if a source cannot be read."""
    found, digest = Measured(), hashlib.sha256()
    for piece in part.pieces():
        found.characters += len(piece)
        digest.update(piece.encode("utf-8", "surrogateescape"))
    found.sha256 = digest.hexdigest()
    return found


def split(names: Sequence[str], whole: Measured, *, at_line_end: bool) -> tuple[CorpusPart, CorpusPart | None]:
    """The training part and the last tenth, or None for that where the corpus is too short to spare it."""
    everything = CorpusPart(tuple(names))
    cut = whole.characters * (HELD_OUT - 1) // HELD_OUT
    if at_line_end:
        cut = _next_line_end(everything, cut)
    if whole.characters - cut < LEAST_HELD_OUT:
        return everything, None
    return CorpusPart(everything.names, 0, cut), CorpusPart(everything.names, cut)


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


def lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines without their ends; only a newline ends one."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
    if rest:
        yield rest


def choose_tokens(kind: str, characters: int) -> str:
    """The kind of tokens for a corpus: what was asked for, or characters for a small corpus and BPE for a large one."""
    if kind != "auto":
        return kind
    return "char" if characters <= CHARACTERS_ARE_ENOUGH else "bpe"


def tokenise_corpus(
    names: Sequence[str],
    valid: Sequence[str],
    folder: Path,
    *,
    tokens: str = "auto",
    vocabulary_size: int | None = None,
    tokeniser: Tokeniser | None = None,
) -> TokenisedCorpus:
    """Read, split and tokenise a corpus into `folder`.

    With a `tokeniser` none is trained. Raises CorpusError if a source cannot be read or holds less than two tokens.
    """
    whole = measure(CorpusPart(tuple(names)))
    kind = tokeniser.kind if tokeniser else choose_tokens(tokens, whole.characters)
    train, held_out = CorpusPart(tuple(names)), CorpusPart(tuple(valid)) if valid else None
    if held_out is None:
        train, held_out = split(names, whole, at_line_end=kind not in ("char", "byte"))
    if tokeniser is None:
        tokeniser = train_tokeniser(kind, lines(train.pieces()), vocabulary_size or VOCABULARY[kind])
    facts = {
        "corpus": list(names),
        "sha256": whole.sha256,
        "characters": whole.characters,
        "train_until": train.stop,
        "valid": list(valid) if valid else list(names),
        "valid_is": "given" if valid else "last tenth" if held_out else "training text",
    }
    replace_file(folder / "tokeniser.json", tokeniser.to_bytes())
    frequencies, _, _ = _write(tokeniser, train, folder / "train.arrow")
    _, size, sha256 = _write(tokeniser, held_out or train, folder / "valid.arrow")
    facts |= {"train_tokens": int(frequencies.sum()), "valid_size": asdict(size), "valid_sha256": sha256}
    np.save(folder / "frequencies.npy", frequencies)
    replace_file(folder / "corpus.json", json.dumps(facts, ensure_ascii=False).encode())
    return open_tokenised(folder)


def _write(tokeniser: Tokeniser, part: CorpusPart, path: Path) -> tuple[np.ndarray, TextSize, str]:
    """Encode a part of a corpus into a file of tokens; the tokens' counts, the text's size and its SHA-256."""
    frequencies, size, digest = np.zeros(tokeniser.size, np.int64), TextSize(), hashlib.sha256()

    def encoded() -> Iterator[np.ndarray]:
        for piece in part.pieces():
            ids = tokeniser.encode(piece, exact=False)
            np.add(frequencies, np.bincount(ids, minlength=tokeniser.size), out=frequencies)
            size.add(piece)
            digest.update(piece.encode("utf-8", "surrogateescape"))
            size.tokens += len(ids)
            yield ids

    write_stream(path, encoded(), tokeniser.size)
    return frequencies, size, digest.hexdigest()


def open_tokenised(folder: Path) -> TokenisedCorpus:
    """The corpus that `tokenise_corpus` wrote into `folder`.

    Raises RunError if it is gone, and CorpusError if it is too short to learn from.
    """
    try:
        facts = json.loads((folder / "corpus.json").read_text())
        frequencies = np.load(folder / "frequencies.npy")
        data = (folder / "tokeniser.json").read_bytes()
    except (OSError, ValueError) as error:
        raise RunError(str(folder), f"the run's tokens cannot be read: {error}", "add --overwrite") from error
    train, valid = TokenStream(folder / "train.arrow"), TokenStream(folder / "valid.arrow")
    if min(len(train), len(valid)) < 2:
        raise CorpusError(
            facts["corpus"][0],
            f"needs at least 2 tokens, has {len(train)} for training and {len(valid)} for validation",
        )
    return TokenisedCorpus(load_tokeniser(data), train, valid, frequencies, TextSize(**facts["valid_size"]), facts)
