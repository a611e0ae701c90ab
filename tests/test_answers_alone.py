"""What a model answers to a text is the same to the bit alone, beside any others, and in any order.

Models have random weights: rounding differs most where no weight is zero. Sizes are odd, and one is 1, because that is
where NumPy adds numbers up in another order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.cells import CELLS
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TextClassifier
from nlpseq.decoding.translation import Translations
from nlpseq.evaluation.line_scores import LineScorer
from nlpseq.evaluation.pair_scores import PairScorer
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.evidence import table_rows
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.linear import LinearModel, Vocabulary
from nlpseq.models.model_file import save_model
from nlpseq.models.options import options_for
from nlpseq.models.storage import FORMATS, rounded
from nlpseq.models.text_ngrams import count_ngrams
from nlpseq.models.translator import TranslatorOptions
from nlpseq.native import extension
from nlpseq.text.tokenisers import train_tokeniser
from nlpseq.vectors.embedder import TextEmbedder, VectorOptions

Answer = Callable[[Sequence[str]], Sequence[Any]]

WORDS = ["a", "cat", "sat", "on", "the", "mat", "while", "öl", "猫", "dogs", "ran", "where?", "és", "\x00", "\udcff"]
LENGTHS = (1, 1, 2, 3, 5, 8, 9, 13, 21, 40, 70)
DRAW = random.Random(1)
TEXTS = [" ".join(DRAW.choices(WORDS, k=DRAW.choice(LENGTHS))) for _ in range(30)] + ["", " ", "x" * 200]
FEW = sorted(TEXTS, key=len)[:20]

SETS = extension.available_sets() if extension.is_available() else ()
pytestmark = pytest.mark.skipif(not SETS, reason="products of NumPy alone depend on the number of their rows")


def check_alone(answer: Answer, texts: Sequence[str] = TEXTS) -> None:
    """Each text of a few random groups has the answer that it has alone, byte for byte."""
    draw = random.Random(2)
    alone = [_bytes(answer([text])[0]) for text in texts]
    for size in (2, 7, 16, len(texts)):
        group = draw.sample(range(len(texts)), size)
        for index, found in zip(group, answer([texts[index] for index in group]), strict=True):
            assert _bytes(found) == alone[index], (size, texts[index][:40])


def _bytes(answer: Any) -> bytes:
    return answer.tobytes() if isinstance(answer, np.ndarray) else repr(answer).encode()


def _stirred(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights without zeros."""
    generator = np.random.default_rng(3)
    return {
        name: (value + 0.1 * generator.standard_normal(value.shape)).astype(np.float32)
        for name, value in weights.items()
    }


