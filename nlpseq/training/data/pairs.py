"""Parallel text to batches of token ids.

One tokeniser serves both sides. So names, numbers and word pieces that occur in both have one vector, and the model
file has one vocabulary.

The pairs are read once and kept in temporary files, then a tokeniser is learned from them, and their ids are written
into the run folder, from which each batch is read. So memory does not grow with the number of pairs. The cost is disk
space: the uncompressed text until training begins, and the ids and 16 bytes a pair after that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import CorpusError, RunError, TokeniserError
from nlpseq.files import replace_file
from nlpseq.models.structure import check_facts
from nlpseq.models.translator import decoder_inputs
from nlpseq.text.padding import Ids
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.tables.pair_tables import Columns
from nlpseq.text.tables.parallel import Pairs, are_two_files, read_parallel, read_split
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser, train_tokeniser
from nlpseq.training.data.encoding import encode_pairs
from nlpseq.training.data.sentences import Sentences, SentenceWriter

CHARACTERS_ARE_ENOUGH = 30  # mean length of a text; longer texts are modelled in BPE tokens, not in characters
VOCABULARY = {"word": 30_000, "bpe": 4096, "unigram": 4096, "byte": 256, "char": 16_384}
LARGE, LARGE_VOCABULARY = 100_000, 8192  # from this number of pairs on, the vocabulary of word pieces is larger
MANY_CHARACTERS = 1000  # different characters, which would fill most of a small vocabulary, so it is larger, too
COUNTED = 1 << 20  # tokens that are counted at a time


class Batch(NamedTuple):
    """A batch of pairs; the ids beyond a text's length are padding."""

    sources: Ids  # [S, B]
    source_lengths: Ids  # [B]
    inputs: Ids  # [T, B], of the decoder: a newline, then the target
    targets: Ids  # [T, B], to be predicted: the target, then a newline
    target_lengths: Ids  # [B]


class PairTeacher(Protocol):
    """Translators whose translations a student learns."""

    def teach(self, pairs: Pairs, folder: Path, watch: Watch) -> Pairs:
        """The pairs to learn instead of `pairs`, in temporary files in a folder."""


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
    synthetic: TokenisedPairs | None = None  # for training too

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """The counts [V] of the tokens in the targets that are trained on."""
        counts = np.zeros(self.tokeniser.size, np.int64)
        for ids in (part.targets.ids for part in (self.train, self.synthetic) if part is not None):
            for start in range(0, len(ids), COUNTED):
                counts += np.bincount(ids[start : start + COUNTED], minlength=len(counts))
        return counts


def tokenise_pairs(
    names: Sequence[str],
    valid: Sequence[str],
    folder: Path,
    *,
    two_files: bool,
    columns: Columns | None = None,
    synthetic: Sequence[str] = (),
    tokens: str = "auto",
    vocabulary_size: int | None = None,
    tokeniser: Tokeniser | None = None,
    teacher: PairTeacher | None = None,
    longest: int = 200,
    watch: Watch = unwatched,
    processes: int | None = None,
) -> ParallelCorpus:
    """Read, split and tokenise parallel text into `folder`; pairs of more than `longest` tokens are left out.

    Without `valid` the last pairs are held out. `synthetic` are further pairs for training: tables, or a source file
    and a target file. A tokeniser is trained unless one is passed. A `teacher` makes the pairs to train on from those
    of the corpus. `watch` is told how far it is. `processes` is the largest number of processes that encode; None means
    one for each core. Raises CorpusError if a source cannot be read or too few pairs are left for training, and
    RunError if a file cannot be written.
    """
    train, held_out = read_split(names, valid, two_files=two_files, columns=columns, watch=watch, folder=folder)
    parts = {"train": train if teacher is None else teacher.teach(train, folder, watch), "valid": held_out}
    if synthetic:
        parts["synthetic"] = _read_synthetic(synthetic, folder, watch)
    if tokeniser is None:
        tokeniser = _learn_tokeniser(parts, tokens, vocabulary_size, watch)
    files = {"train": names, "valid": valid or names, "synthetic": synthetic}
    counts = {
        part: _write_fitting(folder, part, tokeniser, pairs, files[part][0], longest, watch, processes)
        for part, pairs in parts.items()
    }
    reading = {"two_files": two_files, "columns": columns and list(columns), "sha256": train.sha256}
    facts = {**_facts(parts, files, counts), **reading, "valid_is": "given" if valid else "held out"}
    replace_file(folder / "tokeniser.json", tokeniser.to_bytes())
    replace_file(folder / "corpus.json", json.dumps(facts).encode())
    return open_pairs(folder)


def _in_both(train: Pairs, held_out: Pairs) -> int:
    """The number of held-out pairs that are pairs for training too; the held-out ones are in memory meanwhile."""
    held = Counter(zip(held_out.sources, held_out.targets, strict=True))
    shared = {pair for pair in zip(train.sources, train.targets, strict=True) if pair in held}
    return sum(held[pair] for pair in shared)


