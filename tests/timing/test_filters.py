"""Filters and their neighbours do the same work, and each is timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nlpseq.timing import filters
from nlpseq.timing.filters import Throughput

LINES = ["the cat sat on the mat", "a dog", "the dog sat on the log and barked"]
MEASURES = {
    "translate": filters.measure_translate,
    "score": filters.measure_score,
    "classify": filters.measure_classify,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short turns, each taken once."""
    monkeypatch.setattr(filters, "BATCH", 2)
    monkeypatch.setattr(filters, "STEPS", 3)

    def seconds(turns: list[Callable[[], object]], repeats: int) -> list[float]:
        for turn in turns:
            turn()
        return [0.5 * (1 + place) for place in range(len(turns))]

    monkeypatch.setattr(filters, "median_seconds", seconds)


@pytest.mark.parametrize("what", MEASURES)
def test_a_random_model_is_timed_beside_its_neighbour(what: str) -> None:
    found = MEASURES[what](None, LINES, 1)
    assert found.what == what
    assert found.ours_per_second > 0
    assert found.neighbour_per_second is not None and found.neighbour_per_second > 0
    if what != "score":
        assert found.ours_per_second == len(LINES) / 0.5
        assert found.ratio == pytest.approx(2.0)


def test_a_saved_model_is_scored(model_path: Path) -> None:
    found = filters.measure_score(model_path, LINES, 1)
    tokens = sum(len(line.encode()) + 1 for line in LINES)
    assert found.ours_per_second == tokens / 0.5


def test_both_sides_classify_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = filters.random_classifier(LINES)
    ours = filters.TextClassifier(model, options)
    found: list[torch.Tensor] = []
    logits = filters.classifier.logits

    def kept(weights: object, *rest: object) -> object:
        made = logits(weights, *rest)  # type: ignore[arg-type]
        found.append(made)
        return made

    expected = ours.logits([ours.ids(line) for line in LINES])
    monkeypatch.setattr(filters.classifier, "logits", kept)
    filters.classify_on_torch(ours, filters.tensors_of(model), LINES)
    order = np.argsort([len(ours.ids(line)) for line in LINES], kind="stable")
    assert abs(torch.cat(found).numpy() - expected[order]).max() < 1e-5


def test_without_a_neighbour_there_is_no_ratio() -> None:
    assert Throughput("classify", "texts", 10.0, "torch", None).ratio is None
