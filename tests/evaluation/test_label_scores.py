"""Scores of labels against scikit-learn's and against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from nlpseq.evaluation import label_scores as ours

metrics = pytest.importorskip("sklearn.metrics")


def _drawn(count: int = 500, labels: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    right = generator.integers(0, labels, count)
    logits = generator.standard_normal((count, labels)).astype(np.float32)
    logits[np.arange(count), right] += 1.0
    return logits, right


@pytest.mark.parametrize("labels", [2, 4, 9])
def test_they_are_scikit_learns(labels: int) -> None:
    logits, right = _drawn(labels=labels)
    found = logits.argmax(1)
    table = ours.confusion(right, found, labels)
    assert np.array_equal(table, metrics.confusion_matrix(right, found, labels=range(labels)))
    assert ours.accuracy(table) == pytest.approx(100 * metrics.accuracy_score(right, found))
    assert ours.macro_f1(table) == pytest.approx(100 * metrics.f1_score(right, found, average="macro"))
    precision, recall, _, _ = metrics.precision_recall_fscore_support(right, found, labels=range(labels))
    for made, expected in zip(ours.precision_and_recall(table), (precision, recall), strict=True):
        assert made == pytest.approx(100 * expected)
    assert ours.mean_loss(logits, right) == pytest.approx(
        metrics.log_loss(right, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)), rel=1e-6
    )


def test_labels_that_nobody_has_count_for_nothing_in_macro_f1() -> None:
    table = ours.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 5)
    assert ours.macro_f1(table) == pytest.approx(100 * metrics.f1_score([0, 0, 1], [0, 1, 1], average="macro"))


def test_the_calibration_error_is_its_definition() -> None:
    logits, right = _drawn()
    powers = np.exp(logits)
    probabilities = powers / powers.sum(1, keepdims=True)
    said, hit = probabilities.max(1), probabilities.argmax(1) == right
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (said >= low) & (said < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(said[inside].mean() - hit[inside].mean())
    assert ours.expected_calibration_error(probabilities, right) == pytest.approx(expected)
    sure = np.eye(3)[[0, 1, 2]]
    assert ours.expected_calibration_error(sure, np.array([0, 1, 2])) == 0
    assert ours.expected_calibration_error(sure, np.array([1, 2, 0])) == 1


@pytest.mark.parametrize("hotter", [0.3, 1.0, 5.0])
def test_the_fitted_temperature_is_the_best_of_many_and_undoes_a_factor(hotter: float) -> None:
    logits, right = _drawn()
    found = ours.fit_temperature(logits * hotter, right)
    wanted = np.full(logits.shape, 1 / 502 / 4)
    wanted[np.arange(500), right] += 1 - 1 / 502

    def loss(temperature: float) -> float:
        scaled = logits.astype(float) * hotter / temperature
        return float(-(wanted * (scaled - np.log(np.exp(scaled).sum(1, keepdims=True)))).sum())

    tried = np.geomspace(0.06, 19, 2000)
    assert found == pytest.approx(tried[np.argmin([loss(one) for one in tried])], rel=4e-3)
    assert found / hotter == pytest.approx(ours.fit_temperature(logits, right), rel=1e-4)


def test_a_few_texts_that_are_all_right_make_nobody_certain() -> None:
    logits, right = np.array([[1.0, -1.0]] * 10 + [[-1.0, 1.0]] * 10), np.repeat([0, 1], 10)
    scaled = logits / ours.fit_temperature(logits, right)
    assert (np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)).max() == pytest.approx(1 - 1 / 22 / 2, abs=1e-4)


def test_scores_carry_their_parts_and_signatures() -> None:
    logits, right = _drawn(labels=2)
    scores = {one.name: one for one in ours.label_scores(logits, right, ["no", "yes"], 2.0, "texts:500|a.tsv:given#1")}
    assert list(scores) == ["accuracy", "macro_f1", "expected_calibration_error", "loss"]
    parts = scores["accuracy"].parts
    assert scores["accuracy"].value == pytest.approx(100 * parts["right"] / parts["texts"])
    assert set(scores["macro_f1"].parts) == {
        f"{a} {b}" for a in ("precision", "recall", "texts") for b in ("no", "yes")
    }
    assert scores["loss"].signature == "loss|unit:text|temperature:2.0000|texts:500|a.tsv:given#1"
    assert scores["loss"].value == pytest.approx(ours.mean_loss(logits / 2, right))