def _read_synthetic(names: Sequence[str], folder: Path, watch: Watch) -> Pairs:
    """The synthetic pairs; the first two columns of a table if its header does not name them."""
    try:
        return read_parallel(names, two_files=are_two_files(names), watch=watch, folder=folder)
    except CorpusError as error:
        hint = error.hint.replace("--source FILE --target FILE", "--synthetic FILE --synthetic FILE")
        raise CorpusError(error.where, error.what, hint) from None


def _facts(parts: Mapping[str, Pairs], files: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> dict[str, Any]:
    """Facts about the pairs for the model file: names, hashes, counts of the pairs kept, and notes."""
    facts: dict[str, Any] = {
        "corpus": list(files["train"]),
        "valid": list(files["valid"]),
        "sha256": parts["train"].sha256,
        "pairs": counts["train"],
        "valid_sha256": parts["valid"].sha256,
        "blank": sum(pairs.blank for pairs in parts.values()),
        "too_long": sum(map(len, parts.values())) - sum(counts.values()),
    }
    if "synthetic" in parts:
        facts |= {
            "synthetic": list(files["synthetic"]),
            "synthetic_sha256": parts["synthetic"].sha256,
            "synthetic_pairs": counts["synthetic"],
        }
    notes = list(dict.fromkeys(chain.from_iterable(pairs.notes for pairs in parts.values())))
    if shared := _in_both(parts["train"], parts["valid"]):
        both = f"{shared:,} of {len(parts['valid']):,} validation pairs are also trained on"
        notes.append(f"{both}: their scores are too good")
    return {**facts, "notes": notes} if notes else facts


def _learn_tokeniser(parts: Mapping[str, Pairs], tokens: str, vocabulary_size: int | None, watch: Watch) -> Tokeniser:
    """Train one tokeniser for both sides of all pairs but those for validation.

    Its kind and size depend on the pairs if they are left open.
    """
    learned_from = [pairs for part, pairs in parts.items() if part != "valid"]
    kind, count = tokens, sum(map(len, learned_from))
    sides = [side for pairs in learned_from for side in (pairs.sources, pairs.targets)]
    if tokens == "auto":
        average = max(sum(map(len, side)) / len(side) for side in sides)
        kind = "char" if average <= CHARACTERS_ARE_ENOUGH else "bpe"
    size = vocabulary_size or VOCABULARY[kind]
    if vocabulary_size is None and kind in ("bpe", "unigram"):
        is_large = count >= LARGE or _characters(chain(*sides)) >= MANY_CHARACTERS
        size = LARGE_VOCABULARY if is_large else size
    texts = chain(*sides)
    return train_tokeniser(kind, watched_rows(texts, watch, "learning a vocabulary", 2 * count), size)


def _characters(texts: Iterable[str]) -> int:
    """The number of different characters in texts."""
    found: set[str] = set()
    for text in texts:
        found.update(text)
    return len(found)


def _write_fitting(
    folder: Path,
    part: str,
    tokeniser: Tokeniser,
    pairs: Pairs,
    name: str,
    longest: int,
    watch: Watch,
    processes: int | None,
) -> int:
    """Encode and write the pairs with at most `longest` tokens on each side: their number.

    Raises CorpusError if there are no such pairs.
    """
    rows = watched_rows(zip(pairs.sources, pairs.targets, strict=True), watch, "tokenising the pairs", len(pairs))
    with (
        SentenceWriter(folder, f"{part}.sources", tokeniser.size) as source_file,
        SentenceWriter(folder, f"{part}.targets", tokeniser.size) as target_file,
    ):
        for sources, targets in encode_pairs(tokeniser, rows, len(pairs), processes):
            fits = np.maximum(sources.lengths, targets.lengths) <= longest
            source_file.append(sources.chosen(fits))
            target_file.append(targets.chosen(fits))
        if not len(source_file):
            raise CorpusError(name, f"all of its pairs are longer than {longest} tokens", f"--longest {10 * longest}")
        return len(source_file)


def _open(folder: Path, part: str, vocabulary_size: int) -> TokenisedPairs:
    names = [f"{part}.{side}" for side in ("sources", "targets")]
    sides = [Sentences.open(folder, name).check(name, vocabulary_size) for name in names]
    if len(sides[0].starts) != len(sides[1].starts):
        raise ValueError(f"the files of {names[0]} and {names[1]} do not belong together")
    return TokenisedPairs(*sides)


def open_pairs(folder: Path) -> ParallelCorpus:
    """The corpus that `tokenise_pairs` wrote into `folder`. Raises RunError if it is gone."""
    try:
        facts = json.loads((folder / "corpus.json").read_text())
        tokeniser = load_tokeniser((folder / "tokeniser.json").read_bytes())
        check_facts(facts, whole=True)
        train, valid = (_open(folder, part, tokeniser.size) for part in ("train", "valid"))
        synthetic = _open(folder, "synthetic", tokeniser.size) if "synthetic_sha256" in facts else None
        return ParallelCorpus(tokeniser, train, valid, facts, synthetic)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, TokeniserError) as error:
        raise RunError(str(folder), f"the run's tokens cannot be read: {error}", "add --overwrite") from error
