"""Several labels a text on the command line and in Python: from a table to training, a filter and scores."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlpseq as package

Run = Callable[..., Any]
SIZES = ("--hidden-size", 12, "--embedding-size", 8, "--batch-size", 10, "--tokens", "word", "--learning-rate", 0.01)
WORDS = {"card": "plastic", "cash": "notes", "home": "sofa"}


def _rows(count: int = 200) -> list[tuple[list[str], str]]:
    """Texts that have a word for each of their labels."""
    generator = np.random.default_rng(1)
    rows = []
    for number in range(count):
        labels = [label for label in WORDS if generator.random() < 0.4]
        words = [*(WORDS[label] for label in labels), *generator.choice(["the", "a", "my"], 3), f"n{number}"]
        rows.append((labels, " ".join(generator.permutation(words))))
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "texts.tsv"
    path.write_text("label\ttext\n" + "".join(f"{';'.join(labels)}\t{text}\n" for labels, text in _rows()))
    return path


@pytest.fixture(scope="module")
def trained(table: Path) -> Path:
    folder = table.parent / "run"
    steps = ("--steps", 150, "--label-separator", ";", "--dropout", 0, "-q", "--json")
    command = [sys.executable, "-m", "nlpseq", "train", "sentiment", table, "--out", folder, *SIZES, *steps]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["valid"]["micro_f1"] == 100 and result["valid"]["exact_match"] == 100
    return folder


def test_each_line_has_its_labels(nlpseq: Run, trained: Path) -> None:
    lines = b"the plastic sofa\n\nmy a the\nnotes\n"
    both, blank, none, one = nlpseq("classify", "-m", trained, input=lines).stdout.split("\n")[:4]
    assert set(both.split("\t")[::2]) == {"card", "home"} and blank == ""
    assert one.split("\t")[0] == "cash" and one.count("\t") == 1
    label, probability = none.split("\t")
    assert label == "" and 0 < float(probability) < 0.5
    only = nlpseq("classify", "-m", trained, "--labels-only", input=lines).stdout.splitlines()
    assert set(only[0].split(",")) == {"card", "home"} and only[1:] == ["", "", "cash"]
    named = nlpseq("classify", "-m", trained, "--labels-only", "--abstain", "none", input=lines).stdout.splitlines()
    assert named[1:] == ["", "none", "cash"]


def test_a_threshold_and_the_first_labels(nlpseq: Run, trained: Path) -> None:
    first = nlpseq("classify", "-m", trained, "--top", 2, input=b"the plastic sofa\n").stdout.rstrip("\n").split("\t")
    assert set(first[::2]) == {"card", "home"}
    everything = nlpseq("classify", "-m", trained, "--all", input=b"my a the\n").stdout.rstrip("\n").split("\t")
    assert sorted(everything[::2]) == ["card", "cash", "home"]
    probabilities = [float(value) for value in everything[1::2]]
    between = (probabilities[0] + probabilities[1]) / 2
    low = nlpseq("classify", "-m", trained, "--threshold", between, input=b"my a the\n").stdout
    assert low == f"{everything[0]}\t{everything[1]}\n"
    done = nlpseq("classify", "-m", trained, "--top", 2, "--threshold", 0.5, input=b"x\n")
    assert done.exit_code == 2 and "--top: writes the most probable labels, but --threshold chooses" in done.stderr
    done = nlpseq("classify", "-m", trained, "--top", 2, "--all", input=b"x\n")
    assert done.exit_code == 2 and "exclude each other" in done.stderr


def test_objects_have_lists(nlpseq: Run, trained: Path) -> None:
    lines = b'{"text": "notes", "labels": ["cash"]}\n{"text": "my a the"}\n{"text": " "}\n'
    found = [json.loads(line) for line in nlpseq("classify", "-m", trained, "--jsonl", input=lines).stdout.splitlines()]
    assert found[0]["given_labels"] == ["cash"] == found[0]["labels"] == list(found[0]["probabilities"])
    assert [(one["labels"], one["probabilities"], one["status"]) for one in found[1:]] == [
        ([], {}, "ok"),
        ([], {}, "blank"),
    ]
    top = json.loads(nlpseq("classify", "-m", trained, "--json", "--top", 2, input=b"notes\n").stdout)
    assert top["labels"] == ["cash"] and len(top["probabilities"]) == 2


def test_a_model_of_one_label_has_first_labels_too(nlpseq: Run) -> None:
    lines = nlpseq("classify", "-m", "reviews", "--top", 5, input=b"a dull film\n").stdout
    assert lines == nlpseq("classify", "-m", "reviews", "--all", input=b"a dull film\n").stdout
    one = nlpseq("classify", "-m", "reviews", "--top", 1, input=b"a dull film\n").stdout
    assert one == nlpseq("classify", "-m", "reviews", input=b"a dull film\n").stdout
    only = nlpseq("classify", "-m", "reviews", "--top", 2, "--labels-only", input=b"a dull film\n").stdout
    assert only.rstrip("\n").split(",") == lines.rstrip("\n").split("\t")[::2]


def test_scores_of_the_validation_texts_and_of_others(nlpseq: Run, trained: Path, tmp_path: Path) -> None:
    made = json.loads(nlpseq("evaluate", "-m", trained, "--json").stdout)
    reported = json.loads(nlpseq("inspect", "model", "-m", trained, "--json").stdout)["scores"]
    for one, other in zip(made["scores"], reported, strict=True):
        assert one["signature"] == other["signature"] and one["value"] == pytest.approx(other["value"], abs=1e-4)
    assert np.array(made["confusion"]["table"]).shape == (3, 2, 2)
    (tmp_path / "test.jsonl").write_text(
        '{"text": "plastic", "labels": ["card"]}\n{"text": "sofa notes", "labels": "home;cash"}\n'
        '{"text": "my a", "labels": ["card"]}\n'
    )
    done = nlpseq("evaluate", "-m", trained, tmp_path / "test.jsonl")
    assert done.exit_code == 0, done.stderr
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert float(lines["micro_f1"][1]) == pytest.approx(100 * 6 / 7, abs=1e-3)
    assert float(lines["exact_match"][1]) == pytest.approx(200 / 3, abs=1e-3)
    assert lines["card"] == ["card", "100.00", "%", "50.00", "%", "66.67", "%", "2", "1"]


def test_baselines_are_one_against_the_rest(nlpseq: Run, trained: Path) -> None:
    made = json.loads(nlpseq("evaluate", "-m", trained, "--baseline", "--json").stdout)
    found = {one["name"]: {score["name"]: score["value"] for score in one["scores"]} for one in made["baselines"]}
    assert list(found) == ["tf-idf", "tf-idf (best)", "nb-svm (best)"]
    assert found["tf-idf (best)"]["micro_f1"] >= found["tf-idf"]["micro_f1"] > 50
    assert set(found["tf-idf"]) == {"micro_f1", "macro_f1", "exact_match"}


def test_what_a_model_does_not_know_is_refused(nlpseq: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.tsv").write_text("label\ttext\ncard;odd\tx\n")
    done = nlpseq("evaluate", "-m", trained, tmp_path / "odd.tsv")
    assert done.exit_code == 1 and "odd.tsv:2: training had no such labels: 'odd'" in done.stderr
    (tmp_path / "sets.jsonl").write_text('{"label": ["positive", "negative"], "text": "x"}\n')
    done = nlpseq("evaluate", "-m", "reviews", tmp_path / "sets.jsonl")
    assert done.exit_code == 1 and "sets.jsonl:1: it has a list of 2 labels, but other texts have one" in done.stderr
    done = nlpseq("evaluate", "-m", "reviews", "--label-separator", ",", tmp_path / "odd.tsv")
    assert done.exit_code == 2 and "--label-separator: is for models of texts that may have several" in done.stderr


def test_words_speak_for_one_label_and_not_against_another(nlpseq: Run, trained: Path) -> None:
    weights = {}
    for label in ("card", "home"):
        made = nlpseq("inspect", "words", "the plastic sofa", "-m", trained, "--label", label, "--json")
        assert made.exit_code == 0, made.stderr
        weights[label] = {word["word"]: word["weight"] for word in json.loads(made.stdout)["words"]}
    assert weights["card"]["plastic"] > abs(weights["card"]["the"])
    assert weights["home"]["sofa"] > abs(weights["home"]["the"])


def test_a_run_keeps_its_separator(nlpseq: Run, trained: Path, table: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert config["asked"]["label_separator"] == ";" and config["several_labels"] is True
    out, further = tmp_path / "again", ("--steps", 20, "-q")
    done = nlpseq("train", "sentiment", "--like", trained, "--out", out, *further)
    assert done.exit_code == 0, done.stderr
    assert json.loads((out / "config.json").read_text())["asked"]["label_separator"] == ";"
    (tmp_path / "other.tsv").write_text(table.read_text() + "cash\tnotes here\n\tnothing here\n")
    done = nlpseq("train", "sentiment", tmp_path / "other.tsv", "--resume", "--out", out, "--steps", 30)
    assert done.exit_code == 0, done.stderr
    assert "any number a text" in done.stderr
    done = nlpseq("evaluate", "-m", out, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["confusion"]["labels"] == list(WORDS)


@pytest.mark.parametrize(
    "option", [("--virtual-adversarial", 0.5), ("--adversarial", 0.5), ("--class-weights", "balanced")]
)
def test_options_of_training_work(option: tuple[Any, ...], nlpseq: Run, table: Path, tmp_path: Path) -> None:
    command = ("train", "sentiment", table, "--label-separator", ";", "--out", tmp_path / "run", *SIZES)
    done = nlpseq(*command, "--steps", 6, "--criterion", "macro-f1", "--label-smoothing", 0.1, *option)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"validation \(quick\) [\d.]+  macro-F1 [\d.]+", done.stderr) and "labels each" in done.stderr


def test_a_check_counts_labels(nlpseq: Run, table: Path, tmp_path: Path) -> None:
    done = nlpseq("corpus", "check", "--label-separator", ";", table)
    rows = _rows()
    each = sum(len(labels) for labels, _ in rows) / len(rows)
    assert f"{each:.1f} labels each: " in done.stdout, done.stderr
    without = sum(not labels for labels, _ in rows)
    assert f"{without} of 200 texts ({without / 200:.1%}) have no label" in done.stdout
    (tmp_path / "all.jsonl").write_text('{"labels": ["a"], "text": "x"}\n' * 30)
    done = nlpseq("corpus", "check", tmp_path / "all.jsonl")
    assert done.exit_code == 1 and "it needs texts with a label and texts without it" in done.stdout
    assert "no text has more than one label" in done.stdout


def test_python_knows_label_sets(trained: Path, table: Path, tmp_path: Path) -> None:
    model = package.load(trained)
    assert isinstance(model, package.Classifier)
    both, none = model.classify(["the plastic sofa", "my a the"])
    assert set(both.chosen) == {"card", "home"} and none.chosen == []
    assert len(none.labels) == 3 and none.probabilities == sorted(none.probabilities, reverse=True)
    scores = {score.name: score.value for score in model.evaluate(table, label_separator=";")}
    assert scores["micro_f1"] > 95
    sizes: dict[str, Any] = {"steps": 3, "hidden_size": 12, "embedding_size": 8, "tokens": "word"}
    made = package.train("sentiment", table, label_separator=";", out=tmp_path / "run", **sizes)
    assert isinstance(made, package.Classifier) and made.labels == list(WORDS)
    with pytest.raises(package.NlpseqError, match="label_separator: must be one or more characters"):
        package.train("sentiment", table, label_separator="", out=tmp_path / "other")


def test_texts_with_lists_of_labels_of_another_kind(nlpseq: Run, tmp_path: Path) -> None:
    data = (Path(__file__).parents[2] / "../shared/data/nlupp_banking/train.jsonl").resolve()
    if not data.exists():
        pytest.skip(f"{data} is not there")
    done = nlpseq("train", "sentiment", data, "--take", 300, "--out", tmp_path / "run", *SIZES[:4], "--steps", 4)
    assert done.exit_code == 0, done.stderr
    assert "any number a text" in done.stderr and "no label applies to them" in done.stderr
