"""How good a classifier is if a text may have any number of labels, each with a probability of its own.

    micro_f1     F1, the harmonic mean of precision and recall, over all pairs of a text and a label, in per cent
    macro_f1     the mean F1 over labels, in per cent
    exact_match  the percentage of texts whose labels are all found, and no other
    expected_calibration_error  the mean difference between the stated probability of a label and the fraction of texts
                 to which it applies, over fifteen bins of equal width that are weighted by their numbers of pairs
    loss         nats per text, summed over labels

A label is found if its probability reaches a threshold, which is the same for all labels. The temperature and then the
threshold are fitted on the validation texts: the temperature to the loss, the threshold to micro-F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.evaluation.label_scores import BINS, Labels, Values, best_temperature
from nlpseq.evaluation.scores import Score

LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.05, 0.95
USUAL_THRESHOLD = 0.5

Flags = NDArray[Any]  # ones and zeros, or true and false


def set_loss(logits: Values, applies: Flags) -> float:
    """The mean over texts of the sum over labels of -log p, in nats, from logits [N, C]; `applies` [N, C] is right."""
    nats = np.logaddexp(0, logits) - logits * applies
    return float(nats.sum(dtype=np.float64) / max(1, len(logits)))


def fit_set_temperature(logits: Values, applies: Flags) -> float:
    """The temperature that minimises the loss of logits [N, C], found by golden-section search.

    The targets are a little less than 1 and more than 0 (Platt, 1999), so that a few texts that are all right do not
    call for unlimited confidence.
    """
    values = logits.astype(np.float64)
    positive = float(applies.sum(dtype=np.int64))
    targets = np.where(applies, (positive + 1) / (positive + 2), 1 / (applies.size - positive + 2))
    return best_temperature(lambda temperature: set_loss(values / temperature, targets))


def best_threshold(probabilities: Values, applies: Flags) -> float:
    """The threshold with the best micro-F1 of probabilities [N, C], half-way between two of them."""
    plausible = probabilities >= LOWEST_THRESHOLD
    order = np.argsort(-probabilities[plausible], kind="stable")
    values = probabilities[plausible][order].astype(np.float64)
    if not len(values):
        return USUAL_THRESHOLD
    found = applies[plausible][order].cumsum(dtype=np.int64)
    f1 = 2 * found / (np.arange(1, len(values) + 1) + applies.sum(dtype=np.int64))
    following = np.append(values[1:], LOWEST_THRESHOLD)
    f1[(following == values) | (following >= HIGHEST_THRESHOLD)] = -1  # equal probabilities are on one side
    best = int(f1.argmax())
    return float(np.clip((values[best] + following[best]) / 2, LOWEST_THRESHOLD, HIGHEST_THRESHOLD))


def set_confusion(applies: Flags, found: Flags) -> Labels:
    """For each label the numbers of texts [C, 2, 2] without it and with it (rows) for which it was not found, or was.

    Both arguments are [N, C].
    """
    both = (applies.astype(bool) & found.astype(bool)).sum(0)
    with_label, with_found = (flags.sum(0, dtype=np.int64) for flags in (applies, found))
    wrong = with_found - both
    table = np.stack([len(applies) - with_label - wrong, wrong, with_label - both, both], -1)
    return table.reshape(-1, 2, 2)


def set_precision_and_recall(table: Labels) -> tuple[Values, Values]:
    """Precision and recall of each label [C] in per cent; 0 if it was never found, or has no texts."""
    both = table[:, 1, 1]
    return 100 * both / np.maximum(1, table[:, :, 1].sum(1)), 100 * both / np.maximum(1, table[:, 1].sum(1))


def set_f1(table: Labels) -> Values:
    """F1 of each label [C] in per cent; 0 if it has no texts and was never found."""
    either = table[:, :, 1].sum(1) + table[:, 1].sum(1)
    f1: Values = 200 * table[:, 1, 1] / np.maximum(1, either)
    return f1


def set_micro_f1(table: Labels) -> float:
    """F1 over all pairs of a text and a label, in per cent."""
    return float(set_f1(table.sum(0)[None])[0])


def set_macro_f1(table: Labels) -> float:
    """The mean F1, in per cent, of the labels that the texts have or that were found."""
    occurring = (table.sum((1, 2)) - table[:, 0, 0]) > 0
    return float(set_f1(table)[occurring].mean()) if occurring.any() else 0.0


def exact_match(applies: Flags, found: Flags) -> float:
    """The percentage of texts whose labels are all found, and no other."""
    return 100 * float((applies.astype(bool) == found.astype(bool)).all(1).sum()) / max(1, len(applies))


def set_calibration_error(probabilities: Values, applies: Flags) -> float:
    """The calibration error of the probabilities [N, C] of labels."""
    stated, right = probabilities.ravel(), applies.ravel()
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    differences = np.bincount(bins, stated, BINS) - np.bincount(bins, right, BINS)
    return float(np.abs(differences).sum() / max(1, len(right)))


def found_labels(probabilities: Values, threshold: float) -> NDArray[np.bool_]:
    """Whether each probability reaches the threshold; both are compared in float64."""
    reached: NDArray[np.bool_] = probabilities.astype(np.float64) >= threshold
    return reached


def label_set_scores(
    logits: Values, applies: Flags, names: Sequence[str], temperature: float, threshold: float, texts: str
) -> list[Score]:
    """The scores of logits [N, C] against the labels that apply [N, C]; `texts` describes the texts in the signature.

    The parts of `macro_f1` are the precision, the recall and the number of texts of each label.
    """
    scaled = logits / temperature
    probabilities = arrays.sigmoid(scaled)
    found = found_labels(probabilities, threshold)
    table = set_confusion(applies, found)
    precision, recall = set_precision_and_recall(table)
    (_, wrong), (missed, both) = table.sum(0).tolist()
    counts = {"texts": float(len(applies)), "right": float(both), "wrong": float(wrong), "missed": float(missed)}
    by_label = {
        f"{what} {name}": float(value)
        for what, values in (("precision", precision), ("recall", recall), ("texts", table[:, 1].sum(1)))
        for name, value in zip(names, values, strict=True)
    }
    calibrated = f"temperature:{temperature:.4f}|{texts}"
    chosen = f"labels:{len(names)}|several|threshold:{threshold:.4f}|{calibrated}"
    loss, size = set_loss(scaled, applies), {"texts": float(len(applies))}
    exact = exact_match(applies, found)
    error = set_calibration_error(probabilities, applies)
    error_name = "expected_calibration_error"
    return [
        Score("micro_f1", set_micro_f1(table), "label", f"micro_f1|{chosen}", counts),
        Score("macro_f1", set_macro_f1(table), "label", f"macro_f1|{chosen}", by_label),
        Score("exact_match", exact, "text", f"exact_match|{chosen}", size),
        Score(error_name, error, "label", f"{error_name}|bins:{BINS}|{calibrated}", {"bins": float(BINS), **size}),
        Score("loss", loss, "text", f"loss|unit:text|{calibrated}", {"nats": loss * len(applies), **size}),
    ]
