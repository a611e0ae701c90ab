"""What a classifier learns to predict: one label a text, or any number of labels, each with its own probability.

With one label, the loss is the cross-entropy of a softmax. With several, it is the sum of each label's binary
cross-entropy, so it grows with the number of labels; the probabilities of a text's labels do not depend on each other.

Labels on the device have their texts in the last dimension, as all other tensors of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

from nlpseq import arrays
from nlpseq.evaluation.label_scores import accuracy, confusion, fit_temperature, label_scores, macro_f1, mean_loss
from nlpseq.evaluation.label_set_scores import (
    USUAL_THRESHOLD,
    best_threshold,
    fit_set_temperature,
    found_labels,
    label_set_scores,
    set_confusion,
    set_loss,
    set_macro_f1,
    set_micro_f1,
)
from nlpseq.evaluation.scores import Score
from nlpseq.training.data.labels import LabelledCorpus
from nlpseq.training.options import ClassifierTraining
from nlpseq.training.tasks.adversaries import divergence

Logits = NDArray[Any]  # floats [N, C]
SURE_AND_WRONG = 20  # nats that a label costs at most in a run that has not diverged


class LabelTargets:
    """One label a text."""

    def __init__(
        self, corpus: LabelledCorpus, training: ClassifierTraining, place: Callable[[NDArray[Any]], Tensor]
    ) -> None:
        """`place` copies an array to the device that trains."""
        self.corpus, self.training, self.place = corpus, training, place
        self.criterion = training.criterion
        self.temperature = 1.0
        self.weights: Tensor | None = None  # of the labels [C]
        if training.class_weights == "balanced":
            counts = corpus.label_counts
            balanced = counts.sum() / np.maximum(1, counts) / len(counts)
            self.weights = place(balanced.astype(np.float32))

    def on_device(self, labels: NDArray[Any]) -> Tensor:
        """The labels of a batch on the device."""
        return self.place(labels)

    def loss(self, logits: Tensor, labels: Tensor, soft: Tensor | None = None) -> Tensor:
        """The loss of logits [B, C] in nats, summed over texts, with class weights.

        A fraction of it is against a teacher's answers `soft` [C, B], if there are any; their logarithms and the logits
        are divided by the temperature, and that part is multiplied by its square (Hinton et al., 2015).
        """
        if soft is None:
            return self.hard_loss(logits, labels)
        share, temperature = self.training.soft, self.training.temperature
        taught = self.soft_loss(logits / temperature, soft.T / temperature) * temperature**2
        return (1 - share) * self.hard_loss(logits, labels) + share * taught

    def hard_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss against the labels, with label smoothing."""
        smoothing = self.training.label_smoothing
        return cross_entropy(logits, labels, self.weights, reduction="sum", label_smoothing=smoothing)

    def soft_loss(self, logits: Tensor, answers: Tensor) -> Tensor:
        """The loss against a teacher's answers [B, C]."""
        return cross_entropy(logits, answers.softmax(-1), self.weights, reduction="sum")

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """The Kullback-Leibler divergence of the prediction by `others` from that by `logits`, summed over texts."""
        return divergence(logits.log_softmax(-1), others)

    @property
    def worst_loss(self) -> float:
        """A validation loss of a run that has diverged, in nats; labels that are sure and wrong cost up to twenty."""
        return SURE_AND_WRONG + 4 * math.log(len(self.corpus.labels))

    def valid_loss(self, logits: Logits) -> float:
        """The loss per validation text in nats, without label smoothing and class weights."""
        return mean_loss(logits, self.corpus.valid.labels)

    def selection_score(self, logits: Logits) -> float | None:
        """The score of the validation texts that chooses the best model, in per cent; None if the loss does."""
        if self.training.criterion == "loss":
            return None
        table = confusion(self.corpus.valid.labels, logits.argmax(1), len(self.corpus.labels))
        return accuracy(table) if self.training.criterion == "accuracy" else macro_f1(table)

    def scores(self, logits: Logits, texts: str) -> list[Score]:
        """The scores of the validation texts, with a temperature that is fitted on them; `texts` describes them."""
        labels = self.corpus.valid.labels
        self.temperature = fit_temperature(logits, labels)
        return label_scores(logits, labels, self.corpus.labels, self.temperature, texts)

    def details(self) -> dict[str, Any]:
        """What the model file says about labels."""
        return {"labels": self.corpus.labels, "temperature": self.temperature}


