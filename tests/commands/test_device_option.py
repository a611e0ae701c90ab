"""`--device` of the commands that run models: refused without a GPU, and elsewhere the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from nlpseq.device import on_device
from nlpseq.models import classifier, translator
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tokenisers import ByteTokeniser

Run = Callable[..., Result]
LINES = "the cat\n\nöl 猫\n".encode() + b"\xff\n" + b"x" * 300 + b"\n"
PLACES = ("decoding.engine", "decoding.classification", "evaluation.reader", "decoding.ensemble",
          "vectors.embedder")  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier and a translator of random weights, and a table and a pair of texts for them."""
    folder = tmp_path_factory.mktemp("models")
    names = ("classifier", "translator", "table.tsv", "pairs.tsv")
    paths = {name: folder / (name if "." in name else f"{name}.safetensors") for name in names}
    labels = ClassifierOptions(hidden_size=8, embedding_size=6, bidirectional=True)
    weights = classifier.initial_weights(labels, 256, np.array([1, 1]), 1)
    details: dict[str, Any] = {"labels": ["a", "b"]}
    save_model(paths["classifier"], classifier.TASK, asdict(labels), weights, ByteTokeniser(()), **details)
    pairs = TranslatorOptions(hidden_size=8, embedding_size=6)
    weights = translator.initial_weights(pairs, 256, 1)
    save_model(paths["translator"], translator.TASK, asdict(pairs), weights, ByteTokeniser(()))
    paths["table.tsv"].write_text("label\ttext\n" + "".join(f"{'ab'[n % 2]}\ttext {n}\n" for n in range(20)))
    paths["pairs.tsv"].write_text("".join(f"text {n}\tTexte {n}\n" for n in range(4)))
    return paths


@pytest.fixture
def commands(model_path: Path, models: dict[str, Path], tmp_path: Path) -> dict[str, list[Any]]:
    """Arguments of each command that takes the option."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat.\n" * 60)
    source = tmp_path / "source.txt"
    source.write_text("a\n" * len(LINES.splitlines()))
    made = ["generate", "-m", model_path, "--random-seed", 3, "--length", 40]
    return {
        "samples": [*made, "-n", 5],
        "one": made,
        "lines": [*made, "--seed", "-"],
        "objects": [*made, "-n", 2, "--stop", "e"],
        "score": ["score", "-m", model_path],
        "follow": ["score", "-m", model_path, "--follow"],
        "pairs": ["score", "-m", models["translator"], "--source", source],
        "classify": ["classify", "-m", models["classifier"], "--all"],
        "nearest": ["nearest", "-m", models["classifier"], "--in", source],
        "evaluate": ["evaluate", "-m", model_path, text],
        "labels": ["evaluate", "-m", models["classifier"], models["table.tsv"]],
        "translations": ["evaluate", "-m", models["translator"], models["pairs.tsv"], "--beam", 2],
    }


NAMES = ("samples", "one", "lines", "objects", "score", "follow", "pairs", "classify", "nearest", "evaluate",
         "labels", "translations")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_cuda_without_a_gpu_is_refused(
    nlpseq: Run, commands: dict[str, list[Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = nlpseq(*commands[name], "--device", "cuda", input=LINES)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--device: cuda cannot be used" in done.stderr
    assert "--device cpu" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_tensors_give_the_same_answers(
    nlpseq: Run, commands: dict[str, list[Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = nlpseq(*commands[name], input=LINES)
    for place in PLACES:
        monkeypatch.setattr(f"nlpseq.{place}.on_device", lambda weights, device: on_device(weights, "torch:cpu"))
    found = nlpseq(*commands[name], "--device", "cuda", input=LINES)
    assert (found.exit_code, found.stderr) == (0, expected.stderr)
    assert _numbers(found.stdout) == _numbers(expected.stdout)


def _numbers(text: str) -> list[Any]:
    """The words of a text, numbers among them to four digits."""
    return [pytest.approx(float(word), rel=1e-4) if _is_number(word) else word for word in text.split()]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", ["generate", "score", "evaluate", "classify"])
def test_help_says_what_it_does(nlpseq: Run, name: str) -> None:
    said = " ".join(nlpseq(name, "--help").stdout.split())
    assert "--device <cpu|cuda>" in said and "a GPU is for many texts" in said


def test_a_state_goes_from_one_device_to_the_other(
    nlpseq: Run, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    follow = ["score", "-m", model_path, "--follow"]
    expected = nlpseq(*follow, input=LINES + LINES).stdout.splitlines()
    monkeypatch.setattr("nlpseq.evaluation.reader.on_device", lambda weights, device: on_device(weights, "torch:cpu"))
    first = nlpseq(*follow, "--save-state", state, "--device", "cuda", input=LINES)
    rest = nlpseq(*follow, "--state", state, "--device", "cuda", input=LINES)
    found = (first.stdout + rest.stdout).splitlines()
    assert [_numbers(line) for line in found] == [_numbers(line) for line in expected]
