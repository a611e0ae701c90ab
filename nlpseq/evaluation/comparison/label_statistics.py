"""The statistics of a classifier's labels: what accuracy and F1 are computed from, text by text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.decoding.classification import TextClassifier
from nlpseq.evaluation.comparison.measures import (
    ACCURACY,
    EXACT_MATCH,
    LABEL_LOSS,
    MACRO_F1,
    MICRO_F1,
    Measured,
    each_counted,
    flags_of,
    label_counts,
)
from nlpseq.evaluation.label_set_scores import found_labels

Values = NDArray[Any]


def classifier_measured(
    classifier: TextClassifier, logits: Values, applies: Values, labels: Sequence[str] | None = None
) -> dict[str, Measured]:
    """The measures by name of the logits [N, C] of texts against the labels that apply [N, C].

    `labels` are those of all models that are compared, by default the model's own.
    """
    places = _places(classifier.labels, labels or classifier.labels)
    scaled = logits / classifier.temperature
    if classifier.threshold is not None:
        found = found_labels(arrays.sigmoid(scaled), classifier.threshold)
        loss = (np.logaddexp(0, scaled) - scaled * applies).sum(1, dtype=np.float64)
        exact = (applies.astype(bool) == found).all(1)
        counts = label_counts(applies @ places, found.astype(float) @ places)
        field = f"labels:{places.shape[1]}|several"
        measured = [
            Measured(MICRO_F1, counts, field),
            Measured(MACRO_F1, counts, field),
            Measured(EXACT_MATCH, each_counted(exact), field),
        ]
    else:
        own, found = applies.argmax(1), logits.argmax(1)
        loss = (arrays.log_sum_exp(scaled) - arrays.pick(scaled, own)).astype(np.float64)
        order = places.argmax(1)
        measured = labels_measured(order[own], order[found], places.shape[1])
    return {each.measure.name: each for each in (*measured, Measured(LABEL_LOSS, each_counted(loss)))}


def labels_measured(own: Values, found: Values, count: int) -> list[Measured]:
    """Accuracy and macro-F1 of one label a text [N] against its own [N]; `count` is the number of labels."""
    field = f"labels:{count}"
    return [
        Measured(ACCURACY, each_counted(own == found), field),
        Measured(MACRO_F1, label_counts(flags_of(own, count), flags_of(found, count)), field),
    ]


def _places(own: Sequence[str], labels: Sequence[str]) -> Values:
    """The matrix [C, D] that moves flags of a model's own labels to all labels."""
    return np.array([[float(label == other) for other in labels] for label in own])
