"""Labelled texts to batches of token ids."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import RunError
from nlpseq.files import replace_file
from nlpseq.models.classifier import text_ids
from nlpseq.text.padding import Ids, together
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import LabelledTexts, has_no_spaces, label_names, read_parts, repeated, shared
from nlpseq.text.tables.notes import joined
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser, train_tokeniser
from nlpseq.training.data.sentences import Sentences

SHOWN_LABELS = 6
VOCABULARY = {"word": 30_000, "bpe": 8192, "unigram": 8192, "byte": 256, "char": 16_384}


class LabelledBatch(NamedTuple):
    """A batch of labelled texts; the ids beyond a text's length are padding."""

    ids: Ids  # [T, B]
    lengths: Ids  # [B]
    labels: Ids  # [B]


class TokenisedTexts(NamedTuple):
    """Labelled texts as ids."""

    texts: Sentences
    labels: NDArray[np.int64]  # [N], indices into the list of labels

    def __len__(self) -> int:  # of texts
        return len(self.labels)

    def batch(self, chosen: NDArray[np.int64]) -> LabelledBatch:
        """The texts at the indices `chosen` as a batch."""
        return LabelledBatch(*self.texts.padded(chosen), self.labels[chosen])

    def in_order(self, batch_tokens: int) -> Iterator[tuple[NDArray[np.int64], LabelledBatch]]:
        """All texts in batches of at most `batch_tokens` tokens, short texts first, each with the texts' indices."""
        for indices in together(self.texts.lengths, batch_tokens):
            yield indices, self.batch(indices)


@dataclass(frozen=True)
class LabelledCorpus:
    """Labelled texts in tokens, for training and validation."""

    tokeniser: Tokeniser
    labels: list[str]
    train: TokenisedTexts
    valid: TokenisedTexts
    facts: dict[str, Any]  # JSON: names, hashes, counts

    @property
    def label_counts(self) -> NDArray[np.int64]:
        """The number of training texts of each label [C]."""
        return np.bincount(self.train.labels, minlength=len(self.labels))


def tokenise_labelled(
    names: Sequence[str],
    valid: Sequence[str],
    folder: Path,
    *,
    columns: LabelColumns | None = None,
    tokens: str = "auto",
    vocabulary_size: int | None = None,
    tokeniser: Tokeniser | None = None,
    labels: Sequence[str] | None = None,
    lowercase: bool = True,
    longest: int = 1000,
    watch: Watch = unwatched,
) -> LabelledCorpus:
    """Read, split and tokenise labelled texts into `folder`; training texts are cut to `longest` tokens.

    Without `valid` some texts of each label are held out. A tokeniser is trained unless one is passed; without `labels`
    they are those of the training texts, in order. `watch` is told how far it is. Raises CorpusError if a source cannot
    be read, if too few texts are left for training, and for a label that is not one of `labels`.
    """
    train, held_out = read_parts(names, valid, columns, labels, watch)
    labels = label_names(train, names[0]) if labels is None else list(labels)
    if tokeniser is None:
        tokeniser = _learn_tokeniser(train, tokens, vocabulary_size, lowercase=lowercase, watch=watch)
    whole = _encode(tokeniser, train, labels, lowercase=lowercase, watch=watch)
    train_texts, cut = _cut(whole, longest)
    valid_texts = _encode(tokeniser, held_out, labels, lowercase=lowercase, watch=watch)
    facts = {
        "corpus": list(names),
        "columns": None if columns is None else list(columns),
        **_facts(train, held_out, labels),
        "valid": list(valid or names),
        "valid_is": "given" if valid else "held out",
        "cut": cut,
    }
    _write(folder / "train.npz", train_texts)
    _write(folder / "valid.npz", valid_texts)
    replace_file(folder / "tokeniser.json", tokeniser.to_bytes())
    replace_file(folder / "corpus.json", json.dumps(facts).encode())
    return open_labelled(folder)


def _facts(train: LabelledTexts, held_out: LabelledTexts, labels: Sequence[str]) -> dict[str, Any]:
    """Facts about the texts for the model file: hashes, counts and notes."""
    counts, (same, other) = train.counts, repeated(train)
    facts = {
        "sha256": train.sha256,
        "texts": len(train),
        "labels": labels,
        "label_counts": [counts[label] for label in labels],
        "repeated": len(same),
        "contradicting": len(other),
        "in_both_parts": len(shared(train, held_out)),
        "valid_texts": len(held_out),
        "valid_sha256": held_out.sha256,
        "blank": train.blank + held_out.blank,
    }
    notes = joined(train.notes, held_out.notes)
    return {**facts, "notes": notes} if notes else facts


