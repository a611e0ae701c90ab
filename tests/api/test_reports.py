"""A report in Python has the baselines that the command shows, for each task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nlpseq
from nlpseq.commands.cli import app


def _evaluate(*words: object) -> str:
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("command", "options", "names"),
    [
        ("lm", {}, ["kneser-ney"]),
        ("lm", {"order": 2}, ["kneser-ney"]),
        ("translation", {"beam": 1}, ["copied-source", "nearest-source"]),
        ("sentiment", {}, ["tf-idf", "nb-svm"]),
    ],
)
def test_baselines_are_those_of_the_command(
    trained: dict[str, Path], command: str, options: dict[str, Any], names: list[str]
) -> None:
    flags = [f"--{name}={value}" for name, value in options.items()]
    model = nlpseq.load(trained[command])
    report = model.report(baseline=True, **options)
    told = json.loads(_evaluate("-m", trained[command], "--baseline", *flags, "--json"))
    assert [found.name for found in report.baselines] == names
    assert [found.as_json() for found in report.baselines] == told["baselines"]
    assert [score.as_json() for score in report.scores] == told["scores"]
    assert all(found["signature"].startswith(found["name"]) for found in told["baselines"])
    shown = _evaluate("-m", trained[command], "--baseline", *flags)
    assert all(len(line) <= 80 for line in shown.splitlines())
    heading = next(line.split() for line in shown.splitlines() if line.startswith("score "))
    assert heading == ["score", "unit", "model", *names]
    assert model.report().baselines == []
    without = json.loads(_evaluate("-m", trained[command], "--json", *(flags if command != "lm" else ())))
    assert without == {name: value for name, value in told.items() if name != "baselines"}
    measured = {score["name"]: score["signature"] for score in told["scores"] if score["unit"] != "word"}
    for found in told["baselines"]:
        assert {score["name"]: score["signature"] for score in found["scores"] if score["unit"] != "word"}.items() <= (
            measured.items()
        )


def test_an_order_needs_a_baseline_and_a_language_model(trained: dict[str, Path]) -> None:
    for words, said in (
        (["-m", str(trained["lm"]), "--order", "3"], "--order: is an option of the baseline\nhint:  add --baseline"),
        (["-m", str(trained["translation"]), "--order", "3", "--baseline"], "--order: is for language models"),
        (["-m", str(trained["lm"]), "--order", "0", "--baseline"], "--order"),
    ):
        done = CliRunner().invoke(app, ["evaluate", *words])
        assert done.exit_code == 2 and said in done.stderr, done.stderr
