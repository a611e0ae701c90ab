"""A report on a classifier: its scores on labelled texts, its confusion table, and linear baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation import training_text
from nlpseq.evaluation.baselines import baseline_labels
from nlpseq.evaluation.label_scores import Labels, accuracy, confusion, label_scores, macro_f1
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.models.model_file import Model
from nlpseq.text.hub import HUB
from nlpseq.text.signature import corpus_name
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import LabelledTexts, check_known, read_labelled, read_parts, shared

Splits = Callable[[], tuple[LabelledTexts, LabelledTexts]]  # reads the training and the validation texts of a model


@dataclass(frozen=True)
class ClassifierReport:
    """The evaluation of a classifier on labelled texts."""

    labels: list[str]
    scores: list[Score]
    confusion: Labels  # [C, C], numbers of texts, by label (rows) and predicted label (columns)
    baselines: dict[str, dict[str, float]]  # accuracy and macro-F1 of each linear model by its name, in per cent

    def mistakes(self, most: int) -> list[tuple[str, str, int]]:
        """The `most` most frequent mistakes: the label, the predicted label, and the number of texts."""
        wrong = self.confusion * (1 - np.eye(len(self.labels), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(index), len(self.labels)) for index in order]
        return [
            (self.labels[label], self.labels[predicted], int(wrong[label, predicted]))
            for label, predicted in pairs
            if wrong[label, predicted]
        ]


def classifier_report(
    classifier: TextClassifier,
    corpora: Sequence[str],
    columns: LabelColumns,
    *,
    baseline: bool = False,
    note: Note = say_nothing,
) -> ClassifierReport:
    """Evaluate a classifier on labelled texts; without any, on the validation texts of its training.

    Raises CorpusError if the texts cannot be read or have unknown labels, OptionError if scikit-learn is needed and not
    installed, and ModelFileError if the training texts are needed and have changed.
    """
    splits = cache(partial(_splits, classifier.model))
    texts, source = _texts(classifier.model, splits, corpora, columns, note)
    names = classifier.labels
    check_known(texts, names)
    labels = np.array([names.index(label) for label in texts.labels])
    logits = classifier.logits([classifier.ids(text) for text in texts.texts])
    signature = f"texts:{len(texts)}|{source}#{texts.sha256[:8]}"
    scores = label_scores(logits, labels, names, classifier.temperature, signature)
    table = confusion(labels, logits.argmax(1), len(names))
    baselines = _baselines(classifier, splits()[0], texts, labels) if baseline else {}
    return ClassifierReport(names, scores, table, baselines)


def _texts(
    model: Model, splits: Splits, corpora: Sequence[str], columns: LabelColumns, note: Note
) -> tuple[LabelledTexts, str]:
    """The texts to evaluate on, and their name for the signature."""
    if corpora:
        texts = read_labelled(corpora, columns)
        for sentence in texts.notes:
            note(sentence)
        _note_training_texts(model, splits, texts, note)
        return texts, corpus_name(corpora, "given")
    facts = training_text.validation_facts(model)
    _, texts = splits()
    if texts.sha256 != facts["valid_sha256"]:
        note(training_text.changed(facts))
    return texts, corpus_name(facts["valid"], facts["valid_is"])


def _note_training_texts(model: Model, splits: Splits, texts: LabelledTexts, note: Note) -> None:
    """Note how many of the texts are training texts, if those are still on the disk."""
    trained_on = training_text.facts_of(model).get("corpus", [])
    if any(name.startswith(HUB) for name in trained_on):
        return
    try:
        train, _ = splits()
    except ModelFileError:
        return
    if count := len(shared(texts, train)):
        note(f"{count:,} of the {len(texts):,} texts were trained on: their scores are too good")


def _splits(model: Model) -> tuple[LabelledTexts, LabelledTexts]:
    """Read the training and the validation texts of a model again."""
    facts = training_text.validation_facts(model)
    columns = LabelColumns(*facts["columns"]) if facts["columns"] else None
    try:
        return read_parts(facts["corpus"], facts["valid"] if facts["valid_is"] == "given" else (), columns)
    except CorpusError as error:
        raise training_text.unreadable(model, error) from None


def _baselines(
    classifier: TextClassifier, train: LabelledTexts, texts: LabelledTexts, labels: np.ndarray
) -> dict[str, dict[str, float]]:
    """Accuracy and macro-F1 of linear models of the training texts. Raises ModelFileError if those have changed."""
    if train.sha256 != training_text.facts_of(classifier.model)["sha256"]:
        what = "its training texts have changed: a baseline trained on them would say nothing"
        raise ModelFileError(classifier.model.name, what, "leave out --baseline")
    by_baseline = baseline_labels(train.texts, train.labels, texts.texts, lowercase=bool(classifier.options.lowercase))
    names = classifier.labels
    scores = {}
    for baseline, predicted in by_baseline.items():
        table = confusion(labels, np.array([names.index(label) for label in predicted]), len(names))
        scores[baseline] = {"accuracy": accuracy(table), "macro_f1": macro_f1(table)}
    return scores
