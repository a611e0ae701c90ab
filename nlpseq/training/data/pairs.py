"""Parallel text to batches of token ids.

One tokeniser serves both sides. So names, numbers and word pieces that occur in both have one vector, and the model
file has one vocabulary.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import CorpusError, RunError
from nlpseq.files import replace_file
from nlpseq.models.translator import decoder_inputs
from nlpseq.text.padding import Ids
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.tables.notes import joined
from nlpseq.text.tables.pair_tables import Columns
from nlpseq.text.tables.parallel import Pairs, read_split
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser, train_tokeniser
from nlpseq.training.data.sentences import Sentences

CHARACTERS_ARE_ENOUGH = 30  # mean length of a text; longer texts are modelled in BPE tokens, not in characters
VOCABULARY = {"word": 30_000, "bpe": 4096, "unigram": 4096, "byte": 256, "char": 16_384}
LARGE, LARGE_VOCABULARY = 100_000, 8192  # from this number of pairs on, the vocabulary of word pieces is larger
MANY_CHARACTERS = 1000  # different characters, which would fill most of a small vocabulary, so it is larger, too


class Batch(NamedTuple):
    """A batch of pairs; the ids beyond a text's length are padding."""

    sources: Ids  # [S, B]
    source_lengths: Ids  # [B]
    inputs: Ids  # [T, B], of the decoder: a newline, then the target
    targets: Ids  # [T, B], to be predicted: the target, then a newline
    target_lengths: Ids  # [B]


class TokenisedPairs(NamedTuple):
    """Parallel text as ids."""

    sources: Sentences
    targets: Sentences

    def __len__(self) -> int:  # of pairs
        return len(self.sources.starts) - 1

    def batch(self, chosen: NDArray[np.int64]) -> Batch:
        """The pairs at the indices `chosen` as a batch."""
        sources, source_lengths = self.sources.padded(chosen)
        targets, target_lengths = self.targets.padded(chosen)
        return Batch(sources, source_lengths, decoder_inputs(targets), targets, target_lengths)

    def in_order(self, batch_size: int, count: int | None = None) -> Iterator[Batch]:
        """The first `count` pairs in batches, short targets first."""
        order = np.argsort(self.targets.lengths[:count], kind="stable")
        for start in range(0, len(order), batch_size):
            yield self.batch(order[start : start + batch_size])


@dataclass(frozen=True)
class ParallelCorpus:
    """Parallel text in tokens, for training and validation."""

    tokeniser: Tokeniser
    train: TokenisedPairs
    valid: TokenisedPairs
    facts: dict[str, Any]  # JSON: names, hashes, counts

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """The counts [V] of the tokens in the targets."""
        return np.bincount(self.train.targets.ids, minlength=self.tokeniser.size)


def tokenise_pairs(
    names: Sequence[str],
    valid: Sequence[str],
    folder: Path,
    *,
    two_files: bool,
    columns: Columns | None = None,
    tokens: str = "auto",
    vocabulary_size: int | None = None,
    tokeniser: Tokeniser | None = None,
    longest: int = 200,
    watch: Watch = unwatched,
) -> ParallelCorpus:
    """Read, split and tokenise parallel text into `folder`; pairs of more than `longest` tokens are left out.

    Without `valid` the last pairs are held out. A tokeniser is trained unless one is passed. `watch` is told how far it
    is. Raises CorpusError if a source cannot be read or too few pairs are left for training.
    """
    train, held_out = read_split(names, valid, two_files=two_files, columns=columns, watch=watch)
    if tokeniser is None:
        tokeniser = _learn_tokeniser(train, tokens, vocabulary_size, watch)
    pairs = _encode_fitting(tokeniser, train, names[0], longest, watch)
    valid_pairs = _encode_fitting(tokeniser, held_out, (valid or names)[0], longest, watch)
    facts = {
        "corpus": list(names),
        "two_files": two_files,
        "columns": None if columns is None else list(columns),
        "sha256": train.sha256,
        "pairs": len(pairs),
        "valid": list(valid or names),
        "valid_is": "given" if valid else "held out",
        "valid_sha256": held_out.sha256,
        "blank": train.blank + held_out.blank,
        "too_long": len(train) + len(held_out) - len(pairs) - len(valid_pairs),
    }
    if notes := joined(train.notes, held_out.notes):
        facts["notes"] = notes
    replace_file(folder / "tokeniser.json", tokeniser.to_bytes())
    for name, tokenised in (("train", pairs), ("valid", valid_pairs)):
        _write(folder / f"{name}.npz", tokenised)
    replace_file(folder / "corpus.json", json.dumps(facts).encode())
    return open_pairs(folder)


