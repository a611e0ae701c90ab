"""Corpora to token streams.

A corpus is read three times, piece by piece: to measure it, to train a tokeniser on the training part, and to write its
tokens into the run folder, where they are memory-mapped. So only the file on disk grows with the corpus; the cost is
that the text is decompressed and decoded three times. Without a validation file the last tenth of the characters is
held out, at most half a million of them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.errors import CorpusError, RunError
from nlpseq.evaluation.scores import TextSize
from nlpseq.files import replace_file
from nlpseq.text.checks.syntax import corpus_notes
from nlpseq.text.formats import split_lines
from nlpseq.text.progress import Watch, unwatched, watched_pieces
from nlpseq.text.signature import TextHash
from nlpseq.text.splits import CorpusSpan, Measured, measure, split
from nlpseq.text.stream import TokenStream, write_stream
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser, train_tokeniser

CHARACTERS_ARE_ENOUGH = 6_000_000  # larger corpora are modelled in BPE tokens, not in characters
VOCABULARY = {"word": 50_000, "bpe": 4096, "unigram": 4096, "byte": 256, "char": 16_384}


@dataclass(frozen=True)
class TokenisedCorpus:
    """A corpus as token streams, with the sizes that its scores need."""

    tokeniser: Tokeniser
    train: TokenStream
    valid: TokenStream
    frequencies: np.ndarray  # [V], counts of the tokens in the training part
    valid_size: TextSize
    facts: dict[str, Any]  # JSON: names, hashes, sizes


def choose_tokens(kind: str, characters: int) -> str:
    """The kind of tokens: as requested, or for `auto` characters for a small corpus and BPE for a large one."""
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
    watch: Watch = unwatched,
) -> TokenisedCorpus:
    """Read, split and tokenise a corpus into `folder`; `watch` is told how far it is.

    A tokeniser is trained unless one is passed. Raises CorpusError if a source cannot be read, or has fewer than two
    tokens for training or for validation.
    """
    whole = measure(CorpusSpan(tuple(names)), watch)
    kind = tokeniser.kind if tokeniser else choose_tokens(tokens, whole.characters)
    train, held_out = _parts(names, valid, whole, kind)
    if tokeniser is None:
        pieces = watched_pieces(train.pieces(), watch, "learning a vocabulary", _length(train, whole))
        tokeniser = train_tokeniser(kind, split_lines(pieces), vocabulary_size or VOCABULARY[kind])
    facts = {
        "corpus": list(names),
        "sha256": whole.sha256,
        "characters": whole.characters,
        "train_until": train.stop,
        "valid": list(valid) if valid else list(names),
        "valid_is": "given" if valid else "held out" if held_out else "training text",
    }
    if notes := _notes((*names, *valid)):
        facts["notes"] = notes
    pieces = watched_pieces(train.pieces(), watch, "tokenising", _length(train, whole))
    frequencies, _, _ = _write(tokeniser, pieces, folder / "train.arrow")
    held_out = held_out or train
    length = None if valid else _length(held_out, whole)
    pieces = watched_pieces(held_out.pieces(), watch, "tokenising the validation text", length)
    _, size, sha256 = _write(tokeniser, pieces, folder / "valid.arrow")
    facts |= {"train_tokens": int(frequencies.sum()), "valid_size": asdict(size), "valid_sha256": sha256}
    _write_rest(folder, tokeniser, frequencies, facts)
    return open_tokenised(folder)


def _parts(
    names: Sequence[str], valid: Sequence[str], whole: Measured, kind: str
) -> tuple[CorpusSpan, CorpusSpan | None]:
    """The text to train on, and the text for validation; None if the corpus is too short to spare any."""
    if valid:
        return CorpusSpan(tuple(names)), CorpusSpan(tuple(valid))
    return split(names, whole, at_line_end=kind not in ("char", "byte"))


def _write_rest(folder: Path, tokeniser: Tokeniser, frequencies: np.ndarray, facts: Mapping[str, Any]) -> None:
    """Write all but the token files."""
    packed = io.BytesIO()
    np.save(packed, frequencies)
    replace_file(folder / "tokeniser.json", tokeniser.to_bytes())
    replace_file(folder / "frequencies.npy", packed.getvalue())
    replace_file(folder / "corpus.json", json.dumps(facts).encode())


def _length(span: CorpusSpan, whole: Measured) -> int:
    """The number of characters of a span of the whole corpus."""
    return (whole.characters if span.stop is None else span.stop) - span.start


def _write(tokeniser: Tokeniser, pieces: Iterable[str], path: Path) -> tuple[np.ndarray, TextSize, str]:
    """Encode a text into a token file: the counts [V] of its tokens, its size and its SHA-256."""
    frequencies, size, text = np.zeros(tokeniser.size, np.int64), TextSize(), TextHash()

    def encoded() -> Iterator[np.ndarray]:
        for piece in pieces:
            ids = tokeniser.encode(piece, exact=False)
            np.add(frequencies, np.bincount(ids, minlength=tokeniser.size), out=frequencies)
            size.add(piece)
            text.add(piece)
            size.tokens += len(ids)
            yield ids

    write_stream(path, encoded(), tokeniser.size)
    return frequencies, size, text.sha256


def _notes(names: Sequence[str]) -> list[str]:
    """Notes on corpora that are not plain text, with commands that convert them."""
    return [note for name in dict.fromkeys(names) for note in corpus_notes(name)]


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
            "name a longer text, or more than one",
        )
    return TokenisedCorpus(load_tokeniser(data), train, valid, frequencies, TextSize(**facts["valid_size"]), facts)