class LabelSetTargets(LabelTargets):
    """Any number of labels a text."""

    def __init__(
        self, corpus: LabelledCorpus, training: ClassifierTraining, place: Callable[[NDArray[Any]], Tensor]
    ) -> None:
        super().__init__(corpus, training, place)
        self.threshold = USUAL_THRESHOLD
        if training.criterion == "accuracy":
            self.criterion = "micro-f1"

    def on_device(self, labels: NDArray[Any]) -> Tensor:
        """The labels [B, C] of a batch on the device, as [C, B]."""
        return self.place(labels.T)

    def hard_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As `LabelTargets.hard_loss`, of labels [C, B]; the class weights are those of the texts with the label."""
        smoothing = self.training.label_smoothing
        targets = labels.T.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=self.weights, reduction="sum")

    def soft_loss(self, logits: Tensor, answers: Tensor) -> Tensor:
        """As `LabelTargets.soft_loss`, of log-odds."""
        return binary_cross_entropy_with_logits(logits, answers.sigmoid(), pos_weight=self.weights, reduction="sum")

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """As `LabelTargets.divergence`, summed over labels too."""
        yes = logits.sigmoid() * (logsigmoid(logits) - logsigmoid(others))
        no = (-logits).sigmoid() * (logsigmoid(-logits) - logsigmoid(-others))
        return (yes + no).sum()

    @property
    def worst_loss(self) -> float:
        """As `LabelTargets.worst_loss`: four times that of guessing, and more if texts have many labels."""
        labels_each = self.corpus.label_counts.sum() / max(1, len(self.corpus.train))
        return float(SURE_AND_WRONG * max(1.0, labels_each) + 4 * math.log(2) * len(self.corpus.labels))

    def valid_loss(self, logits: Logits) -> float:
        """As `LabelTargets.valid_loss`, summed over labels."""
        return set_loss(logits, self.corpus.valid.labels)

    def selection_score(self, logits: Logits) -> float | None:
        """As `LabelTargets.selection_score`: micro-F1 or macro-F1 with the threshold that is best for micro-F1."""
        if self.training.criterion == "loss":
            return None
        applies, probabilities = self.corpus.valid.labels, arrays.sigmoid(logits)
        table = set_confusion(applies, found_labels(probabilities, best_threshold(probabilities, applies)))
        return set_macro_f1(table) if self.training.criterion == "macro-f1" else set_micro_f1(table)

    def scores(self, logits: Logits, texts: str) -> list[Score]:
        """As `LabelTargets.scores`, with a threshold that is fitted too."""
        applies = self.corpus.valid.labels
        self.temperature = fit_set_temperature(logits, applies)
        self.threshold = best_threshold(arrays.sigmoid(logits / self.temperature), applies)
        return label_set_scores(logits, applies, self.corpus.labels, self.temperature, self.threshold, texts)

    def details(self) -> dict[str, Any]:
        """As `LabelTargets.details`, with the threshold, and that labels are independent."""
        return {**super().details(), "several_labels": True, "threshold": self.threshold}


def label_targets(
    corpus: LabelledCorpus, training: ClassifierTraining, place: Callable[[NDArray[Any]], Tensor]
) -> LabelTargets:
    """The targets of a corpus."""
    kind = LabelSetTargets if corpus.several else LabelTargets
    return kind(corpus, training, place)


def initial_bias(corpus: LabelledCorpus) -> NDArray[np.float32] | None:
    """The log-odds of labels that are independent [C]; None for the usual bias, the logarithms of their frequencies."""
    if not corpus.several:
        return None
    counts, total = corpus.label_counts.astype(np.float64), len(corpus.train)
    odds: NDArray[np.float32] = np.log((counts + 0.1) / (total - counts + 0.1)).astype(np.float32)
    return odds
