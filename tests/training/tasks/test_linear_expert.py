"""A classifier with its linear model, from texts to labels: what is added, stored, resumed, started from and shared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlpseq as library
from nlpseq.decoding.classification import TextClassifier
from nlpseq.evaluation.shares import fit_shares
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.linear import network_weights
from nlpseq.models.model_file import NAME, Model, load_model, read_tensors
from nlpseq.models.text_ngrams import KINDS
from nlpseq.text.tables.labelled_parts import read_parts
from nlpseq.training.data.labels import tokenise_labelled

WORDS = {"up": ["fine", "lovely", "warm"], "down": ["dull", "cold", "grim"], "odd": ["strange", "weird", "queer"]}
FILLER = ["film", "plot", "song", "tale", "end", "not"]
SMALL: dict[str, Any] = {"hidden_size": 8, "embedding_size": 6, "ngrams": 1, "tokens": "word", "steps": 12}
SMALL |= {"batch_size": 5, "validations": 3, "save_every": 4, "device": "cpu"}


def write_texts(path: Path, labels: int = 2, seed: int = 1) -> Path:
    """Texts with two words of their label, and in a fifth of them of another one."""
    generator = np.random.default_rng(seed)
    names = list(WORDS)[:labels]
    rows = ["label\ttext"]
    for _ in range(300):
        label = str(generator.choice(names))
        said = label if generator.random() < 0.8 else str(generator.choice(names))
        words = [*generator.choice(FILLER, generator.integers(2, 6)), *generator.choice(WORDS[said], 2)]
        rows.append(f"{label}\t{' '.join(generator.permutation(words)).capitalize()}")
    path.write_text("\n".join(rows) + "\n")
    return path


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return read_tensors(folder / NAME)[1]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(other[name], value) for name, value in one.items())


def train(corpus: Path, out: Path, **given: Any) -> TextClassifier:
    library.train("sentiment", corpus, out=out, **{**SMALL, **given})
    return TextClassifier.load(out)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("kind", [None, *KINDS, "none"])
def test_its_logits_are_added_with_the_share_that_suits_held_out_texts(
    kind: str | None, labels: int, tmp_path: Path
) -> None:
    made = train(write_texts(tmp_path / "a.tsv", labels), tmp_path / "run", linear=kind)
    assert made.options.linear == (kind or "parts")
    header, weights = made.model.header, made.model.weights
    _, valid = read_parts([str(tmp_path / "a.tsv")], (), None)
    linear = made.linear_logits(valid.texts)
    if kind == "none":
        assert linear is None and same(network_weights(weights), weights)
        return
    assert linear is not None
    model = Model(
        classifier.TASK, header["options"], network_weights(weights), made.model.tokeniser, header, tmp_path / "run"
    )
    network = TextClassifier(model, made.options).logits(valid.texts)
    assert np.allclose(made.logits(valid.texts), network + linear, atol=1e-5)
    fitted = tokenise_labelled([str(tmp_path / "a.tsv")], (), tmp_path, tokens="word", linear=kind).linear
    assert fitted is not None
    right = np.array([made.labels.index(label) for label in valid.labels])
    shares = fit_shares(network, fitted.valid_logits, right)
    assert np.allclose(linear, shares[1] / shares[0] * fitted.valid_logits, rtol=1e-3, atol=1e-3 * abs(linear).max())
    assert (linear.argmax(1) == right).mean() > 0.7
    (accuracy,) = [score["value"] for score in header["scores"] if score["name"] == "accuracy"]
    assert accuracy == pytest.approx(100 * (made.logits(valid.texts).argmax(1) == right).mean())


@pytest.mark.parametrize("settings", [{}, {"linear": "words", "average": 0.9, "evidence": 0}], ids=str)
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(settings: dict[str, Any], tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "a.tsv")
    train(corpus, tmp_path / "whole", **settings)

    class Stopped(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 9:
            raise Stopped

    with pytest.raises(Stopped):
        train(corpus, tmp_path / "parts", progress=stop, **settings)
    train(corpus, tmp_path / "parts", resume=True, **settings)
    whole, parts = (weights_of(tmp_path / name) for name in ("whole", "parts"))
    assert "linear.weight" in whole and same(whole, parts)
    headers = [load_model(tmp_path / name).header for name in ("whole", "parts")]
    assert headers[0]["scores"] == headers[1]["scores"]


def test_the_same_command_gives_the_same_model(tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "a.tsv", 3)
    for name in ("one", "other"):
        train(corpus, tmp_path / name)
    assert (tmp_path / "one" / NAME).read_bytes() == (tmp_path / "other" / NAME).read_bytes()


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("store", ["bf16", "int8"])
def test_it_is_stored_in_fewer_bytes(store: str, labels: int, tmp_path: Path) -> None:
    corpus = write_texts(tmp_path / "a.tsv", labels)
    exact, stored = (train(corpus, tmp_path / name, store=name) for name in ("fp32", store))
    header = stored.model.header["storage"]["linear.weight"]
    assert header["format"] == "bf16"  # also for int8, because it has few columns
    before, after = exact.model.weights, stored.model.weights
    for name in ("linear.keys", "linear.idf", "linear.bias"):
        assert before[name].dtype == after[name].dtype
        assert name == "linear.bias" or np.array_equal(before[name], after[name])
    largest = np.abs(before["linear.weight"]).max()
    assert np.allclose(before["linear.weight"] / largest, after["linear.weight"] / largest, atol=0.05)
    texts = ["a fine, lovely film", "Grim and cold", "not"]
    assert np.allclose(exact.linear_logits(texts), stored.linear_logits(texts), rtol=0.1, atol=0.2)
    (score,) = [score["value"] for score in stored.model.header["scores"] if score["name"] == "loss"]
    (again,) = [score.value for score in library.load(tmp_path / store).evaluate() if score.name == "loss"]
    assert again == pytest.approx(score, abs=2e-3)


def test_a_classifier_is_started_from_and_its_linear_model_is_fitted_anew(tmp_path: Path) -> None:
    first = train(write_texts(tmp_path / "a.tsv"), tmp_path / "first")
    write_texts(tmp_path / "b.tsv", seed=2)
    for name, given, kind in (
        ("same", {}, "parts"),
        ("words", {"linear": "words"}, "words"),
        ("none", {"linear": "none"}, "none"),
    ):
        other = train(tmp_path / "b.tsv", tmp_path / name, init_from=tmp_path / "first", steps=1, **given)
        assert other.options.linear == kind
        assert other.model.tokeniser.fingerprint == first.model.tokeniser.fingerprint
        assert ("linear.keys" in other.model.weights) == (kind != "none")
    anew = train(tmp_path / "b.tsv", tmp_path / "anew", linear="parts")
    kept = weights_of(tmp_path / "same")
    assert np.array_equal(kept["linear.keys"], anew.model.weights["linear.keys"])
    assert not np.array_equal(kept["linear.keys"], first.model.weights["linear.keys"])
    third = train(write_texts(tmp_path / "c.tsv", 3), tmp_path / "c", init_from=tmp_path / "none")
    assert third.options.linear == "parts" and third.model.weights["linear.bias"].shape == (3,)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_several_labels_a_text(labels: int, name: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    rows = []
    for _ in range(200):
        chosen = [label for label in list(WORDS)[:labels] if generator.random() < 0.5]
        words = [*generator.choice(FILLER, 3), *(str(generator.choice(WORDS[label])) for label in chosen)]
        rows.append(json.dumps({"text": " ".join(words), "label": chosen}))
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    made = train(tmp_path / "a.jsonl", tmp_path / "run", linear="words" if name == "a" else None)
    assert made.model.weights["linear.bias"].shape == (labels,)
    assert made.logits(["a warm film", ""]).shape == (2, labels)
    sure = made.logits(["warm", "dull", "plot"])
    assert sure[0, made.labels.index("up")] > sure[2, made.labels.index("up")]


def test_a_device_adds_the_same_logits(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.tsv", 3)
    host = train(tmp_path / "a.tsv", tmp_path / "run")
    device = TextClassifier.load(tmp_path / "run", "torch:cpu")
    texts = ["a fine film", "", "Grim? grim!", "weird " * 50]
    assert np.array_equal(device.linear_logits(texts), host.linear_logits(texts))
    assert np.allclose(device.logits(texts), host.logits(texts), atol=1e-5)
    assert np.abs(host.linear_logits(texts)).max() > 0.1


def test_two_processes_make_the_same_model(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.tsv", 3)
    words = ["--steps", "4", "--hidden-size", "8", "--batch-size", "6", "--precision", "fp32", "--quiet"]
    for count in ("1", "2"):
        command = [sys.executable, "-m", "nlpseq", "train", "sentiment", str(tmp_path / "a.tsv"), *words]
        run = [*command, "--processes", count, "--out", str(tmp_path / count)]
        subprocess.run(run, check=True, timeout=120, env={**os.environ, "TMPDIR": str(tmp_path)})
    one, two = (weights_of(tmp_path / count) for count in ("1", "2"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        exact = name in ("linear.keys", "linear.idf", "evidence.table")
        np.testing.assert_allclose(two[name], value, rtol=0, atol=0 if exact else 1e-4, err_msg=name)


def test_options_name_the_kinds_of_ngrams() -> None:
    assert asdict(ClassifierOptions(linear="none"))["linear"] == "none"
    for kind in KINDS:
        assert ClassifierOptions(linear=kind).linear == kind
    with pytest.raises(library.NlpseqError, match="linear"):
        ClassifierOptions(linear="letters")
