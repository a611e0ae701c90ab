"""`nlpseq compare` from the outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import nlpseq as library
from nlpseq.api.comparing import compare
from nlpseq.errors import ModelFileError, OptionError
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser

Run = Callable[..., Result]
MakeModel = Callable[..., Path]


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, Path]:
    """Files of labels: the right ones, and those of three systems."""
    generator = np.random.default_rng(3)
    right = generator.choice(["good", "bad", "so so"], 200)
    files = {"ref": right}
    for name, rate in (("a", 0.9), ("b", 0.5), ("c", 0.85)):
        files[name] = np.where(generator.random(200) < rate, right, "bad")
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return {name: tmp_path / name for name in files}


@pytest.fixture
def translations(tmp_path: Path) -> dict[str, Path]:
    generator = np.random.default_rng(5)
    words = [f"w{number}" for number in range(80)]
    lines = [" ".join(generator.choice(words, generator.integers(4, 15))) for _ in range(120)]
    files = {"ref": lines}
    for name, rate in (("a", 0.3), ("b", 0.26)):
        files[name] = [" ".join("x" if generator.random() < rate else word for word in line.split()) for line in lines]
    for name, texts in files.items():
        (tmp_path / name).write_text("\n".join(texts) + "\n")
    return {name: tmp_path / name for name in files}


def test_language_models_are_compared_by_bits_and_perplexity(nlpseq: Run, make_model: MakeModel, corpus: Path) -> None:
    models = [make_model(seed=1), make_model(seed=2)]
    made = json.loads(nlpseq("compare", *models, "--on", corpus, "--json").stdout)
    assert [score["name"] for score in made["scores"]] == ["bits_per_byte", "perplexity"]
    assert "blocks:" in made["scores"][0]["signature"] and "test.txt#" in made["scores"][0]["signature"]
    for side, model in zip(made["scores"][0]["sides"], models, strict=True):
        scores = json.loads(nlpseq("evaluate", "-m", model, corpus, "--json").stdout)["scores"]
        value = next(score["value"] for score in scores if score["name"] == "bits_per_byte")
        assert side["value"] == pytest.approx(value, rel=1e-5)
        assert side["interval"][0] < value < side["interval"][1]
    (difference,) = made["scores"][0]["differences"]
    first, other = (side["value"] for side in made["scores"][0]["sides"])
    assert difference["value"] == pytest.approx(other - first)


def test_table_fits_a_terminal_and_names_the_better(nlpseq: Run, labels: dict[str, Path]) -> None:
    done = nlpseq("compare", "--outputs", labels["a"], labels["b"], labels["c"], "--target", labels["ref"], "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    told = " ".join(done.stdout.split())
    assert re.search(r"/a is better: its accuracy is [\d.]+ points", told)
    assert "may be chance" in told and "randomisation:10000|seed:12345" in told.replace(" ", "")


def test_labels_are_told_from_their_repetition(nlpseq: Run, labels: dict[str, Path]) -> None:
    done = nlpseq("compare", "--outputs", labels["a"], labels["b"], "--target", labels["ref"], "--json")
    assert [score["name"] for score in json.loads(done.stdout)["scores"]] == ["accuracy", "macro_f1"]
    assert "taken as labels" in done.stderr
    right = [line for line in labels["ref"].read_text().splitlines()]
    for name, side in zip("ab", json.loads(done.stdout)["scores"][0]["sides"], strict=True):
        given = labels[name].read_text().splitlines()
        assert side["value"] == pytest.approx(
            np.mean([one == two for one, two in zip(given, right, strict=True)]) * 100
        )


def test_lines_that_differ_are_translations(nlpseq: Run, translations: dict[str, Path]) -> None:
    files = translations["a"], translations["b"], "--target", translations["ref"]
    done = nlpseq("compare", "--outputs", *files, "--json", "--samples", 100, "--trials", 100)
    assert [score["name"] for score in json.loads(done.stdout)["scores"]] == ["bleu", "chrf"]
    assert "taken as translations" in done.stderr


def test_tokenisers_that_differ_leave_bits_per_byte(nlpseq: Run, make_model: MakeModel, corpus: Path) -> None:
    models = [make_model("char"), make_model("word")]
    made = json.loads(nlpseq("compare", *models, "--on", corpus, "--json").stdout)
    assert [score["name"] for score in made["scores"]] == ["bits_per_byte"]
    done = nlpseq("compare", *models, "--on", corpus, "--metric", "perplexity")
    assert done.exit_code == 2 and "different tokenisers" in done.stderr and "--metric bits_per_byte" in done.stderr


def test_paired_tests_are_those_of_sacrebleus_command(nlpseq: Run, translations: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "sacrebleu", str(translations["ref"]), "-m", "bleu", "chrf", "-w", "4"]
    files = ["-i", str(translations["a"]), str(translations["b"])]
    done = nlpseq(
        "compare",
        "--outputs",
        translations["a"],
        translations["b"],
        "--target",
        translations["ref"],
        "--metric",
        "bleu",
        "--metric",
        "chrf",
        "--random-seed",
        5,
        "--trials",
        1000,
        "--json",
    )
    scores = json.loads(done.stdout)["scores"]
    for way in ("bs", "ar"):
        asked = [*command, *files, f"--paired-{way}", f"--paired-{way}-n", "1000", "-f", "text"]
        environment = {**os.environ, "SACREBLEU_SEED": "5", "NO_COLOR": "1"}
        theirs = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment).stdout
        p_values = list(map(float, re.findall(r"p = ([\d.]+)", theirs)))
        found = [score["differences"][0]["p_values"][f"sacrebleu_paired_{way}"] for score in scores]
        assert p_values == pytest.approx(found, abs=1e-4)
        if way == "bs":
            shown = [tuple(map(float, row)) for row in re.findall(r"([\d.]+) \(([\d.]+) ± ([\d.]+)\)", theirs)]
            expected = [
                (score["sides"][side]["value"], *score["sides"][side]["sacrebleu"].values())
                for side in (0, 1)
                for score in scores
            ]
            assert len(shown) == 4 and np.array(shown) == pytest.approx(np.array(expected), abs=1e-3)


def test_several_seeds_have_a_spread(nlpseq: Run, labels: dict[str, Path], tmp_path: Path) -> None:
    for name in ("x1", "x2", "x3"):
        lines = labels["a"].read_text().splitlines()
        lines[: int(name[1]) * 5] = ["bad"] * (int(name[1]) * 5)
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    pattern, target = str(tmp_path / "x?"), labels["ref"]
    done = nlpseq("compare", "--outputs", pattern, labels["b"], "--target", target, "--metric", "accuracy", "--json")
    assert "there is no spread" in done.stderr
    (score,) = json.loads(done.stdout)["scores"]
    first, other = score["sides"]
    values = list(first["models"].values())
    assert len(values) == 3 and first["value"] == pytest.approx(np.mean(values))
    assert first["spread"] == pytest.approx(np.std(values, ddof=1)) and other["spread"] is None
    assert list(score["differences"][0]["p_values"]) == ["seeds"]
    shown = nlpseq("compare", "--outputs", pattern, labels["b"], "--target", target, "-q").stdout
    assert "spread" in shown.splitlines()[0]


def test_folder_of_runs_is_a_side(make_model: MakeModel, corpus: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = tmp_path / "runs" / str(seed)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(make_model(seed=seed).read_bytes())
    found = compare(tmp_path / "runs", make_model(seed=3), on=corpus, samples=100)
    assert len(found.compared[0].sides[0].models) == 2


def _classifier(path: Path, seed: int, **header: object) -> Path:
    tokeniser, options = (
        train_tokeniser("byte", ["a"], 256),
        ClassifierOptions(hidden_size=4, embedding_size=4, layers=1),
    )
    weights = classifier.initial_weights(options, tokeniser.size, np.array([1, 1]), seed)
    save_model(path, classifier.TASK, asdict(options), weights, tokeniser, labels=["bad", "good"], **header)
    return path


def test_classifiers_are_compared_on_a_table(nlpseq: Run, tmp_path: Path) -> None:
    table = tmp_path / "test.tsv"
    table.write_text("label\ttext\n" + "".join(f"{'good' if n % 3 else 'bad'}\ttext {n * n}\n" for n in range(80)))
    models = [_classifier(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    made = json.loads(nlpseq("compare", *models, "--on", table, "--json", "-q").stdout)
    for name in ("accuracy", "macro_f1"):
        (score,) = (each for each in made["scores"] if each["name"] == name)
        for model, side in zip(models, score["sides"], strict=True):
            scores = json.loads(nlpseq("evaluate", "-m", model, table, "--json", "-q").stdout)["scores"]
            assert side["value"] == pytest.approx(next(each["value"] for each in scores if each["name"] == name))


def test_mistakes_are_told_in_one_sentence(
    nlpseq: Run, make_model: MakeModel, corpus: Path, labels: dict[str, Path], tmp_path: Path
) -> None:
    one, two = make_model(seed=1), make_model(seed=2)
    other = _classifier(tmp_path / "classifier.safetensors", 1)
    short = tmp_path / "short"
    short.write_text("bad\n")
    target = ("--target", labels["ref"])
    cases = [
        ([one], "must be at least two"),
        ([one, one], "is on both sides"),
        ([one, other], "is a classifier, and"),
        ([one, tmp_path / "none"], "no such model"),
        ([one, tmp_path / "none-*"], "no run folder or model file fits the pattern"),
        ([one, two, "--on", short], "an interval needs 20 blocks"),
        ([one, two, "--on", tmp_path / "none.txt"], "there is no such file"),
        ([one, two, "--on", corpus, "--metric", "bleu"], "must be one of bits_per_byte"),
        ([one, two, "--on", corpus, "--label-column", "1"], "is for classifiers"),
        ([one, two, "--on", corpus, "--samples", "3"], "must be at least 100"),
        (["--outputs", labels["a"], labels["b"]], "--target: is missing"),
        (["--outputs", labels["a"], short, *target], "it has 1 lines, and"),
        (["--outputs", short, labels["a"], "--target", short], "share|needs 20"),
        (["--outputs", labels["a"], tmp_path / "none", *target], "there is no such file"),
        (["--outputs", labels["a"], labels["a"], *target], "is on both sides"),
        (
            ["--outputs", labels["a"], labels["b"], *target, "--metric", "macro_f1", "--metric", "bleu"],
            "cannot be bleu",
        ),
    ]
    for arguments, said in cases:
        done = nlpseq("compare", *arguments)
        assert done.exit_code in (1, 2) and done.stdout == "", arguments
        assert re.search(said, done.stderr), f"{arguments}: {done.stderr}"
        error = [line for line in done.stderr.splitlines() if not line.startswith(("note:", "hint:"))]
        assert len(error) == 1 and error[0].startswith("error: ")


def test_library_compares_as_the_command_does(nlpseq: Run, make_model: MakeModel, corpus: Path) -> None:
    models = [make_model(seed=1), make_model(seed=2)]
    found = library.compare(*models, on=str(corpus), samples=200)
    shown = nlpseq("compare", *models, "--on", corpus, "--samples", 200, "--json").stdout
    assert found.as_json()["scores"] == json.loads(shown)["scores"]
    with pytest.raises(OptionError, match="is no option of compare"):
        library.compare(*models, onn=str(corpus))
    with pytest.raises(ModelFileError):
        library.compare(models[0], "missing")
