"""Vectors of texts, against the states of the same networks written out by hand, one text and one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.errors import ModelFileError, OptionError
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import Model, load_model, save_model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import train_tokeniser
from nlpseq.vectors import embedder
from nlpseq.vectors.embedder import TextEmbedder, VectorOptions, spelled, unit_length, vector_status

TEXTS = ["the cat sat", "öl 猫 on the mat, où es-tu?", "x", "a  dog\nran", "the log " * 9]
CELL = {"cell": "gru", "hidden_size": 6, "embedding_size": 5}


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _gru(weights: dict[str, np.ndarray], name: str, inputs: list[np.ndarray], suffix: str = "") -> list[np.ndarray]:
    """The states of a gated recurrent unit over one text, in float64; nothing of the package."""
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (weights[f"{name}.{field}{suffix}"].astype(np.float64) for field in fields)
    hidden, states = np.zeros(w_hh.shape[1]), []
    for vector in inputs:
        r, z, n = (w_ih @ vector + b_ih).reshape(3, -1)
        own_r, own_z, own_n = (w_hh @ hidden + b_hh).reshape(3, -1)
        z = _sigmoid(z + own_z)
        hidden = (1 - z) * np.tanh(n + _sigmoid(r + own_r) * own_n) + z * hidden
        states.append(hidden)
    return states


def _both(weights: dict[str, np.ndarray], name: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
    forwards, backwards = _gru(weights, name, inputs), _gru(weights, name, inputs[::-1], "_reverse")[::-1]
    return [np.concatenate(pair) for pair in zip(forwards, backwards, strict=True)]


def _looked_up(model: Model, tokens: list[int]) -> list[np.ndarray]:
    return [model.weights["embedding.weight"][token].astype(np.float64) for token in tokens]


def _tokens(model: Model, text: str) -> list[int]:
    return model.tokeniser.encode(text.replace("\n", " ")).tolist()


def _pooled(states: list[np.ndarray], last: np.ndarray, pooling: str) -> np.ndarray:
    return {"mean": np.mean(states, 0), "max": np.max(states, 0), "last": last}[pooling]


def _language_model_by_hand(model: Model, text: str, pooling: str) -> np.ndarray:
    states = _gru(model.weights, "layers.0", _looked_up(model, [10, *_tokens(model, text)]))
    states = _gru(model.weights, "layers.1", states)[1:]
    return _pooled(states, states[-1], pooling)


def _classifier_by_hand(model: Model, text: str, pooling: str) -> np.ndarray:
    states = _both(model.weights, "layers.0", _looked_up(model, [10, *_tokens(model, text.lower()), 10]))
    return _pooled(states, np.concatenate([states[-1][:6], states[0][6:]]), pooling)


def _translator_by_hand(model: Model, text: str, pooling: str) -> np.ndarray:
    states = _both(model.weights, "encoder.0", _looked_up(model, [*_tokens(model, text), 10]))
    return _pooled(states, np.concatenate([states[-1][:6], states[0][6:]]), pooling)


BY_HAND: dict[str, Callable[[Model, str, str], np.ndarray]] = {
    "lm": _language_model_by_hand,
    "classifier": _classifier_by_hand,
    "translator": _translator_by_hand,
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Path]) -> dict[str, Path]:
    """A model of random weights for each task."""
    folder = tmp_path_factory.mktemp("models")
    tokeniser = train_tokeniser("char", TEXTS * 2, 300)
    found = {"lm": make_model(tied=True, **CELL)}
    labels = ClassifierOptions(**CELL, bidirectional=True, lowercase=True, evidence=0, pooling="last,mean")
    weights = classifier.initial_weights(labels, tokeniser.size, np.ones(2), 1)
    details: dict[str, Any] = {"labels": ["a", "b"]}
    found["classifier"] = folder / "classifier.safetensors"
    save_model(found["classifier"], classifier.TASK, asdict(labels), weights, tokeniser, **details)
    pairs = TranslatorOptions(**CELL)
    found["translator"] = folder / "translator.safetensors"
    save_model(
        found["translator"],
        translator.TASK,
        asdict(pairs),
        translator.initial_weights(pairs, tokeniser.size, 1),
        tokeniser,
    )
    return found


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("task", BY_HAND)
def test_a_vector_is_pooled_from_the_top_layers_outputs(
    paths: dict[str, Path], assert_close: Callable[..., None], task: str, pooling: str
) -> None:
    made = TextEmbedder.load(paths[task], VectorOptions(pooling=pooling))
    found = made.embed(TEXTS)
    expected = [BY_HAND[task](load_model(paths[task]), text, pooling) for text in TEXTS]
    assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), made.size))
    assert_close(found, np.array(expected), "float32")


@pytest.mark.parametrize("task", BY_HAND)
def test_by_default_a_classifier_has_its_own_pooling_and_the_others_the_mean(paths: dict[str, Path], task: str) -> None:
    found = TextEmbedder.load(paths[task]).embed(TEXTS)
    names = ("last", "mean") if task == "classifier" else ("mean",)
    own = [TextEmbedder.load(paths[task], VectorOptions(pooling=name)).embed(TEXTS) for name in names]
    assert np.array_equal(found, np.concatenate(own, 1))


def test_a_classifiers_logits_are_computed_from_its_vector(paths: dict[str, Path]) -> None:
    from nlpseq.decoding.classification import TextClassifier

    made, labels = TextEmbedder.load(paths["classifier"]), TextClassifier.load(paths["classifier"])
    weights = labels.model.weights
    logits = made.embed(TEXTS) @ weights["output.weight"].T + weights["output.bias"]
    assert np.allclose(logits, labels.logits(TEXTS), atol=1e-6)


@pytest.mark.parametrize("task", BY_HAND)
def test_a_vector_does_not_depend_on_the_texts_beside_it(
    paths: dict[str, Path], task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "TOKENS_AT_ONCE", 30)
    made = TextEmbedder.load(paths[task])
    together = made.embed([*TEXTS, "", " \t"])
    for text, vector in zip(TEXTS, together, strict=False):
        assert np.allclose(vector, made.embed([text])[0], atol=1e-6)
    assert not together[len(TEXTS) :].any()
    assert made.embed([]).shape == (0, made.size)


@pytest.mark.parametrize("task", BY_HAND)
def test_vectors_are_the_same_on_tensors(paths: dict[str, Path], assert_close: Callable[..., None], task: str) -> None:
    pytest.importorskip("torch")
    for pooling in (None, "last"):
        options = VectorOptions(pooling=pooling)
        expected = TextEmbedder.load(paths[task], options).embed(TEXTS)
        assert_close(TextEmbedder.load(paths[task], options, "torch:cpu").embed(TEXTS), expected, "float32")


def test_lines_have_a_status(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "LONGEST", 8)
    made = TextEmbedder.load(paths["lm"])
    lines = made.embed_lines(["abc", None, "  ", "abcdefghijk"])
    assert list(map(vector_status, lines)) == ["ok", "blank", "blank", "in-part"]
    assert lines[3] is not None and np.array_equal(lines[3].values, made.embed(["abcdefg"])[0])
    rows = made.rows(lines)
    assert rows.shape == (4, made.size) and not rows[1:3].any() and rows[0].any()


def test_unit_length_and_a_zero_vector_that_has_none() -> None:
    found = unit_length(np.array([[3, 4], [0, 0], [1e-30, 0]], np.float32))
    assert found.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0], [1, 0]]


def test_normalised_vectors_are_the_others_divided_by_their_lengths(paths: dict[str, Path]) -> None:
    plain = TextEmbedder.load(paths["lm"]).embed(TEXTS)
    found = TextEmbedder.load(paths["lm"], VectorOptions(normalise=True)).embed(TEXTS)
    assert np.allclose(found, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)


def test_numbers_are_spelled_shortly_and_restore_the_value() -> None:
    values = np.array([0.1, 1 / 3, 1e-7, -0.0, 123456.789], np.float32)
    assert list(map(str, spelled(values))) == ["0.1", "0.33333334", "1e-07", "-0.0", "123456.79"]
    assert np.array_equal(np.array(spelled(values), np.float32), values)


def test_a_wrong_pooling_and_a_missing_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="pooling: must be one of mean, max, last, was 'sum'"):
        VectorOptions(pooling="sum")
    with pytest.raises(ModelFileError, match="no such model"):
        TextEmbedder.load(tmp_path / "missing")


def test_the_output_layer_is_not_needed(paths: dict[str, Path]) -> None:
    """The vectors of a language model are its layers' outputs, even if it has a projection for its output."""
    model, options = language_model.load(paths["lm"])
    assert "output.projection" in model.weights
    assert TextEmbedder(model, options).size == 6
