"""What a classifier of several labels a text learns: its loss, its smoothing, its weights, its first bias."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import NAME, read_tensors
from nlpseq.training.data.labels import LabelledCorpus, tokenise_labelled
from nlpseq.training.options import ClassifierTraining
from nlpseq.training.requests import ClassifierRequest
from nlpseq.training.tasks.classification import ClassificationRun
from nlpseq.training.tasks.label_targets import LabelTargets, initial_bias, label_targets


@pytest.fixture
def corpus(tmp_path: Path) -> LabelledCorpus:
    generator = np.random.default_rng(1)
    sets = [
        [label for label, part in zip("abc", (0.1, 0.4, 0.7), strict=True) if generator.random() < part]
        for _ in range(90)
    ]
    rows = [json.dumps({"text": f"text {number}", "labels": labels}) for number, labels in enumerate(sets)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    return tokenise_labelled([str(tmp_path / "a.jsonl")], (), tmp_path, tokens="byte")


def _targets(corpus: LabelledCorpus, **settings: Any) -> LabelTargets:
    return label_targets(corpus, ClassifierTraining(**settings), torch.from_numpy)


def _logits(rows: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_loss_is_summed_over_texts_and_labels(corpus: LabelledCorpus, smoothing: float, weights: str) -> None:
    targets = _targets(corpus, label_smoothing=smoothing, class_weights=weights)
    chosen = np.array([3, 0, 7, 20])
    applies = corpus.train.batch(chosen).labels
    right = torch.from_numpy(applies).float() * (1 - smoothing) + smoothing / 2
    counts = corpus.train.labels.sum(0)
    positive = torch.from_numpy(counts.mean() / counts).float() if weights == "balanced" else torch.ones(3)
    logits = _logits(4)
    expected = -(positive * right * logits.sigmoid().log() + (1 - right) * (1 - logits.sigmoid()).log()).sum()
    found = targets.loss(logits, targets.on_device(applies))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert targets.on_device(applies).shape == (3, 4), "texts are in the last dimension, by which batches are cut"


def test_validation_knows_neither_smoothing_nor_weights(corpus: LabelledCorpus) -> None:
    targets = _targets(corpus, label_smoothing=0.2, class_weights="balanced")
    logits = _logits(len(corpus.valid))
    applies = torch.from_numpy(corpus.valid.labels).float()
    expected = binary_cross_entropy_with_logits(logits, applies, reduction="sum") / len(applies)
    assert targets.valid_loss(logits.numpy()) == pytest.approx(float(expected), rel=1e-5)


def test_the_first_bias_is_the_log_odds_of_each_label(corpus: LabelledCorpus) -> None:
    bias = initial_bias(corpus)
    assert bias is not None
    parts = corpus.train.labels.mean(0)
    assert 1 / (1 + np.exp(-bias)) == pytest.approx(parts, abs=0.01)


def test_the_divergence_is_that_of_each_labels_yes_and_no(corpus: LabelledCorpus) -> None:
    logits, others = _logits(4), _logits(4, 2)
    both = [torch.stack([one.sigmoid(), 1 - one.sigmoid()], -1) for one in (logits, others)]
    expected = kl_div(both[1].log(), both[0], reduction="sum")
    targets = _targets(corpus)
    assert float(targets.divergence(logits, others)) == pytest.approx(float(expected), rel=1e-4)
    assert float(targets.divergence(logits, logits)) == pytest.approx(0, abs=1e-6)


def test_the_criterion_is_micro_f1_unless_another_is_asked_for(corpus: LabelledCorpus) -> None:
    applies = corpus.valid.labels
    logits = np.where(applies, 3.0, -3.0).astype(np.float32)
    logits[:, 0] = -5.0  # its first label is never found
    scores = {
        name: _targets(corpus, criterion=name).selection_score(logits) for name in ("accuracy", "macro-f1", "loss")
    }
    found = applies.copy()
    found[:, 0] = 0
    right, both = (applies & found).sum(0), applies.sum(0) + found.sum(0)
    assert _targets(corpus).criterion == "micro-f1" and scores["loss"] is None
    assert scores["accuracy"] == pytest.approx(100 * 2 * right.sum() / both.sum())
    assert scores["macro-f1"] == pytest.approx(100 * (2 * right / np.maximum(1, both))[both > 0].mean())


def test_the_model_file_says_that_labels_are_independent(corpus: LabelledCorpus) -> None:
    targets = _targets(corpus)
    targets.scores(np.where(corpus.valid.labels, 1.0, -2.0).astype(np.float32), "texts")
    details = targets.details()
    assert details["several_labels"] is True and details["labels"] == ["a", "b", "c"]
    assert 0.05 < details["threshold"] < 0.95 and details["temperature"] != 1


@pytest.mark.parametrize("settings", [{}, {"virtual_adversarial": 0.5}])
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(
    settings: dict[str, Any], corpus: LabelledCorpus, tmp_path: Path
) -> None:
    def request(name: str) -> ClassifierRequest:
        return ClassifierRequest(
            corpus=(str(tmp_path / "a.jsonl"),),
            out=tmp_path / name,
            model=ClassifierOptions(hidden_size=12, embedding_size=8, ngrams=1, evidence=2),
            training=ClassifierTraining(steps=12, batch_size=5, validations=3, save_every=4, **settings),
        )

    def train(request: ClassifierRequest, stop_after: int | None = None) -> None:
        run = ClassificationRun(request)
        for progress in run.progress():
            if progress.step == stop_after:
                return
        run.finish()

    train(request("whole"))
    train(request("parts"), stop_after=9)
    train(replace(request("parts"), resume=True))
    expected, found = (read_tensors(tmp_path / name / NAME)[1] for name in ("whole", "parts"))
    assert expected.keys() == found.keys() and "evidence.table" in expected
    assert all(np.array_equal(found[name], value) for name, value in expected.items())