def _linear(kind: str, labels: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(4)
    keys = np.unique(count_ngrams(TEXTS[:20], kind).keys)
    columns = 1 if labels == 2 else labels
    weight = generator.standard_normal((len(keys), columns)).astype(np.float32)
    vocabulary = Vocabulary(kind, keys, 1 + generator.random(len(keys), np.float32))
    return LinearModel(vocabulary, weight, np.zeros(labels, np.float32)).weights()


def write_classifier(folder: Path, cell: str = "gru", labels: int = 2, stored: str = "fp32", **settings: Any) -> Path:
    """A classifier of random weights; with an odd number of labels a text may have several."""
    usual = {"hidden_size": 5, "embedding_size": 6, "bidirectional": True, "ngrams": 2, "ngram_buckets": 16}
    options = ClassifierOptions(**{**options_for(cell), **usual, "linear": "parts", "evidence": 2, **settings})
    tokeniser = train_tokeniser("char", TEXTS, 300)
    weights = classifier.initial_weights(options, tokeniser.size, np.ones(labels), 1)
    if options.evidence:
        weights["evidence.table"] = np.zeros((table_rows(options.evidence, tokeniser.size), labels), np.float32)
    made = rounded(_stirred(weights), stored)
    if options.linear not in (None, "none"):
        made |= _linear(str(options.linear), labels)
    header = {"labels": [f"label{label}" for label in range(labels)], "several_labels": labels % 2 == 1}
    path = folder / "classifier.safetensors"
    save_model(path, classifier.TASK, asdict(options), made, tokeniser, **header)
    return path


def write_language_model(folder: Path, cell: str = "lstm", stored: str = "fp32", **settings: Any) -> Path:
    """A language model of random weights."""
    usual: dict[str, Any] = {"hidden_size": 7, "embedding_size": 5, "tied": False, "ngrams": 1, "layers": 2}
    kind = settings.pop("kind", "char")
    options = LanguageModelOptions(**{**options_for(cell), **usual, **settings})
    tokeniser = train_tokeniser(kind, TEXTS, 300)
    weights = rounded(_stirred(language_model.initial_weights(options, tokeniser.size, 1)), stored)
    path = folder / "lm.safetensors"
    save_model(path, language_model.TASK, asdict(options), weights, tokeniser)
    return path


def write_translator(folder: Path, cell: str = "gru", stored: str = "fp32", **settings: Any) -> Path:
    """A translator of random weights, whose translations are short."""
    options = TranslatorOptions(**{**options_for(cell), "hidden_size": 7, "embedding_size": 5, **settings})
    tokeniser = train_tokeniser("char", TEXTS, 300)
    weights = _stirred(translator.initial_weights(options, tokeniser.size, 1))
    weights["output.bias"][10] += 2
    path = folder / "translator.safetensors"
    save_model(path, translator.TASK, asdict(options), rounded(weights, stored), tokeniser)
    return path


def _decisions(path: Path) -> Answer:
    made = TextClassifier.load(path)
    return lambda texts: [decision.by_label() for decision in made.classify(texts)]


def _vectors(path: Path, pooling: str | None = None) -> Answer:
    return TextEmbedder.load(path, VectorOptions(pooling=pooling)).embed


def _scores(path: Path) -> Answer:
    return LineScorer(*language_model.load(path)).score


def _pair_scores(path: Path) -> Answer:
    model, options = translator.load(path)

    def answer(texts: Sequence[str]) -> Sequence[Any]:
        return PairScorer(model, options, "here", iter(texts)).score_lines([text[::-1][:50] for text in texts])

    return answer


def _translations(path: Path, **search: Any) -> Answer:
    return Translations.load([path], BeamOptions(longest=12, **search), device="cpu").translate


@pytest.mark.parametrize("labels", [2, 3, 12])
@pytest.mark.parametrize("stored", FORMATS)
def test_decisions_in_each_format(tmp_path: Path, stored: str, labels: int) -> None:
    check_alone(_decisions(write_classifier(tmp_path, labels=labels, stored=stored)))


@pytest.mark.parametrize("cell", CELLS)
def test_decisions_of_each_cell(tmp_path: Path, cell: str) -> None:
    path = write_classifier(tmp_path, cell, 3, pooling="attention,max,mean,last", layers=2)
    check_alone(_decisions(path))
    check_alone(_vectors(path))


@pytest.mark.parametrize(
    "settings",
    [
        {"labels": 1, "evidence": 1, "hidden_size": 1, "bidirectional": False, "pooling": "mean", "linear": "none"},
        {"labels": 40, "evidence": 0, "pooling": "attention", "linear": "characters"},
        {"layer_normalisation": True, "linear": "words", "pooling": "mean,attention", "ngrams": 1},
    ],
    ids=["one of all", "many labels", "normalised"],
)
def test_decisions_of_odd_models(tmp_path: Path, settings: dict[str, Any]) -> None:
    check_alone(_decisions(write_classifier(tmp_path, **settings)))


@pytest.mark.parametrize("name", SETS)
def test_decisions_and_scores_of_each_kind_of_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(extension.SETTING, name)
    check_alone(_decisions(write_classifier(tmp_path, pooling="attention,mean", hidden_size=19)))
    check_alone(_scores(write_language_model(tmp_path, hidden_size=19)))


@pytest.mark.parametrize(("cell", "stored"), [*((cell, "fp32") for cell in CELLS), ("lstm", "bf16"), ("lstm", "int8")])
def test_scores_and_vectors_of_a_language_model(tmp_path: Path, cell: str, stored: str) -> None:
    path = write_language_model(tmp_path, cell, stored)
    check_alone(_scores(path))
    check_alone(_vectors(path))


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 1, "embedding_size": 1, "layers": 1, "kind": "byte"},
        {"tied": True, "ngrams": 3, "ngram_buckets": 16, "layer_normalisation": True, "kind": "bpe"},
    ],
    ids=["one unit", "n-grams"],
)
def test_scores_and_vectors_of_odd_models(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = write_language_model(tmp_path, **settings)
    check_alone(_scores(path))
    for pooling in ("mean", "max", "last"):
        check_alone(_vectors(path, pooling))


@pytest.mark.parametrize("cell", CELLS)
def test_translations_of_each_cell(tmp_path: Path, cell: str) -> None:
    path = write_translator(tmp_path, cell)
    check_alone(_translations(path, beam=3, n_best=2), FEW)
    check_alone(_pair_scores(path))
    check_alone(_vectors(path))


@pytest.mark.parametrize(
    "settings",
    [{"attention": "additive", "stored": "int8"}, {"layer_normalisation": True, "layers": 2, "stored": "bf16"}],
    ids=["additive", "normalised"],
)
def test_translations_of_odd_models(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = write_translator(tmp_path, **settings)
    check_alone(_translations(path, beam=1), FEW)
    check_alone(_translations(path, beam=2, coverage_penalty=0.2), FEW)
    check_alone(_pair_scores(path))
