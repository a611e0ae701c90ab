"""A report on a classifier: its scores on labelled texts, its confusion table, and linear baselines.

If a text may have several labels, there is a confusion table of two rows for each label. Baselines are then scored with
the threshold that is best on the very texts, which flatters them, and logistic regression with the usual one too. (The
margins of NB-SVM are rarely above zero for a rare label: only their order means something.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from nlpseq import arrays
from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError, ModelFileError, OptionError
from nlpseq.evaluation import training_text
from nlpseq.evaluation.baselines import baseline_labels, baseline_probabilities, baseline_signature
from nlpseq.evaluation.comparison.label_statistics import classifier_measured
from nlpseq.evaluation.comparison.records import Units
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.comparison.score_intervals import with_intervals
from nlpseq.evaluation.comparison.too_few import check_units
from nlpseq.evaluation.floors.baseline import Baseline, with_values
from nlpseq.evaluation.label_scores import Labels, Values, accuracy, confusion, label_scores, macro_f1
from nlpseq.evaluation.label_set_scores import (
    USUAL_THRESHOLD,
    Flags,
    best_threshold,
    exact_match,
    found_labels,
    label_set_scores,
    set_confusion,
    set_macro_f1,
    set_micro_f1,
)
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.models.model_file import Model
from nlpseq.text.hub import HUB
from nlpseq.text.signature import corpus_name, short_names
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import LabelledTexts, check_known, read_labelled, shared
from nlpseq.text.tables.labelled_parts import read_parts
from nlpseq.text.tables.unlabelled import is_plain_text

Read = TypeVar("Read")
Splits = Callable[[], tuple[LabelledTexts, LabelledTexts]]  # reads the training and the validation texts of a model


@dataclass(frozen=True)
class ClassifierReport:
    """The evaluation of a classifier on labelled texts."""

    labels: list[str]
    scores: list[Score]
    confusion: Labels  # [C, C], numbers of texts, by label (rows) and predicted label (columns); with `several`
    # [C, 2, 2]: for each label, texts without it and with it (rows) for which it was not found, or was (columns)
    baselines: list[Baseline]  # linear models of the training texts
    several: bool = False  # whether a text has any number of labels

    def mistakes(self, most: int) -> list[tuple[str, str, int]]:
        """The `most` most frequent mistakes: the label, the predicted label, and the number of texts.

        There are none with `several`, because no label is taken for another one.
        """
        if self.several:
            return []
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
    resampling: ResamplingOptions | None = None,
) -> ClassifierReport:
    """Evaluate a classifier on labelled texts; without any, on the validation texts of its training.

    A table that has the columns of training is read by them, unless `columns` names others. With `resampling` the
    scores have intervals, for which the texts must not be too few. Raises CorpusError if the
    texts cannot be read or have unknown labels, OptionError for a label separator that the model has no use for, and
    ModelFileError if texts of training are needed and are gone, have changed or have no labels.
    """
    splits = _splits_of(classifier, corpora)
    texts, source = _texts(classifier, splits, corpora, columns, note)
    names = classifier.labels
    check_known(texts, names)
    if resampling is not None:
        check_units(len(texts), "the corpus", "labelled texts")
    logits = classifier.logits(texts.texts)
    signature = f"texts:{len(texts)}|{source}#{texts.sha256[:8]}"
    train = _training_texts(classifier.model, splits) if baseline else None
    make = _single if classifier.threshold is None else _several
    report = make(classifier, logits, texts, signature, train)
    if resampling is None:
        return report
    measured = classifier_measured(classifier, logits, label_flags(texts, names)).values()
    units = Units(len(texts), f"texts:{len(texts)}")
    return replace(report, scores=with_intervals(report.scores, measured, units, resampling))


def _single(
    classifier: TextClassifier, logits: Values, texts: LabelledTexts, signature: str, train: LabelledTexts | None
) -> ClassifierReport:
    """The report if a text has one label."""
    names = classifier.labels
    labels = np.array([names.index(label) for label in texts.labels])
    scores = label_scores(logits, labels, names, classifier.temperature, signature)
    table = confusion(labels, logits.argmax(1), len(names))
    baselines = _baselines(classifier, train, texts, labels, scores) if train else []
    return ClassifierReport(names, scores, table, baselines)


def labelled_texts(
    classifier: TextClassifier, corpora: Sequence[str], columns: LabelColumns, note: Note = say_nothing
) -> tuple[LabelledTexts, str]:
    """The texts that `classifier_report` evaluates on, and their name for a signature. Raises its errors for them."""
    return _texts(classifier, _splits_of(classifier, corpora), corpora, columns, note)


def note_if_trained_on(classifier: TextClassifier, texts: LabelledTexts, note: Note) -> None:
    """Note how many of the texts the model was trained on, if its training texts are still on the disk."""
    splits = _splits_of(classifier, ("given",))
    _note_training_texts(classifier.model, splits, texts, lambda said: note(f"{classifier.model.name}: {said}"))


def _splits_of(classifier: TextClassifier, corpora: Sequence[str]) -> Splits:
    """Reads the texts of a model's training, once."""
    only_for_baseline = corpora or training_text.facts_of(classifier.model).get("valid_is") == "given"
    remedy = training_text.WITHOUT_BASELINE if only_for_baseline else None
    return cache(partial(_splits, classifier.model, remedy))


