"""A classifier's scores on labelled texts, its confusion table, and baselines trained on the same texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation.baselines import baseline_labels
from nlpseq.evaluation.label_scores import Labels, accuracy, confusion, label_scores, macro_f1
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.models.model_file import Model
from nlpseq.text.hub import HUB
from nlpseq.text.signature import corpus_name
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import LabelledTexts, check_known, read_labelled, read_parts, shared

Parts = Callable[[], tuple[LabelledTexts, LabelledTexts]]  # the training and the validation texts of a model


@dataclass(frozen=True)
class ClassifierReport:
    """The evaluation of a classifier on labelled texts."""

    labels: list[str]
    scores: list[Score]
    confusion: Labels  # [C, C], texts of each label (rows) by predicted label (columns)
    baselines: dict[str, dict[str, float]]  # accuracy and macro-F1 of each linear model, in per cent

    def mistakes(self, most: int) -> list[tuple[str, str, int]]:
        """The most frequent mistakes, at most `most`: a label, the one predicted for it, and the number of texts."""
        wrong = self.confusion * (1 - np.eye(len(self.labels), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(index), len(self.labels)) for index in order]
        return [
            (self.labels[label], self.labels[other], int(wrong[label, other]))
            for label, other in pairs
            if wrong[label, other]
        ]


def classifier_report(
    classifier: TextClassifier,
    corpora: Sequence[str],
    columns: LabelColumns,
    *,
    baseline: bool = False,
    note: Note = say_nothing,
) -> ClassifierReport:
    """Evaluate a classifier on labelled texts, or without any on those that its training was validated on.

    Raises CorpusError for texts that cannot be read or have other labels, OptionError if the library of the baselines
    is not installed, and ModelFileError if the texts of training are needed and have changed.
    """
    parts = cache(partial(_parts, classifier.model))
    texts, part = _texts(classifier.model, parts, corpora, columns, note)
    names = classifier.labels
    check_known(texts, names)
    labels = np.array([names.index(label) for label in texts.labels])
    logits = classifier.logits([classifier.ids(text) for text in texts.texts])
    signature = f"texts:{len(texts)}|{part}#{texts.sha256[:8]}"
    scores = label_scores(logits, labels, names, classifier.temperature, signature)
    table = confusion(labels, logits.argmax(1), len(names))
    return ClassifierReport(names, scores, table, _baselines(classifier, parts()[0], texts, labels) if baseline else {})


def _texts(
    model: Model, parts: Parts, corpora: Sequence[str], columns: LabelColumns, note: Note
) -> tuple[LabelledTexts, str]:
    """The texts to evaluate on, and what they are."""
    if corpora:
        texts = read_labelled(corpora, columns)
        _note_learned(model, parts, texts, note)
        return texts, corpus_name(corpora, "given")
    facts = _facts(model)
    _, texts = parts()
    if texts.sha256 != facts["valid_sha256"]:
        note(f"{' '.join(facts['valid'])} has changed since the model was trained")
    return texts, corpus_name(facts["valid"], facts["valid_is"])


def _note_learned(model: Model, parts: Parts, texts: LabelledTexts, note: Note) -> None:
    """Say how many of the texts were trained on, where that can be read again from a disk."""
    trained_on = (model.header.get("data") or {}).get("corpus", [])
    if any(name.startswith(HUB) for name in trained_on):
        return
    try:
        train, _ = parts()
    except ModelFileError:
        return
    if known := len(shared(texts, train)):
        note(f"{known:,} of the {len(texts):,} texts were trained on: their scores are too good")


def _facts(model: Model) -> dict[str, Any]:
    facts: dict[str, Any] = model.header.get("data") or {}
    if "valid_is" not in facts:
        raise ModelFileError(str(model.path), "does not say what it was validated on", "name a corpus")
    return facts


def _parts(model: Model) -> tuple[LabelledTexts, LabelledTexts]:
    """What a model was trained on, and validated on, read again."""
    facts = _facts(model)
    columns = LabelColumns(*facts["columns"]) if facts["columns"] else None
    try:
        return read_parts(facts["corpus"], facts["valid"] if facts["valid_is"] == "given" else (), columns)
    except CorpusError as error:
        what = f"the texts that it was trained on cannot be read again: {error}"
        raise ModelFileError(str(model.path), what, "name a corpus, or go to the folder of its training") from None


def _baselines(
    classifier: TextClassifier, train: LabelledTexts, texts: LabelledTexts, labels: np.ndarray
) -> dict[str, dict[str, float]]:
    """Accuracy and macro-F1 of linear models of the training texts. Raises ModelFileError where those have changed."""
    if train.sha256 != _facts(classifier.model)["sha256"]:
        what = "was trained on other texts than are there now: a baseline of those says nothing"
        raise ModelFileError(str(classifier.model.path), what, "leave out --baseline")
    found = baseline_labels(train.texts, train.labels, texts.texts, lowercase=bool(classifier.options.lowercase))
    names = classifier.labels
    made = {}
    for name, given in found.items():
        table = confusion(labels, np.array([names.index(label) for label in given]), len(names))
        made[name] = {"accuracy": accuracy(table), "macro_f1": macro_f1(table)}
    return made
