"""`nlpseq inspect model` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

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


def test_a_missing_model_is_told(nlpseq: Run, tmp_path: Path) -> None:
    done = nlpseq("inspect", "model", "-m", tmp_path)
    assert done.exit_code == 1
    assert "no such model" in done.stderr