def _several(
    classifier: TextClassifier, logits: Values, texts: LabelledTexts, signature: str, train: LabelledTexts | None
) -> ClassifierReport:
    """The report if a text may have several labels."""
    names, temperature, threshold = classifier.labels, classifier.temperature, classifier.threshold
    assert threshold is not None
    applies = label_flags(texts, names)
    scores = label_set_scores(logits, applies, names, temperature, threshold, signature)
    table = set_confusion(applies, found_labels(arrays.sigmoid(logits / temperature), threshold))
    baselines = _set_baselines(classifier, train, texts, applies, scores) if train else []
    return ClassifierReport(names, scores, table, baselines, several=True)


def label_flags(texts: LabelledTexts, names: Sequence[str]) -> Flags:
    """The labels that apply to texts [N, C]: 1 for each."""
    index_of = {name: index for index, name in enumerate(names)}
    flags = np.zeros((len(texts), len(names)), np.uint8)
    for row, labels in zip(flags, texts.sets(), strict=True):
        row[[index_of[label] for label in labels]] = 1
    return flags


def _texts(
    classifier: TextClassifier, splits: Splits, corpora: Sequence[str], columns: LabelColumns, note: Note
) -> tuple[LabelledTexts, str]:
    """The texts to evaluate on, and their name for the signature."""
    model, facts = classifier.model, training_text.facts_of(classifier.model)
    if columns.separator is not None and not classifier.several:
        what = "is for models of texts that may have several labels, and the model has one label a text"
        raise OptionError("label_separator", what, "leave out --label-separator")
    if corpora:
        former = LabelColumns(*facts.get("columns") or ())
        if columns.separator is None:
            columns = columns._replace(separator=former.separator)
        texts = read_labelled(corpora, columns, several=classifier.several, former=former)
        for sentence in texts.notes:
            note(sentence)
        _note_training_texts(model, splits, texts, note)
        return texts, corpus_name(corpora, "given")
    texts = _validation_texts(model, splits)
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


def _validation_texts(model: Model, splits: Splits) -> LabelledTexts:
    """Read the validation texts of a model again. Raises ModelFileError as `_again`."""
    facts = training_text.validation_facts(model)
    if facts["valid_is"] != "given":
        return splits()[1]
    columns, several = _columns(facts), bool(facts.get("several_labels"))
    return _again(model, facts["valid"], lambda: read_labelled(facts["valid"], columns, several=several))


def _splits(model: Model, remedy: str | None) -> tuple[LabelledTexts, LabelledTexts]:
    """Read the training and the validation texts of a model again. Raises ModelFileError as `_again`."""
    facts = training_text.validation_facts(model)
    valid = facts["valid"] if facts["valid_is"] == "given" else ()
    columns, several = _columns(facts), bool(facts.get("several_labels"))
    names = [*facts["corpus"], *valid]
    return _again(model, names, lambda: read_parts(facts["corpus"], valid, columns, several=several), remedy)


