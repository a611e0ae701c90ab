"""Scores of label sets against scikit-learn's, PyTorch's losses and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from nlpseq.evaluation import label_set_scores as ours

metrics = pytest.importorskip("sklearn.metrics")


def _drawn(texts: int = 300, labels: int = 5, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    applies = (generator.random((texts, labels)) < np.linspace(0.05, 0.6, labels)).astype(np.uint8)
    logits = (generator.standard_normal((texts, labels)) + 3.0 * applies - 2.0).astype(np.float32)
    return logits, applies


@pytest.mark.parametrize("labels", [1, 2, 7])
def test_they_are_scikit_learns(labels: int) -> None:
    logits, applies = _drawn(labels=labels)
    found = logits > 0
    table = ours.set_confusion(applies, found)
    expected = metrics.multilabel_confusion_matrix(applies.reshape(-1, labels), found.astype(int))
    if labels > 1:
        assert np.array_equal(table, expected)
        assert ours.set_micro_f1(table) == pytest.approx(100 * metrics.f1_score(applies, found, average="micro"))
        assert ours.set_macro_f1(table) == pytest.approx(100 * metrics.f1_score(applies, found, average="macro"))
    assert ours.exact_match(applies, found) == pytest.approx(100 * metrics.accuracy_score(applies, found.astype(int)))
    measures = *ours.set_precision_and_recall(table), ours.set_f1(table)
    for label in range(labels):
        each = metrics.precision_recall_fscore_support(applies[:, label], found[:, label], average="binary")
        for made, value in zip(measures, each, strict=False):
            assert made[label] == pytest.approx(100 * value)


def test_labels_that_nothing_has_count_for_nothing_in_macro_f1() -> None:
    applies, found = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[1, 0, 0], [0, 0, 0]])
    table = ours.set_confusion(applies, found)
    assert ours.set_macro_f1(table) == pytest.approx((100 * 2 / 3 + 0) / 2)
    assert ours.set_macro_f1(ours.set_confusion(np.zeros((2, 3)), np.zeros((2, 3)))) == 0


def test_the_loss_is_the_binary_cross_entropy_of_each_label() -> None:
    logits, applies = _drawn()
    tensors = torch.from_numpy(logits), torch.from_numpy(applies).float()
    assert ours.set_loss(logits, applies) == pytest.approx(
        float(binary_cross_entropy_with_logits(*tensors, reduction="sum")) / len(logits), rel=1e-5
    )


@pytest.mark.parametrize("hotter", [0.3, 1.0, 5.0])
def test_the_fitted_temperature_is_the_best_of_many(hotter: float) -> None:
    logits, applies = _drawn(2000)
    fitted = ours.fit_set_temperature(logits * hotter, applies)
    losses = {value: ours.set_loss(logits * hotter / value, applies) for value in np.geomspace(0.05, 20, 200)}
    assert ours.set_loss(logits * hotter / fitted, applies) <= min(losses.values()) * (1 + 1e-4)


def test_a_few_texts_that_are_all_right_call_for_no_certainty() -> None:
    applies = np.eye(3, dtype=np.uint8)
    assert ours.fit_set_temperature(np.where(applies, 1.0, -1.0), applies) > 0.2


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4), st.sampled_from([3, 20, 1000]))
def test_no_threshold_is_better(seed: int, texts: int, labels: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    applies = (generator.random((texts, labels)) < 0.4).astype(np.uint8)
    probabilities = (generator.integers(0, levels + 1, (texts, labels)) / levels).astype(np.float32)
    threshold = ours.best_threshold(probabilities, applies)
    assert 0.05 <= threshold <= 0.95

    def score(level: float) -> float:
        return ours.set_micro_f1(ours.set_confusion(applies, ours.found_labels(probabilities, level)))

    assert score(threshold) >= max(map(score, np.linspace(0.06, 0.94, 89))) - 1e-9


def test_without_a_plausible_label_the_threshold_is_one_half() -> None:
    assert ours.best_threshold(np.full((3, 2), 0.01), np.ones((3, 2))) == 0.5


def test_the_calibration_error_is_its_definition() -> None:
    logits, applies = _drawn()
    probabilities = 1 / (1 + np.exp(-logits))
    stated, right = probabilities.ravel(), applies.ravel()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (stated >= low) & (stated < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(stated[inside].mean() - right[inside].mean())
    assert ours.set_calibration_error(probabilities, applies) == pytest.approx(expected, abs=1e-6)


def test_scores_name_their_threshold_and_temperature() -> None:
    logits, applies = _drawn(labels=2)
    scores = {score.name: score for score in ours.label_set_scores(logits, applies, ["a", "b"], 2.0, 0.25, "texts:300")}
    found = 1 / (1 + np.exp(-logits / 2)) >= 0.25
    assert scores["micro_f1"].value == pytest.approx(100 * metrics.f1_score(applies, found, average="micro"))
    assert scores["exact_match"].value == pytest.approx(100 * metrics.accuracy_score(applies, found.astype(int)))
    assert scores["micro_f1"].signature == "micro_f1|labels:2|several|threshold:0.2500|temperature:2.0000|texts:300"
    assert scores["micro_f1"].parts["right"] == (applies & found).sum()
    assert scores["macro_f1"].parts["texts b"] == applies[:, 1].sum()
    assert scores["loss"].value == pytest.approx(ours.set_loss(logits / 2, applies))