def _learn_tokeniser(pairs: Pairs, tokens: str, vocabulary_size: int | None, watch: Watch) -> Tokeniser:
    """Train one tokeniser for both sides; its kind and size depend on the pairs if they are left open."""
    kind = tokens
    if tokens == "auto":
        average = max(sum(map(len, side)) for side in (pairs.sources, pairs.targets)) / len(pairs)
        kind = "char" if average <= CHARACTERS_ARE_ENOUGH else "bpe"
    size = vocabulary_size or VOCABULARY[kind]
    if vocabulary_size is None and kind in ("bpe", "unigram"):
        alphabet = set().union(*pairs.sources, *pairs.targets)
        size = LARGE_VOCABULARY if len(pairs) >= LARGE or len(alphabet) >= MANY_CHARACTERS else size
    texts = chain(pairs.sources, pairs.targets)
    return train_tokeniser(kind, watched_rows(texts, watch, "learning a vocabulary", 2 * len(pairs)), size)


def _encode_fitting(tokeniser: Tokeniser, pairs: Pairs, name: str, longest: int, watch: Watch) -> TokenisedPairs:
    """Encode the pairs with at most `longest` tokens on each side. Raises CorpusError if there are no such pairs."""
    encoded = TokenisedPairs(
        Sentences.encode(tokeniser, watched_rows(pairs.sources, watch, "tokenising the sources", len(pairs))),
        Sentences.encode(tokeniser, watched_rows(pairs.targets, watch, "tokenising the targets", len(pairs))),
    )
    fits = np.maximum(encoded.sources.lengths, encoded.targets.lengths) <= longest
    if not fits.any():
        raise CorpusError(name, f"all of its pairs are longer than {longest} tokens", f"--longest {10 * longest}")
    if fits.all():
        return encoded
    kept = np.flatnonzero(fits)
    return TokenisedPairs(encoded.sources.chosen(kept), encoded.targets.chosen(kept))


def _write(path: Path, pairs: TokenisedPairs) -> None:
    packed = io.BytesIO()
    named = {
        f"{side}_{name}": getattr(getattr(pairs, side), name)
        for side in ("sources", "targets")
        for name in ("ids", "starts")
    }
    np.savez(packed, allow_pickle=False, **named)
    replace_file(path, packed.getvalue())


def _read(path: Path) -> TokenisedPairs:
    with np.load(path, allow_pickle=False) as arrays:
        return TokenisedPairs(
            *(Sentences(arrays[f"{side}_ids"], arrays[f"{side}_starts"]) for side in ("sources", "targets"))
        )


def open_pairs(folder: Path) -> ParallelCorpus:
    """The corpus that `tokenise_pairs` wrote into `folder`. Raises RunError if it is gone."""
    try:
        facts = json.loads((folder / "corpus.json").read_text())
        tokeniser = load_tokeniser((folder / "tokeniser.json").read_bytes())
        return ParallelCorpus(tokeniser, _read(folder / "train.npz"), _read(folder / "valid.npz"), facts)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(str(folder), f"the run's tokens cannot be read: {error}", "add --overwrite") from error
