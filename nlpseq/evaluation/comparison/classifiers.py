"""Classifiers as sides: the label, or the labels, of each text beside its own."""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import ModelFileError
from nlpseq.evaluation.classifier_report import label_flags, labelled_texts, note_if_trained_on
from nlpseq.evaluation.comparison.label_statistics import classifier_measured
from nlpseq.evaluation.comparison.metrics import chosen_metrics
from nlpseq.evaluation.comparison.records import Outputs, Side, Units
from nlpseq.evaluation.comparison.too_few import check_units
from nlpseq.evaluation.scores import Note
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import check_known

METRICS, SET_METRICS = ("accuracy", "macro_f1", "loss"), ("micro_f1", "macro_f1", "exact_match", "loss")


def classifier_sides(
    sides: Sequence[tuple[str, Sequence[TextClassifier]]],
    corpora: Sequence[str],
    columns: LabelColumns,
    metrics: Sequence[str],
    note: Note,
) -> tuple[list[Side], Units]:
    """Read labelled texts once, and label them with each model.

    Raises ModelFileError if only some of the models give a text any number of labels, CorpusError if the texts cannot
    be read, are too few or have unknown labels, and OptionError for a metric that is not of classifiers.
    """
    first = sides[0][1][0]
    for classifier in (each for _, models in sides for each in models):
        if classifier.several != first.several:
            what = "gives a text {} and {} gives it {}".format(*_numbers(classifier.several), first.model.name)
            raise ModelFileError(classifier.model.name, what, "compare models of the same kind of labels")
    known = SET_METRICS if first.several else METRICS
    names = chosen_metrics(metrics, known, known[:-1], "classifiers")
    texts, source = labelled_texts(first, corpora, columns, note)
    check_units(len(texts), " ".join(corpora) or first.model.name, "labelled texts")
    labels = sorted({label for _, models in sides for each in models for label in each.labels})
    found = []
    for side, models in sides:
        outputs = []
        for classifier in models:
            check_known(texts, classifier.labels)
            if classifier is not first:
                note_if_trained_on(classifier, texts, note)
            logits = classifier.logits(texts.texts)
            applies = label_flags(texts, classifier.labels)
            measured = classifier_measured(classifier, logits, applies, labels)
            outputs.append(Outputs(classifier.model.name, [measured[name] for name in names]))
        found.append(Side(side, outputs))
    return found, Units(len(texts), f"texts:{len(texts)}|{source}#{texts.sha256[:8]}")


def _numbers(several: bool) -> tuple[str, str]:
    one, many = "one label", "any number of labels"
    return (many, one) if several else (one, many)
