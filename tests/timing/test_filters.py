"""Filters and their neighbours do the same work, and each is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nlpseq.errors import CorpusError
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.linear import LinearModel, Vocabulary
from nlpseq.models.model_file import Model, save_model
from nlpseq.models.text_ngrams import count_ngrams
from nlpseq.text.bundled import BUNDLED
from nlpseq.timing import filters
from nlpseq.timing.throughput import Throughput

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
        return [0.5 * (1 + index) for index in range(len(turns))]

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


@pytest.mark.parametrize("linear", [False, True])
def test_both_sides_classify_alike(linear: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = filters.random_classifier(LINES)
    if linear:
        model, options = with_linear_model(model, options)
    ours = filters.TextClassifier(model, options)
    probabilities: list[torch.Tensor] = []
    softmax = torch.Tensor.softmax

    def kept(logits: torch.Tensor, *dimensions: int) -> torch.Tensor:
        probabilities.append(softmax(logits, *dimensions))
        return probabilities[-1]

    expected = torch.from_numpy(ours.logits(LINES)).softmax(-1).numpy()
    monkeypatch.setattr(torch.Tensor, "softmax", kept)
    filters.classify_on_torch(ours, filters.tensors_of(model), LINES)
    order = np.argsort([len(ours.ids(line)) for line in LINES], kind="stable")
    assert abs(torch.cat(probabilities).numpy() - expected[order]).max() < 1e-5
    if linear:
        assert abs(ours.linear_logits(LINES)).max() > 0.1


def with_linear_model(model: Model, options: ClassifierOptions) -> tuple[Model, ClassifierOptions]:
    """A classifier with a linear model of the words of LINES."""
    keys = np.unique(count_ngrams(LINES, "words").keys)
    weight = np.random.default_rng(1).standard_normal((len(keys), 1)).astype(np.float32)
    vocabulary = Vocabulary("words", keys, np.ones(len(keys), np.float32))
    weights = model.weights | LinearModel(vocabulary, weight, np.array([0.5, -0.5], np.float32)).weights()
    return replace(model, weights=weights), replace(options, linear="words")


def test_it_is_said_that_both_sides_have_the_linear_model(tmp_path: Path) -> None:
    model, options = with_linear_model(*filters.random_classifier(LINES))
    path = tmp_path / "model.safetensors"
    save_model(path, model.task, asdict(options), model.weights, model.tokeniser, labels=model.header["labels"])
    assert filters.measure_classify(path, LINES, 1).neighbour.endswith("torch's operators, both with the linear model")
    assert filters.measure_classify(None, LINES, 1).neighbour.endswith("torch's operators")


@pytest.mark.parametrize(("name", "first"), [("translate", 0), ("score", None), ("classify", 1)])
def test_lines_of_a_bundled_corpus_are_texts(name: str, first: int | None) -> None:
    timed = filters.FILTERS[name]
    corpus = "".join(BUNDLED[timed.corpus].read()).split("\n")
    lines = timed.bundled_lines()
    assert len(lines) == 256
    assert all(line.strip() and "\t" not in line for line in lines)
    assert lines[0] == (corpus[0] if first is None else corpus[0].split("\t")[first])


def test_lines_of_a_file_are_those_that_are_not_blank(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("a cat\n \n\na dog", encoding="utf-8")
    assert filters.read_lines(path) == ["a cat", "a dog"]
    path.write_text("\n \n", encoding="utf-8")
    with pytest.raises(CorpusError, match="there is no text in it"):
        filters.read_lines(path)


def test_without_a_neighbour_there_is_no_ratio() -> None:
    assert Throughput("classify", "texts", 10.0, "torch", None).ratio is None
