"""Teachers of a classifier: the probabilities that they give the labels of a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nlpseq.decoding.classification import TextClassifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import read_options
from nlpseq.text.tables.label_sets import joined_labels
from nlpseq.training.distillation.teachers import Teachers

LEAST = 1e-7  # probability, so that its logarithm is finite


class LabelTeachers:
    """Classifiers with the same labels, whose calibrated probabilities are averaged: a `TextTeacher`."""

    def __init__(self, teachers: Teachers, device: str = "cpu") -> None:
        self.classifiers = [
            TextClassifier(model, read_options(model, ClassifierOptions), device) for model in teachers.models
        ]
        first = self.classifiers[0]
        self.labels, self.several, self.threshold = first.labels, first.several, first.threshold

    def label(self, texts: Sequence[str]) -> list[str]:
        """As `TextTeacher.label`: the most probable label, or those above the first teacher's threshold."""
        probabilities = self.probabilities(texts)
        if self.threshold is None:
            return [self.labels[index] for index in probabilities.argmax(1)]
        return [
            joined_labels("", [name for name, value in zip(self.labels, row, strict=True) if value >= self.threshold])
            for row in probabilities
        ]

    def answers(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """As `TextTeacher.answers`."""
        probabilities = self.probabilities(texts)
        logarithms: NDArray[np.float64] = np.log(np.maximum(probabilities, LEAST))
        return logarithms - np.log(np.maximum(1 - probabilities, LEAST)) if self.several else logarithms

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The mean of the teachers' probabilities of texts [N, C]."""
        total = np.zeros((len(texts), len(self.labels)))
        for each in self.classifiers:
            for row, decision in zip(total, each.classify(texts), strict=True):
                of_label = decision.by_label()
                row += [of_label[label] for label in self.labels]
        return total / len(self.classifiers)
