"""Labelled texts to batches of token ids.

The texts are read once and kept in temporary files, then a tokeniser is learned from them, and their ids are written
into the run folder, from which each batch is read. So memory does not grow with the number of texts. The cost is disk
space: the uncompressed text and 12 bytes a text until training begins, and the ids and 10 bytes a text after that. The
labels of texts that have any number of them need more: their spelling until training begins, and 8 bytes and one or two
a label after that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import RunError, TokeniserError
from nlpseq.evaluation.shares import calibrate
from nlpseq.files import replace_file
from nlpseq.models.structure import check_facts, check_labels
from nlpseq.models.text_ngrams import CHARACTERS, PARTS
from nlpseq.text.array_files import ArrayWriter, StoredArray
from nlpseq.text.padding import Ids, together
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import add_labelled, has_no_spaces, sorted_labels
from nlpseq.text.tables.notes import joined
from nlpseq.text.tables.stored_labelled import LabelledPart, count_repeats, store_parts
from nlpseq.text.tables.unlabelled import LabelledByTeacher
from nlpseq.text.tokenisers import Tokeniser, load_tokeniser, train_tokeniser
from nlpseq.training.data.encoding import encode_texts
from nlpseq.training.data.label_sets import LabelSets, write_label_sets
from nlpseq.training.data.linear import Examples, Fitted, fit_linear
from nlpseq.training.data.seal import check_ids
from nlpseq.training.data.sentences import Sentences, SentenceWriter
from nlpseq.training.data.soft_labels import SoftLabels, TextTeacher, open_soft_labels, write_soft_labels

VOCABULARY = {"word": 30_000, "bpe": 8192, "unigram": 8192, "byte": 256, "char": 16_384}


class LabelledBatch(NamedTuple):
    """A batch of labelled texts; the ids beyond a text's length are padding."""

    ids: Ids  # [T, B]
    lengths: Ids  # [B]
    labels: NDArray[Any]  # [B], or [B, C] if a text has any number of labels: 1 for each that applies


class TokenisedTexts(NamedTuple):
    """Labelled texts as ids."""

    texts: Sentences
    label_file: StoredArray | LabelSets  # [N], indices into the list of labels, or [N, C], the labels that apply

    @property
    def labels(self) -> NDArray[Any]:
        """All indices into the list of labels [N], or the labels that apply [N, C], in memory."""
        return self._labels(slice(None))

    def __len__(self) -> int:  # of texts
        return len(self.label_file)

    def batch(self, chosen: NDArray[np.int64]) -> LabelledBatch:
        """The texts at the indices `chosen` as a batch."""
        return LabelledBatch(*self.texts.padded(chosen), self._labels(chosen))

    def _labels(self, chosen: slice | NDArray[np.int64]) -> NDArray[Any]:
        labels = self.label_file[chosen]
        return labels if isinstance(self.label_file, LabelSets) else labels.astype(np.int64)

    def in_order(self, batch_tokens: int) -> Iterator[tuple[NDArray[np.int64], LabelledBatch]]:
        """All texts in batches of at most `batch_tokens` tokens, short texts first, each with the texts' indices."""
        for indices in together(self.texts.lengths[:], batch_tokens):
            yield indices, self.batch(indices)


