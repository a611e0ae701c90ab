"""How good a classifier's labels and probabilities are.

    accuracy   the share of texts whose label is the most probable one, in per cent
    macro_f1   the mean over labels of the harmonic mean of precision and recall, in per cent; every label counts alike
    expected_calibration_error  by how much stated probabilities miss the share that is right, over fifteen bins of
               equal width, weighted by their texts (Guo et al., 2017), from 0 to 1
    loss       nats a text

A temperature that divides the logits is fitted on validation texts, which changes no label and makes probabilities mean
what they say (Guo et al., 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.evaluation.scores import Score

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0  # temperatures

Values = NDArray[np.floating]
Labels = NDArray[np.int64]


def confusion(labels: Labels, found: Labels, count: int) -> Labels:
    """How many texts of each label (rows) were given each label (columns) [C, C]."""
    return np.bincount(labels * count + found, minlength=count * count).reshape(count, count)


def accuracy(table: Labels) -> float:
    """Per cent of the texts that lie on the diagonal of a confusion table."""
    return 100 * float(np.trace(table)) / max(1, int(table.sum()))


def precision_and_recall(table: Labels) -> tuple[Values, Values]:
    """Of each label [C], in per cent; 0 where nothing was given it, or nothing is of it."""
    right = np.diag(table)
    return 100 * right / np.maximum(1, table.sum(0)), 100 * right / np.maximum(1, table.sum(1))


def macro_f1(table: Labels) -> float:
    """The mean F1 of the labels that occur, be it in the texts or in what was found, in per cent."""
    occurring = (table.sum(0) + table.sum(1)) > 0
    f1 = 200 * np.diag(table) / np.maximum(1, table.sum(0) + table.sum(1))
    return float(f1[occurring].mean()) if occurring.any() else 0.0


def expected_calibration_error(probabilities: Values, labels: Labels) -> float:
    """Of probabilities [N, C]: what is said of the best label against how often it is right."""
    said = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    missed = np.bincount(bins, said, BINS) - np.bincount(bins, right, BINS)
    return float(np.abs(missed).sum() / max(1, len(labels)))


def mean_loss(logits: Values, labels: Labels) -> float:
    """-log p of the right label in nats, the mean over texts, of logits [N, C]."""
    return float((arrays.log_sum_exp(logits) - arrays.pick(logits, labels)).mean(dtype=np.float64))


def fit_temperature(logits: Values, labels: Labels) -> float:
    """What logits [N, C] are best divided by: the temperature of the smallest loss, by golden section.

    The right label of each text counts as right but for one part in N + 2 (Platt, 1999), since a few texts that are all
    judged well do not show that no other could be judged badly.
    """
    values = logits.astype(np.float64)
    doubt = 1 / (len(labels) + 2)

    def loss(temperature: float) -> float:
        scaled = values / temperature
        nats = arrays.log_sum_exp(scaled) - (1 - doubt) * arrays.pick(scaled, labels) - doubt * scaled.mean(1)
        return float(nats.mean())

    low, high = np.log(COLDEST), np.log(HOTTEST)
    share = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        first, second = high - share * (high - low), low + share * (high - low)
        if loss(float(np.exp(first))) <= loss(float(np.exp(second))):
            high = second
        else:
            low = first
    return float(np.exp((low + high) / 2))


def label_scores(logits: Values, labels: Labels, names: Sequence[str], temperature: float, texts: str) -> list[Score]:
    """The scores of logits [N, C] against labels [N]; `texts` is the part of the signature that names the texts.

    The confusion table and each label's precision, recall and F1 are parts of `macro_f1`.
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