def _columns(facts: Mapping[str, Any]) -> LabelColumns | None:
    """The columns that training was told to read."""
    return LabelColumns(*facts["columns"]) if facts["columns"] else None


def _again(model: Model, names: Sequence[str], read: Callable[[], Read], remedy: str | None = None) -> Read:
    """What `read` reads from texts of training.

    Raises ModelFileError if they cannot be read, or if a teacher chose their labels; `remedy` is its hint.
    """
    try:
        return read()
    except CorpusError as error:
        if unlabelled := [name for name in names if is_plain_text(name)]:
            raise training_text.without_labels(model, unlabelled, remedy) from None
        raise training_text.unreadable(model, error, remedy) from None


def _training_texts(model: Model, splits: Splits) -> LabelledTexts:
    """The training texts of a model, for baselines. Raises ModelFileError if they have changed, and as `_again`."""
    facts = training_text.training_facts(model)
    train, _ = splits()
    if train.sha256 != facts["sha256"]:
        raise training_text.has_changed(model, "texts have")
    return train


def _baselines(
    classifier: TextClassifier, train: LabelledTexts, texts: LabelledTexts, labels: Labels, scores: Sequence[Score]
) -> list[Baseline]:
    """Accuracy and macro-F1 of linear models of the training texts, measured as the model's `scores`."""
    lowercase, names = bool(classifier.options.lowercase), classifier.labels
    baselines = []
    for name, found in baseline_labels(train.texts, train.labels, texts.texts, lowercase=lowercase).items():
        table = confusion(labels, np.array([names.index(label) for label in found]), len(names))
        signature = baseline_signature(name, train.texts, _trained_on(classifier.model, train), lowercase=lowercase)
        values = {"accuracy": accuracy(table), "macro_f1": macro_f1(table)}
        baselines.append(Baseline(name, signature, with_values(scores, values)))
    return baselines


def _set_baselines(
    classifier: TextClassifier, train: LabelledTexts, texts: LabelledTexts, applies: Flags, scores: Sequence[Score]
) -> list[Baseline]:
    """Micro-F1, macro-F1 and exact match of linear models of each label, with two thresholds."""
    lowercase, own = bool(classifier.options.lowercase), label_flags(train, classifier.labels)
    baselines = []
    for name, probabilities in baseline_probabilities(train.texts, own, texts.texts, lowercase=lowercase).items():
        usual = {name: (USUAL_THRESHOLD, f"threshold:{USUAL_THRESHOLD:g}")} if name == "tf-idf" else {}
        best = best_threshold(probabilities, applies)
        for shown, (threshold, decided) in (usual | {f"{name} (best)": (best, f"threshold:best:{best:.4f}")}).items():
            found = found_labels(probabilities, threshold)
            table = set_confusion(applies, found)
            values = {
                "micro_f1": set_micro_f1(table),
                "macro_f1": set_macro_f1(table),
                "exact_match": exact_match(applies, found),
            }
            trained_on = _trained_on(classifier.model, train)
            signature = baseline_signature(name, train.texts, trained_on, lowercase=lowercase, decided=decided)
            measured = [_decided(score, decided) for score in with_values(scores, values)]
            baselines.append(Baseline(shown, signature, measured))
    return baselines


def _trained_on(model: Model, train: LabelledTexts) -> str:
    """The name of the training texts in the signature of a baseline."""
    return f"{short_names(training_text.facts_of(model)['corpus'])}:texts-{len(train)}#{train.sha256[:8]}"


def _decided(score: Score, decided: str) -> Score:
    """A baseline's score, whose signature has its own threshold in place of the model's threshold and temperature."""
    fields = [field for field in score.signature.split("|") if not field.startswith("temperature:")]
    own = [decided if field.startswith("threshold:") else field for field in fields]
    return replace(score, signature="|".join(own))
