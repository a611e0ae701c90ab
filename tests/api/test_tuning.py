"""A search in Python, from the corpus to the run folder; its clock counts steps, so that it is always the same."""

from __future__ import annotations

import itertools
import json
import os
import random
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nlpseq
from nlpseq.commands.cli import app
from nlpseq.errors import CorpusError, OptionError, RunError
from nlpseq.models.model_file import load_model
from nlpseq.training.tuning.clock import Clock

SMALL = {"hidden_size": 8, "embedding_size": 8, "vocab_size": 300, "batch_size": 32, "ngrams": 1}
MOODS = {"good": "fine great lovely", "bad": "awful dull weak"}

PLAIN = ("the", "a", "film", "plot", "it", "was")

pytest.importorskip("optuna")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Texts of two labels with a word of each."""
    generator, path = random.Random(1), tmp_path / "reviews.tsv"
    rows = ["label\ttext\n"]
    for index in range(120):
        mood = ("good", "bad")[index % 2]
        words = [generator.choice(MOODS[mood].split()), *generator.choices(PLAIN, k=5)]
        rows.append(f"{mood}\t{' '.join(words)}\n")
    path.write_text("".join(rows))
    return path


@pytest.fixture
def step_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second whenever it is read, which a search does once in each step."""

    def make(minutes: float, started: float, *, may_end_early: bool) -> Clock:
        ticks: Iterator[int] = itertools.count()
        return Clock(minutes, 0.0, lambda: float(next(ticks)), may_end_early=may_end_early)

    monkeypatch.setattr("nlpseq.api.tuning.Clock", make)


@pytest.mark.usefixtures("step_clock")
def test_a_search_keeps_the_best_run_as_an_ordinary_one(corpus: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "run", list[dict[str, Any]]()
    tuned = nlpseq.tune("sentiment", corpus, minutes=8, out=out, trial=rows.append, device="cpu", **SMALL)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "history.jsonl",
        "model.safetensors",
        "resume.safetensors",
        "tuning",
        "tuning.json",
    ]
    report = json.loads((out / "tuning.json").read_text())
    assert report["trials"] == rows and len(rows) > 2
    assert rows[0]["options"] == {} and rows[0]["value"] == 1
    assert {name for row in rows for name in row["options"]}.isdisjoint(SMALL)
    best = rows[report["best"]]
    shown = {score.name: score.value for score in tuned.model.scores}
    assert shown["accuracy"] == pytest.approx(best["scores"]["accuracy"])
    test_names = {name for row in report["test"] for score in row["scores"] for name in [score["name"]]}
    assert {"accuracy", "loss"} <= test_names
    (test,) = report["test_part"]
    found = {score.name: score.value for score in nlpseq.load(out).evaluate(test)}  # type: ignore[union-attr]
    kept = next(row for row in reversed(report["test"]) if row["trial"] == report["best"])
    assert found["accuracy"] == pytest.approx(kept["scores"][0]["value"])


@pytest.mark.usefixtures("step_clock")
def test_the_printed_command_makes_the_same_model(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tuned = nlpseq.tune("sentiment", corpus.name, minutes=5, out="run", device="cpu", **SMALL)
    _, verb, task, *options = shlex.split(tuned.command)
    assert (verb, task) == ("train", "sentiment")
    done = CliRunner().invoke(app, [verb, task, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    model, again = (load_model(tmp_path / name).weights for name in ("run", "run-again"))
    assert model.keys() == again.keys()
    assert all(np.array_equal(value, again[name]) for name, value in model.items())


@pytest.mark.usefixtures("step_clock")
@pytest.mark.parametrize("task", ["lm", "translation"])
def test_the_other_tasks_are_tuned_in_runs_of_equal_time(task: str, tmp_path: Path) -> None:
    path, generator = tmp_path / "corpus.tsv", random.Random(1)
    lines = [" ".join(generator.choices(PLAIN, k=6)) for _ in range(150)]
    path.write_text("".join(f"{line}\t{line.upper()}\n" for line in lines))
    small: dict[str, Any] = {"hidden_size": 8, "embedding_size": 8, "device": "cpu"}
    tuned = nlpseq.tune(task, path, minutes=0.05, out=tmp_path / "run", test=str(path), **small)
    assert tuned.report["trials"][0]["state"] == "complete"
    assert next(row["run"] for row in tuned.report["test"]) == "defaults"
    assert tuned.report["command_for_whole"] is None


@pytest.mark.usefixtures("step_clock")
def test_an_interruption_keeps_the_best_run_so_far(corpus: Path, tmp_path: Path) -> None:
    def stop(trial: dict[str, Any]) -> None:
        if trial["number"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        nlpseq.tune("sentiment", corpus, minutes=60, out=out, trial=stop, device="cpu", **SMALL)
    report = json.loads((out / "tuning.json").read_text())
    assert report["stopped"] == signal.SIGINT
    assert len(report["trials"]) == 2
    assert nlpseq.load(out).path == out / "model.safetensors"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("step_clock")
def test_what_fails_leaves_an_earlier_run_as_it_was(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    nlpseq.train("sentiment", corpus, steps=2, out=out, device="cpu", **SMALL)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(RunError, match="holds a run already"):
        nlpseq.tune("sentiment", corpus, out=out, **SMALL)
    wrong = tmp_path / "test.tsv"
    wrong.write_text("label\ttext\n" + "unheard-of\ta film\n" * 5)
    with pytest.raises(CorpusError, match="unheard-of"):
        nlpseq.tune("sentiment", corpus, out=out, overwrite=True, test=wrong, minutes=5, device="cpu", **SMALL)
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"steps": 5}, "steps"),
        ({"minutes": 0}, "minutes"),
        ({"resume": True}, "resume"),
        ({"dropuot": 0.1}, "dropuot"),
    ],
)
def test_options_that_a_search_does_not_have_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(OptionError) as refused:
        nlpseq.tune("sentiment", "corpus.tsv", **options)
    assert refused.value.where == what


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    with pytest.raises(CorpusError):
        nlpseq.tune("sentiment", tmp_path / "missing.tsv", out=out)
    assert not out.parent.exists()
