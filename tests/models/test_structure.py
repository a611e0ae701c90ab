"""What a model file holds is compared with its options: whatever is missing, more or other is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.cells import CELLS
from nlpseq.errors import ModelFileError
from nlpseq.models import classifier, evidence, language_model, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.linear import LinearModel, Vocabulary
from nlpseq.models.model_file import TOKENISER, load_model, read_tensors, save_model, write_tensors
from nlpseq.models.options import options_for
from nlpseq.models.structure import check_json
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import ByteTokeniser

LABELS = ["bad", "good", "so-so"]
SIZES: dict[str, Any] = {"hidden_size": 3, "embedding_size": 4}
Weights = dict[str, np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


def _linear(labels: int) -> Weights:
    columns = 1 if labels == 2 else labels
    keys, idf = np.array([5, 7, 1 << 31], np.uint32), np.ones(3, np.float32)
    weight, bias = np.ones((3, columns), np.float32), np.zeros(labels, np.float32)
    return LinearModel(Vocabulary("parts", keys, idf), weight, bias).weights(0.5)


def _classifier(labels: int = 3, **options: Any) -> tuple[str, Any, Weights, dict[str, Any]]:
    chosen = ClassifierOptions(**{**SIZES, **options})
    weights = classifier.initial_weights(chosen, 256, np.ones(labels), 1)
    if chosen.evidence:
        rows = evidence.table_rows(chosen.evidence, 256)
        weights["evidence.table"] = np.zeros((rows, labels), np.float32)
    weights |= _linear(labels) if chosen.linear == "parts" else {}
    return classifier.TASK, chosen, weights, {"labels": LABELS[:labels], "temperature": 1.5}


def _language_model(**options: Any) -> tuple[str, Any, Weights, dict[str, Any]]:
    chosen = LanguageModelOptions(**{**SIZES, **options})
    return language_model.TASK, chosen, language_model.initial_weights(chosen, 256, 1), {}


def _translator(**options: Any) -> tuple[str, Any, Weights, dict[str, Any]]:
    chosen = TranslatorOptions(**{**SIZES, **options})
    return translator.TASK, chosen, translator.initial_weights(chosen, 256, 1), {}


MODELS: dict[str, tuple[str, Any, Weights, dict[str, Any]]] = {
    "lm": _language_model(ngrams=3, ngram_buckets=5, tied=True, layers=2),
    "lm untied": _language_model(tied=False, layer_normalisation=True),
    "classifier": _classifier(bidirectional=True, pooling="attention,max", ngrams=2, ngram_buckets=3),
    "classifier, linear": _classifier(labels=2, linear="parts", evidence=2),
    "translator": _translator(attention="additive", encoder_layers=2, tied=False),
}
EVERY_TENSOR = [(kind, name) for kind, (_, _, weights, _) in MODELS.items() for name in sorted(weights)]


def _save(path: Path, kind: str, weights: Weights | None = None, **details: Any) -> Path:
    task, options, own, header = MODELS[kind]
    values = own if weights is None else weights
    save_model(path, task, asdict(options), values, ByteTokeniser(()), **{**header, **details})
    return path


@pytest.mark.parametrize("kind", MODELS)
def test_a_sound_model_is_loaded(kind: str, tmp_path: Path) -> None:
    model = load_model(_save(tmp_path / "m", kind))
    for name, value in MODELS[kind][2].items():
        np.testing.assert_array_equal(model.weights[name], value)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("normalised", [False, True])
def test_models_of_every_cell_are_loaded(cell: str, normalised: bool, tmp_path: Path) -> None:
    common = {**options_for(cell), "layer_normalisation": normalised, "layers": 2}
    for make in (_language_model, _classifier, _translator):
        task, options, weights, header = make(**common)
        save_model(tmp_path / "m", task, asdict(options), weights, ByteTokeniser(()), **header)
        assert load_model(tmp_path / "m").weights.keys() == weights.keys()


CHANGES: dict[str, tuple[Change, str]] = {
    "shortened": (lambda value: value[:-1], "its options say|no number of an n-gram|is missing"),
    "lengthened": (lambda value: np.concatenate([value, value]), "its options say"),
    "of more dimensions": (lambda value: value[None], "its options say"),
    "of a double": (lambda value: value.astype(np.float64), "but (float32|uint32) is needed"),
    "of truth values": (lambda value: value.astype(bool), "but (float32|uint32) is needed"),
    "of whole numbers": (lambda value: value.astype(np.int32), "but (float32|uint32) is needed"),
}


@pytest.mark.parametrize(("kind", "name"), EVERY_TENSOR)
def test_each_tensor_that_is_missing_or_another_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    weights = MODELS[kind][2]
    path = tmp_path / "m"
    _save(path, kind, {other: value for other, value in weights.items() if other != name})
    with pytest.raises(ModelFileError, match=f"is damaged: {name} is missing") as refused:
        load_model(path)
    assert refused.value.where == str(path)
    for change, what in CHANGES.values():
        _save(path, kind, {**weights, name: change(weights[name])})
        with pytest.raises(ModelFileError, match=what):
            load_model(path)


@pytest.mark.parametrize(("kind", "name"), EVERY_TENSOR)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(kind: str, name: str, bad: float, tmp_path: Path) -> None:
    value = MODELS[kind][2][name].copy()
    if value.dtype.kind != "f":
        pytest.skip("whole numbers are finite")
    value.ravel()[value.size // 2] = bad
    for store in ("fp32", "int8"):
        task, options, weights, header = MODELS[kind]
        save_model(tmp_path / "m", task, asdict(options), {**weights, name: value}, ByteTokeniser(()), store, **header)
        with pytest.raises(ModelFileError, match=f"{name} has numbers that are not finite"):
            load_model(tmp_path / "m")


def test_largest_numbers_are_finite(tmp_path: Path) -> None:
    weights = {**MODELS["lm"][2], "output.bias": np.full(256, 3e38, np.float32)}
    assert load_model(_save(tmp_path / "m", "lm", weights)).weights["output.bias"].max() > 2e38


@pytest.mark.parametrize("kind", MODELS)
def test_a_tensor_more_is_refused(kind: str, tmp_path: Path) -> None:
    for name in ("layers.0.weight_ih_reverse", "extra", "\x1b[2J", "x" * 100_000):
        weights = {**MODELS[kind][2], name: np.ones((2, 2), np.float32)}
        if name in MODELS[kind][2]:
            continue
        with pytest.raises(ModelFileError, match="is no part of it") as refused:
            load_model(_save(tmp_path / "m", kind, weights))
        assert len(str(refused.value)) < 400
        assert "\x1b" not in refused.value.what


def test_a_model_with_another_tokeniser_is_refused(tmp_path: Path) -> None:
    weights = {**MODELS["lm"][2], "embedding.weight": np.ones((300, 4), np.float32)}
    with pytest.raises(ModelFileError, match=r"embedding\.weight is 300 x 4, but its options say 256 x 4"):
        load_model(_save(tmp_path / "m", "lm", weights))


HEADERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "labels too few": ("classifier", {"labels": ["a"]}, "its options say"),
    "labels missing": ("classifier", {"labels": None}, "without labels"),
    "labels twice": ("classifier", {"labels": ["a", "a", "b"]}, "a label twice"),
    "labels of two lines": ("classifier", {"labels": ["a\nb", "b", "c"]}, "not a line of text"),
    "labels no texts": ("classifier", {"labels": [1, 2, 3]}, "not a line of text"),
    "label no UTF-8": ("classifier", {"labels": ["a", "b", "\udcff"]}, "not a line of text"),
    "temperature 0": ("classifier", {"temperature": 0}, "temperature"),
    "temperature none": ("classifier", {"temperature": float("nan")}, "temperature"),
    "temperature text": ("classifier", {"temperature": "1"}, "temperature"),
    "temperature huge": ("classifier", {"temperature": 10**400}, "too large"),
    "threshold 2": ("classifier", {"several_labels": True, "threshold": 2}, "threshold"),
    "several": ("classifier", {"several_labels": "no"}, "neither true nor false"),
    "scores": ("lm", {"scores": [{"name": "loss"}]}, "no list of scores"),
    "scores a number": ("lm", {"scores": 7}, "no list of scores"),
    "data": ("lm", {"data": [1]}, "data"),
    "data in part": ("lm", {"data": {"valid_is": "given"}}, "miss valid"),
    "data of names": ("lm", {"data": {"corpus": "text.txt"}}, "corpus"),
    "training": ("lm", {"training": "x"}, "training"),
    "version": ("lm", {"version": 7}, "version"),
    "options": ("lm", {"options": [1]}, "options"),
    "options missing": ("lm", {"options": None}, "options"),
    "option unknown": ("lm", {"options": {**SIZES, "depth": 3}}, "does not know"),
    "option of another type": ("lm", {"options": {**SIZES, "layers": "2"}}, "does not know"),
    "option none": ("lm", {"options": {**SIZES, "cell": None}}, "does not know"),
    "option huge": ("lm", {"options": {**SIZES, "hidden_size": 10**12}}, "its options say"),
    "option below": ("lm", {"options": {**SIZES, "hidden_size": -3}}, "does not know"),
    "deep": ("lm", {"training": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}, "nested"),
    "task unknown": ("lm", {"task": "parser"}, "task that this version does not know"),
    "task a list": ("lm", {"task": ["lm"]}, "task that this version does not know"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_lies_is_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    kind, changed, what = HEADERS[case]
    path = _save(tmp_path / "m", kind)
    header, tensors = read_tensors(path)
    tensors[TOKENISER] = np.frombuffer(ByteTokeniser(()).to_bytes(), np.uint8)
    write_tensors(path, {**header, **changed, "storage": {}}, tensors)
    with pytest.raises(ModelFileError, match=what):
        load_model(path)


@pytest.mark.parametrize(
    "data", [b"", b"[" * 100_000, b"{}", b'{"nlpseq-tokeniser": 1, "kind": []}', b"\xff"], ids=repr
)
def test_a_tokeniser_that_is_none_is_refused(data: bytes, tmp_path: Path) -> None:
    path = _save(tmp_path / "m", "lm untied")
    header, tensors = read_tensors(path)
    write_tensors(path, header, {**tensors, TOKENISER: np.frombuffer(data, np.uint8)})
    with pytest.raises(ModelFileError, match="has a tokeniser that cannot be used"):
        load_model(path)


@pytest.mark.parametrize("keys", [[7, 5, 9], [5, 5, 9]])
def test_keys_of_a_linear_model_that_do_not_ascend_are_refused(keys: list[int], tmp_path: Path) -> None:
    weights = {**MODELS["classifier, linear"][2], "linear.keys": np.array(keys, np.uint32)}
    with pytest.raises(ModelFileError, match="do not ascend"):
        load_model(_save(tmp_path / "m", "classifier, linear", weights))


def test_a_header_that_python_cannot_read_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save

    for deep in (900, 200_000):
        text = '{"format": 1, "x": ' + "[" * deep + "]" * deep + "}"
        (tmp_path / "m").write_bytes(save({"a": np.ones(2, np.float32)}, {"nlpseq": text}))
        with pytest.raises(ModelFileError, match="nested"):
            load_model(tmp_path / "m")


def test_json_may_be_nested_a_little() -> None:
    check_json({"a": [{"b": [1, 2.5, None, True, "x"]}]})
    with pytest.raises(ValueError, match="too large"):
        check_json({"a": [-(10**200)]})


def test_the_first_weights_are_what_a_file_must_hold() -> None:
    """Initial weights and the check are made from one table; a shape in it that is wrong would stop every training."""
    options = replace(MODELS["lm"][1], tied=True, embedding_size=3)
    shapes = language_model.weight_shapes(options, 256)
    assert "output.projection" not in shapes
    assert "output.weight" not in shapes
    assert shapes["layers.1.weight_ih"] == (12, 3)
    assert shapes["ngrams.weight"] == (10, 3)
