"""How good a classifier's labels and probabilities are.

    accuracy   the percentage of texts whose most probable label is right
    macro_f1   the mean over labels of F1, the harmonic mean of precision and recall, in per cent
    expected_calibration_error  the mean difference between stated probability and accuracy, from 0 to 1, over fifteen
               bins of equal width that are weighted by their numbers of texts (Guo et al., 2017)
    loss       nats per text

A temperature is fitted on the validation texts, and the logits are divided by it. This changes no label and calibrates
the probabilities (Guo et al., 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.evaluation.scores import Score

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperatures

Values = NDArray[np.floating]
Labels = NDArray[np.int64]


def confusion(labels: Labels, predicted: Labels, count: int) -> Labels:
    """The numbers of texts [C, C] with each label (rows) and predicted label (columns); `count` is C."""
    return np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)


def accuracy(table: Labels) -> float:
    """The percentage of the texts on the diagonal of a confusion table."""
    return 100 * float(np.trace(table)) / max(1, int(table.sum()))


def precision_and_recall(table: Labels) -> tuple[Values, Values]:
    """Precision and recall of each label [C] in per cent; 0 if it was never predicted, or has no texts."""
    right = np.diag(table)
    return 100 * right / np.maximum(1, table.sum(0)), 100 * right / np.maximum(1, table.sum(1))


def macro_f1(table: Labels) -> float:
    """The mean F1, in per cent, of the labels that the texts have or that were predicted."""
    occurring = (table.sum(0) + table.sum(1)) > 0
    f1 = 200 * np.diag(table) / np.maximum(1, table.sum(0) + table.sum(1))
    return float(f1[occurring].mean()) if occurring.any() else 0.0


def expected_calibration_error(probabilities: Values, labels: Labels) -> float:
    """The calibration error of probabilities [N, C]: those of the best label against its accuracy."""
    stated = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    differences = np.bincount(bins, stated, BINS) - np.bincount(bins, right, BINS)
    return float(np.abs(differences).sum() / max(1, len(labels)))


def mean_loss(logits: Values, labels: Labels) -> float:
    """The mean over texts of -log p of the right label, in nats, from logits [N, C]."""
    return float((arrays.log_sum_exp(logits) - arrays.pick(logits, labels)).mean(dtype=np.float64))


def fit_temperature(logits: Values, labels: Labels) -> float:
    """The temperature that minimises the loss of logits [N, C], found by golden-section search.

    The right label of each text has a target probability of 1 - 1 / (N + 2) (Platt, 1999). Otherwise a few texts that
    are all classified correctly would call for unlimited confidence.
    """
    values = logits.astype(np.float64)
    doubt = 1 / (len(labels) + 2)

    def loss(temperature: float) -> float:
        scaled = values / temperature
        nats = arrays.log_sum_exp(scaled) - (1 - doubt) * arrays.pick(scaled, labels) - doubt * scaled.mean(1)
        return float(nats.mean())

    return best_temperature(loss)


def best_temperature(loss: Callable[[float], float]) -> float:
    """The temperature between LOWEST and HIGHEST that minimises a loss."""
    low, high = np.log(LOWEST), np.log(HIGHEST)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        first, second = high - golden * (high - low), low + golden * (high - low)
        if loss(float(np.exp(first))) <= loss(float(np.exp(second))):
            high = second
        else:
            low = first
    return float(np.exp((low + high) / 2))


def label_scores(logits: Values, labels: Labels, names: Sequence[str], temperature: float, texts: str) -> list[Score]:
    """The scores of logits [N, C] against labels [N]; `texts` describes the texts in the signature.

    The parts of `macro_f1` are the precision, the recall and the number of texts of each label.
    """
    scaled = logits / temperature
    table = confusion(labels, logits.argmax(1), len(names))
    precision, recall = precision_and_recall(table)
    parts = {"texts": float(len(labels)), "right": float(np.trace(table))}
    by_label = {
        f"{what} {name}": float(value)
        for what, values in (("precision", precision), ("recall", recall), ("texts", table.sum(1)))
        for name, value in zip(names, values, strict=True)
    }
    error = expected_calibration_error(arrays.softmax(scaled), labels)
    loss = mean_loss(scaled, labels)
    calibrated = f"temperature:{temperature:.4f}|{texts}"
    return [
        Score("accuracy", accuracy(table), "text", f"accuracy|labels:{len(names)}|{texts}", parts),
        Score("macro_f1", macro_f1(table), "label", f"macro_f1|labels:{len(names)}|{texts}", by_label),
        Score(
            "expected_calibration_error",
            error,
            "text",
            f"expected_calibration_error|bins:{BINS}|{calibrated}",
            {"bins": float(BINS), "texts": float(len(labels))},
        ),
        Score("loss", loss, "text", f"loss|unit:text|{calibrated}", {"nats": loss * len(labels), **parts}),
    ]