@dataclass(frozen=True)
class LabelledCorpus:
    """Labelled texts in tokens, for training and validation."""

    tokeniser: Tokeniser
    labels: list[str]
    train: TokenisedTexts
    valid: TokenisedTexts
    facts: dict[str, Any]  # JSON: names, hashes, counts
    linear: Fitted | None = None
    soft: SoftLabels | None = None  # a teacher's answers to the training texts

    @property
    def several(self) -> bool:
        """Whether a text has any number of labels."""
        return bool(self.facts.get("several_labels"))

    @property
    def label_counts(self) -> NDArray[np.int64]:
        """The number of training texts of each label [C]."""
        return np.array(self.facts["label_counts"], np.int64)


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
    several: bool | None = None,
    linear: str | None = "none",
    teacher: TextTeacher | None = None,
    lowercase: bool = True,
    longest: int = 1000,
    watch: Watch = unwatched,
    processes: int | None = None,
) -> LabelledCorpus:
    """Read, split and tokenise labelled texts into `folder`; training texts are cut to `longest` tokens.

    Without `valid` some texts are held out, without `tokeniser` one is trained, without `labels` they are those of the
    training texts, in order, and without `several` the corpus tells if a text has any number of them. `linear` is the
    kind of n-grams of a linear model, None the usual one. A `teacher` has all labels and labels texts without one, and
    its answers are stored. `watch` is told how far it is; at most `processes` processes encode, by default one for each
    core. Raises CorpusError if a source cannot be read, if too few texts are left, and for an unknown label; and
    RunError if a file cannot be written.
    """
    read = add_labelled if teacher is None else LabelledByTeacher(teacher.label, teacher.labels)
    train, held_out = store_parts(names, valid, folder, columns, labels, watch, several=several, read=read)
    labels = sorted_labels(train.counts) if labels is None else list(labels)
    if tokeniser is None:
        tokeniser = _learn_tokeniser(train, tokens, vocabulary_size, lowercase=lowercase, watch=watch)
    write = partial(_write, folder, tokeniser, labels, lowercase=lowercase, watch=watch, processes=processes)
    cut, _ = write("train", train, longest=longest), write("valid", held_out, longest=None)
    facts = {**_names(names, valid, columns), **_facts(train, held_out, labels), "cut": cut}
    if teacher is not None:
        write_soft_labels(folder, train, teacher, watch)
    replace_file(folder / "tokeniser.json", tokeniser.to_bytes())
    replace_file(folder / "corpus.json", json.dumps(facts).encode())
    return _with_linear_model(open_labelled(folder), folder, linear, train, held_out, lowercase=lowercase, watch=watch)


def _names(names: Sequence[str], valid: Sequence[str], columns: LabelColumns | None) -> dict[str, Any]:
    """Where the texts come from, for the model file."""
    return {
        "corpus": list(names),
        "columns": None if columns is None else list(columns if columns.separator else columns[:2]),
        "valid": list(valid or names),
        "valid_is": "given" if valid else "held out",
    }


def _with_linear_model(
    corpus: LabelledCorpus,
    folder: Path,
    kind: str | None,
    train: LabelledPart,
    held_out: LabelledPart,
    *,
    lowercase: bool,
    watch: Watch,
) -> LabelledCorpus:
    """The corpus with a linear model fitted to its texts, unless the kind is `none`; it is written into the folder."""
    if kind == "none" or not len(held_out):
        return corpus

    def texts(part: LabelledPart) -> Iterator[str]:
        rows = watched_rows(part.texts, watch, "fitting a linear model", len(part))
        return (text.lower() for text in rows) if lowercase else rows

    kind = kind or (CHARACTERS if has_no_spaces(train.texts) else PARTS)
    examples, labels = Examples(lambda: texts(train), corpus.train.labels), corpus.valid.labels
    fitted = fit_linear(
        examples, list(texts(held_out)), len(corpus.labels), kind, lambda logits: calibrate(logits, labels)
    )
    fitted.write(folder)
    return replace(corpus, linear=fitted)


def _facts(train: LabelledPart, held_out: LabelledPart, labels: Sequence[str]) -> dict[str, Any]:
    """Facts about the texts for the model file: hashes, counts and notes."""
    counts, repeats = train.counts, count_repeats(train, held_out)
    facts = {
        "sha256": train.sha256,
        "texts": len(train),
        "labels": labels,
        "label_counts": [counts[label] for label in labels],
        "repeated": repeats.same,
        "contradicting": repeats.other,
        "in_both_parts": repeats.shared,
        "valid_texts": len(held_out),
        "valid_sha256": held_out.sha256,
        "blank": train.blank + held_out.blank,
    }
    if train.several:
        facts |= {"several_labels": True, "unlabelled": sum(not label for label in train.labels)}
    notes = joined(train.notes, held_out.notes)
    return {**facts, "notes": notes} if notes else facts


