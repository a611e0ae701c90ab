"""Corpora to token streams.

A corpus is read three times, piece by piece: to measure it, to train a tokeniser on the training part, and to write its
tokens into the run folder, where they are memory-mapped. So only the file on disk grows with the corpus; the cost is
that the text is decompressed and decoded three times. Worker processes share the counting of words and the encoding of
a large corpus; what they do never depends on their number. Without a validation file the last tenth of the characters
is held out, at most half a million of them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.errors import CorpusError, RunError, TokeniserError
from nlpseq.evaluation.scores import TextSize
from nlpseq.files import replace_file
from nlpseq.models.structure import check_facts
from nlpseq.text.checks.syntax import corpus_notes
from nlpseq.text.progress import Watch, unwatched, watched_pieces
from nlpseq.text.signature import TextHash
from nlpseq.text.splits import CorpusSpan, Measured, measure, parted, split
from nlpseq.text.stream import TokenStream, write_stream
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser
from nlpseq.text.tokenisers.encoding import encode_pieces
from nlpseq.text.tokenisers.learning import learn_tokeniser
from nlpseq.training.data.seal import check_ids

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
    processes: int | None = None,
    watch: Watch = unwatched,
) -> TokenisedCorpus:
    """Read, split and tokenise a corpus into `folder`; `watch` is told how far it is.

    A tokeniser is trained unless one is passed. `processes` share a large corpus, by default one for each core. Raises
    CorpusError if a source cannot be read, or has fewer than two tokens for training or for validation.
    """
    whole = measure(CorpusSpan(tuple(names)), watch)
    kind = tokeniser.kind if tokeniser else choose_tokens(tokens, whole.characters)
    train, held_out = _parts(names, valid, whole, kind)
    length = _length(train, whole)
    if tokeniser is None:
        pieces = watched_pieces(train.pieces(), watch, "learning a vocabulary", length)
        tokeniser = learn_tokeniser(kind, pieces, vocabulary_size or VOCABULARY[kind], processes)
    facts = {
        "corpus": list(names),
        "sha256": whole.sha256,
        "characters": whole.characters,
        "train_until": train.stop,
        "valid": list(valid) if valid else list(names),
        "valid_is": "given" if valid else "held out" if held_out else "training text",
        **_notes((*names, *valid), tokeniser.learned_from, length),
    }
    text, rest = parted(CorpusSpan(tuple(names)).pieces(), length)
    rest = (held_out or train).pieces() if valid or held_out is None else rest
    of_valid = None if valid else _length(held_out or train, whole)
    write = partial(_write, folder, tokeniser, processes, watch)
    frequencies = write("tokenising", "train.arrow", text, length)
    facts |= {"train_tokens": int(frequencies.sum()), **_write_valid(write, rest, of_valid)}
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


def _write(
    folder: Path,
    tokeniser: Tokeniser,
    processes: int | None,
    watch: Watch,
    work: str,
    name: str,
    pieces: Iterable[str],
    length: int | None,
) -> np.ndarray:
    """Encode a text of `length` characters, if that is known, into a token file: the counts [V] of its tokens."""
    frequencies = np.zeros(tokeniser.size, np.int64)

    def encoded() -> Iterator[np.ndarray]:
        done = 0
        watch(work, done, length)
        for ids, counts, characters in encode_pieces(tokeniser, pieces, processes):
            np.add(frequencies, counts, out=frequencies)
            yield ids
            done += characters
            watch(work, done, length)

    write_stream(folder / name, encoded(), tokeniser.size)
    return frequencies


def _write_valid(write: Callable[..., np.ndarray], pieces: Iterable[str], length: int | None) -> dict[str, Any]:
    """Encode the validation text: the facts about it."""
    size, digest = TextSize(), TextHash()

    def sized() -> Iterator[str]:
        for piece in pieces:
            size.add(piece)
            digest.add(piece)
            yield piece

    size.tokens = int(write("tokenising the validation text", "valid.arrow", sized(), length).sum())
    return {"valid_size": asdict(size), "valid_sha256": digest.sha256}


def _notes(names: Sequence[str], sample: int | None, characters: int) -> dict[str, Any]:
    """Notes on corpora that are not plain text, with commands that convert them, and on a sampled vocabulary."""
    notes = [note for name in dict.fromkeys(names) for note in corpus_notes(name)]
    facts: dict[str, Any] = {"notes": notes} if notes else {}
    if sample is None or sample >= characters:
        return facts
    of_all = f"{sample / 1e6:,.1f} of {characters / 1e6:,.1f} million characters"
    notes.append(f"the vocabulary is learned from a sample of {of_all}")
    return {"notes": notes, "vocabulary_from": sample}


def open_tokenised(folder: Path) -> TokenisedCorpus:
    """The corpus that `tokenise_corpus` wrote into `folder`.

    Raises RunError if it is gone, and CorpusError if it is too short to learn from.
    """
    try:
        facts = json.loads((folder / "corpus.json").read_text())
        frequencies = np.load(folder / "frequencies.npy", allow_pickle=False)
        tokeniser = load_tokeniser((folder / "tokeniser.json").read_bytes())
        size = TextSize(**facts["valid_size"])
        check_facts(facts, whole=True)
        if frequencies.shape != (tokeniser.size,) or frequencies.dtype.kind not in "iu":
            raise ValueError("frequencies.npy is not of these tokens")
        if not all(isinstance(count, int) for count in facts["valid_size"].values()):
            raise ValueError("corpus.json has no sizes")
    except (OSError, ValueError, EOFError, KeyError, TypeError, RecursionError, TokeniserError) as error:
        raise RunError(str(folder), f"the run's tokens cannot be read: {error}", "add --overwrite") from error
    train, valid = _open_stream(folder / "train.arrow", tokeniser), _open_stream(folder / "valid.arrow", tokeniser)
    if min(len(train), len(valid)) < 2:
        raise CorpusError(
            facts["corpus"][0],
            f"needs at least 2 tokens, has {len(train)} for training and {len(valid)} for validation",
            "name a longer text, or more than one",
        )
    return TokenisedCorpus(tokeniser, train, valid, frequencies, size, facts)


def _open_stream(path: Path, tokeniser: Tokeniser) -> TokenStream:
    """A token stream. Raises CorpusError as TokenStream, and for a token that the tokeniser does not have."""
    stream = TokenStream(path)
    try:
        check_ids(path.name, stream, tokeniser.size)
    except ValueError as error:
        raise CorpusError(str(path), f"is damaged: {error}", "delete it and tokenise the corpus again") from error
    return stream
