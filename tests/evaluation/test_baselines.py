"""Linear models beside a classifier."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from nlpseq.evaluation.baselines import BASELINES, baseline_labels

TEXTS = [f"{word} number {place}" for place in range(30) for word in ("fine film", "dull film", "odd film")]
LABELS = ["good", "bad", "neither"] * 30


@pytest.mark.parametrize("labels", [LABELS, [label.replace("neither", "bad") for label in LABELS]])
def test_they_learn_what_words_tell(labels: list[str]) -> None:
    found = baseline_labels(TEXTS, labels, ["a fine one", "a dull one", "an odd one"])
    assert list(found) == list(BASELINES)
    assert all(given == [*labels[:3]] for given in found.values())


def test_words_in_pairs_and_text_without_spaces() -> None:
    negated = ["not good", "not bad", "very good", "very bad"] * 10
    assert baseline_labels(negated, ["-", "+", "+", "-"] * 10, negated[:4])["tf-idf"] == ["-", "+", "+", "-"]
    chinese = ["这个酒店的房间非常干净服务也很好", "这个酒店的房间非常肮脏服务也很差"] * 10
    found = baseline_labels(
        chinese, ["+", "-"] * 10, ["干净而且很好的地方我们非常喜欢它", "肮脏而且很差的地方我们不会再来了"]
    )
    assert all(given == ["+", "-"] for given in found.values())


def test_naive_bayes_weights_are_those_of_the_paper() -> None:
    generator = np.random.default_rng(1)
    counts = (generator.random((60, 12)) < 0.3).astype(float)
    labels = np.where(
        counts[:, 0] + 0.5 * counts[:, 1] - counts[:, 2] + 0.3 * generator.standard_normal(60) > 0.3, "a", "b"
    )
    own = labels == "b"
    p, q = counts[own].sum(0) + 1, counts[~own].sum(0) + 1
    ratio = np.log((p / p.sum()) / (q / q.sum()))
    model = LinearSVC(C=0.1, max_iter=10_000, random_state=1).fit(counts * ratio, own)
    mixed = 0.75 * np.abs(model.coef_[0]).mean() + 0.25 * model.coef_[0]
    expected = np.where(counts @ (ratio * mixed) + model.intercept_[0] > 0, "b", "a")
    assert BASELINES["nb-svm"](csr_matrix(counts), labels, csr_matrix(counts)).tolist() == expected.tolist()
