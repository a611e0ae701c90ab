"""`nlpseq inspect model` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import Result

import nlpseq as library
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.linear import LinearModel, Vocabulary
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser

Run = Callable[..., Result]

SCORE = {"name": "loss", "value": 1.234567, "unit": "token", "signature": "loss|unit:token", "parts": {}}
FACTS = {"data": {"corpus": ["a.txt"], "valid_size": {"tokens": 9}}, "scores": [SCORE], "training": {"step": 7}}


def test_a_model_is_laid_open(nlpseq: Run, make_model: Callable[..., Path]) -> None:
    done = nlpseq("inspect", "model", "-m", make_model(**FACTS))
    assert (done.exit_code, done.stderr) == (0, "")
    for shown in (
        "language-model",
        "hidden_size          16",
        "embedding.weight    ",
        "kind         char",
        "corpus      a.txt",
        "step  7",
        "  loss  1.23457  token\n\n  signature:\n    loss|unit:token\n",
    ):
        assert shown in done.stdout, done.stdout


def test_json_tells_the_same(nlpseq: Run, make_model: Callable[..., Path]) -> None:
    path = make_model(**FACTS)
    made = json.loads(nlpseq("inspect", "model", "-m", path, "--json").stdout)
    assert made["model"]["bytes"] == path.stat().st_size
    assert made["model"]["parameters"] == sum(
        shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in made["tensors"].values()
    )
    assert made["scores"] == [SCORE]
    assert made["options"]["layers"] == 2


def test_a_model_of_any_task_can_be_inspected(nlpseq: Run, other_task: Path) -> None:
    assert "classifier" in nlpseq("inspect", "model", "-m", other_task).stdout


def test_the_linear_model_of_a_classifier_is_laid_open(nlpseq: Run, tmp_path: Path) -> None:
    options = ClassifierOptions(hidden_size=6, embedding_size=5, ngrams=1, evidence=0, linear="words")
    tokeniser = train_tokeniser("byte", [], 256)
    network = classifier.initial_weights(options, tokeniser.size, np.ones(2), 1)
    keys = np.arange(1234, dtype=np.uint32)
    vocabulary = Vocabulary("words", keys, np.ones(len(keys), np.float32))
    linear = LinearModel(vocabulary, np.ones((len(keys), 1), np.float32), np.zeros(2, np.float32))
    path = tmp_path / "model.safetensors"
    for kind, weights, own in (("words", network | linear.weights(), 1234 + 2 + 1), ("none", network, 0)):
        chosen = {**asdict(options), "linear": kind}
        save_model(path, classifier.TASK, chosen, weights, tokeniser, labels=["a", "b"])
        facts = json.loads(nlpseq("inspect", "model", "-m", path, "--json").stdout)
        assert facts["model"]["parameters"] == sum(value.size for value in network.values()) + own
        shown = nlpseq("inspect", "model", "-m", path).stdout
        if own:
            assert facts["linear"] == {"kind": "words", "ngrams": 1234}
            assert "linear\n  kind    words\n  ngrams  1,234\n" in shown
        else:
            assert "linear" not in facts


def test_words_of_a_classifier_with_a_linear_model(nlpseq: Run, tmp_path: Path) -> None:
    rows = [f"{'good' if index % 2 else 'bad'}\t{('fine', 'dull')[1 - index % 2]} film {index}" for index in range(60)]
    (tmp_path / "a.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n")
    settings: dict[str, Any] = {"hidden_size": 6, "embedding_size": 5, "steps": 3, "device": "cpu"}
    library.train("sentiment", tmp_path / "a.tsv", out=tmp_path / "run", **settings)
    done = nlpseq("inspect", "words", "-m", tmp_path / "run", "--label", "good", "--json", "a fine or dull film")
    weights = {word["word"]: word["weight"] for word in json.loads(done.stdout)["words"]}
    assert list(weights) == ["a", "fine", "or", "dull", "film"]
    assert max(weights, key=lambda word: weights[word]) == "fine"
    assert min(weights, key=lambda word: weights[word]) == "dull"


def test_a_missing_model_is_told(nlpseq: Run, tmp_path: Path) -> None:
    done = nlpseq("inspect", "model", "-m", tmp_path)
    assert done.exit_code == 1
    assert "no such model" in done.stderr