def _learn_tokeniser(
    texts: LabelledPart, tokens: str, vocabulary_size: int | None, *, lowercase: bool, watch: Watch
) -> Tokeniser:
    """Train a tokeniser; its kind and size depend on the texts if they are left open."""
    kind = tokens
    if tokens == "auto":
        kind = "char" if has_no_spaces(texts.texts) else "bpe"
    rows = watched_rows(texts.texts, watch, "learning a vocabulary", len(texts))
    plain = (text.lower() if lowercase else text for text in rows)
    return train_tokeniser(kind, plain, vocabulary_size or VOCABULARY[kind])


def _write(
    folder: Path,
    tokeniser: Tokeniser,
    labels: Sequence[str],
    part: str,
    texts: LabelledPart,
    *,
    lowercase: bool,
    longest: int | None,
    watch: Watch,
    processes: int | None,
) -> int:
    """Encode and write texts and their labels: the number of texts that were cut to `longest` tokens."""
    rows = watched_rows(texts.texts, watch, "tokenising", len(texts))
    cut = 0
    with SentenceWriter(folder, f"{part}.texts", tokeniser.size) as file:
        for encoded, further in encode_texts(
            tokeniser, rows, len(texts), processes, lowercase=lowercase, longest=longest
        ):
            file.append(encoded)
            cut += further
    if texts.several:
        write_label_sets(folder, f"{part}.labels", texts, labels)
        return cut
    indices = {label: index for index, label in enumerate(labels)}
    index_of = np.array([indices.get(label, -1) for label in texts.names])
    with ArrayWriter(_labels_path(folder, part), np.min_scalar_type(len(labels))) as label_file:
        for block in texts.blocks():
            label_file.append(index_of[block.labels])
    return cut


def _labels_path(folder: Path, part: str) -> Path:
    return folder / f"{part}.labels.npy"


def open_labelled(folder: Path) -> LabelledCorpus:
    """The corpus that `tokenise_labelled` wrote into `folder`. Raises RunError if it is gone."""
    try:
        facts = json.loads((folder / "corpus.json").read_text())
        tokeniser = load_tokeniser((folder / "tokeniser.json").read_bytes())
        check_facts(facts, whole=True)
        check_labels(facts)
        labels, several = len(facts["labels"]), bool(facts.get("several_labels"))
        train, valid = (_open(folder, part, labels, tokeniser.size, several=several) for part in ("train", "valid"))
        soft, fitted = open_soft_labels(folder, labels), Fitted.read(folder)
        if (soft and len(soft) != len(train)) or (fitted and not fitted.fits(len(valid), labels, several=several)):
            raise ValueError("the files of texts, labels and answers do not belong together")
        if not several and facts.get("label_counts") != np.bincount(train.labels[:], minlength=labels).tolist():
            raise ValueError("corpus.json counts other labels")
        return LabelledCorpus(tokeniser, facts["labels"], train, valid, facts, fitted, soft)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, TokeniserError) as error:
        raise RunError(str(folder), f"the run's tokens cannot be read: {error}", "add --overwrite") from error


def _open(folder: Path, part: str, count: int, vocabulary_size: int, *, several: bool) -> TokenisedTexts:
    """One part of the texts; `count` is the number of labels, and a text has one or `several` of them."""
    texts = Sentences.open(folder, f"{part}.texts").check(f"{part}.texts", vocabulary_size)
    name = f"{part}.labels"
    labels: StoredArray | LabelSets
    if several:
        labels = LabelSets.open(folder, name, count)
    else:
        labels = StoredArray(_labels_path(folder, part))
        check_ids(name, labels, count)
    if len(labels) != len(texts.lengths):
        raise ValueError(f"the files of {part}.texts and {part}.labels do not belong together")
    return TokenisedTexts(texts, labels)