def _learn_tokeniser(
    texts: LabelledTexts, tokens: str, vocabulary_size: int | None, *, lowercase: bool, watch: Watch
) -> Tokeniser:
    """Train a tokeniser; its kind and size depend on the texts if they are left open."""
    kind = tokens
    if tokens == "auto":
        kind = "char" if has_no_spaces(texts.texts) else "bpe"
    rows = watched_rows(texts.texts, watch, "learning a vocabulary", len(texts))
    plain = (text.lower() if lowercase else text for text in rows)
    return train_tokeniser(kind, plain, vocabulary_size or VOCABULARY[kind])


def _encode(
    tokeniser: Tokeniser, texts: LabelledTexts, labels: Sequence[str], *, lowercase: bool, watch: Watch
) -> TokenisedTexts:
    indices = {label: index for index, label in enumerate(labels)}
    rows = watched_rows(texts.texts, watch, "tokenising", len(texts))
    ids = Sentences.join([text_ids(tokeniser, text, lowercase=lowercase) for text in rows])
    return TokenisedTexts(ids, np.array([indices[label] for label in texts.labels], np.int64))


def _cut(texts: TokenisedTexts, longest: int) -> tuple[TokenisedTexts, int]:
    """Cut the middle out of texts of more than `longest` tokens: all texts, and the number of those cut."""
    lengths = texts.texts.lengths
    count = int((lengths > longest).sum())
    if not count:
        return texts, 0
    head, tail = longest // 2, longest - longest // 2
    whole = [texts.texts[index] for index in range(len(texts))]
    cut = [np.concatenate([ids[:head], ids[-tail:]]) if len(ids) > longest else ids for ids in whole]
    return TokenisedTexts(Sentences.join(cut), texts.labels), count


def open_labelled(folder: Path) -> LabelledCorpus:
    """The corpus that `tokenise_labelled` wrote into `folder`. Raises RunError if it is gone."""
    try:
        facts = json.loads((folder / "corpus.json").read_text())
        tokeniser = load_tokeniser((folder / "tokeniser.json").read_bytes())
        train, valid = (_read(folder / f"{name}.npz") for name in ("train", "valid"))
        return LabelledCorpus(tokeniser, facts["labels"], train, valid, facts)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(str(folder), f"the run's tokens cannot be read: {error}", "add --overwrite") from error


def _write(path: Path, tokenised: TokenisedTexts) -> None:
    packed, texts = io.BytesIO(), tokenised.texts
    np.savez(packed, allow_pickle=False, ids=texts.ids, starts=texts.starts, labels=tokenised.labels)
    replace_file(path, packed.getvalue())


def _read(path: Path) -> TokenisedTexts:
    with np.load(path, allow_pickle=False) as arrays:
        return TokenisedTexts(Sentences(arrays["ids"], arrays["starts"]), arrays["labels"])


def text_notes(facts: Mapping[str, Any], longest: int) -> list[str]:
    """Notes for the user: the labels, and the numbers of texts left out, repeated, contradicting or cut."""
    counted = sorted(zip(facts["label_counts"], facts["labels"], strict=True), reverse=True)
    shown = ", ".join(f"{label!r} {count:,}" for count, label in counted[:SHOWN_LABELS])
    rest = f" and {len(counted) - SHOWN_LABELS:,} more labels" if len(counted) > SHOWN_LABELS else ""
    valid = f"{facts['valid_texts']:,} {'given' if facts['valid_is'] == 'given' else 'held out'} for validation"
    notes = [f"{_texts(facts['texts'])} to train on: {shown}{rest}; {valid}"]
    for fact, what in (
        ("blank", "left out, because the label or the text is blank"),
        ("repeated", "repeated with the same label"),
        ("contradicting", "repeated with another label"),
        ("in_both_parts", "also in the validation part: its scores are too good"),
        ("cut", f"of more than {longest:,} tokens, whose middle is left out (--longest)"),
    ):
        if facts[fact]:
            notes.append(f"{_texts(facts[fact])} {what}")
    if rare := [label for count, label in counted if count == 1]:
        notes.append(f"labels with a single text: {', '.join(map(repr, rare[:SHOWN_LABELS]))}")
    return notes


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count:,} texts"
