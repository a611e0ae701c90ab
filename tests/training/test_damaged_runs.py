"""A resume file or a configuration that says what no run can have is refused in a sentence, and nothing is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nlpseq
from nlpseq.errors import RunError
from nlpseq.models.model_file import read_tensors, write_tensors
from nlpseq.training.run_state import checked_counters

Tensors = dict[str, np.ndarray]
SIZES: dict[str, Any] = {"hidden_size": 4, "embedding_size": 4, "tokens": "byte", "device": "cpu"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which can be trained on."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "a.txt").write_text("the cat sat on the mat.\n" * 60)
    nlpseq.train("lm", folder / "a.txt", out=folder / "run", steps=2, **SIZES)
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def _resume(run: Path) -> None:
    nlpseq.train("lm", out=run, resume=True, steps=4)


def test_a_sound_run_is_trained_on(run: Path) -> None:
    _resume(run)
    assert read_tensors(run / "resume.safetensors")[0]["step"] == 4


def _poison(tensors: Tensors) -> None:
    tensors["parameter/output.bias"][3] = np.nan


CHANGES: dict[str, Callable[[Tensors], object]] = {
    "a parameter is missing": lambda tensors: tensors.pop("parameter/output.bias"),
    "a parameter is shorter": lambda tensors: tensors.update({"parameter/output.bias": np.zeros(255, np.float32)}),
    "a parameter is double": lambda tensors: tensors.update({"parameter/output.bias": np.zeros(256)}),
    "a parameter is no number": _poison,
    "moments are missing": lambda tensors: tensors.pop("optimiser/output.bias/exp_avg"),
    "moments are double": lambda tensors: tensors.update({"optimiser/output.bias/exp_avg": np.zeros(256)}),
    "moments are infinite": lambda tensors: tensors.update(
        {"optimiser/output.bias/exp_avg": np.full(256, np.inf, np.float32)}
    ),
    "moments are shorter": lambda tensors: tensors.update({"optimiser/output.bias/exp_avg": np.zeros(2, np.float32)}),
    "no random state": lambda tensors: tensors.pop("random"),
    "a random state of zeros": lambda tensors: tensors.update(random=np.zeros(5056, np.uint8)),
    "a random state of another size": lambda tensors: tensors.update(random=np.zeros(99, np.uint8)),
    "no place": lambda tensors: tensors.pop("task/place"),
    "a place before the start": lambda tensors: tensors.update({"task/place": np.array([0, -1])}),
    "a place behind the end": lambda tensors: tensors.update({"task/place": np.array([0, 1 << 40])}),
    "a state of another shape": lambda tensors: tensors.update({"task/state/0.0.hidden": np.zeros((1, 2), np.float32)}),
    "a state of doubles": lambda tensors: tensors.update(
        {"task/state/0.0.hidden": tensors["task/state/0.0.hidden"].astype(np.float64)}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_resume_file_with_other_tensors_is_refused(change: str, run: Path) -> None:
    header, tensors = read_tensors(run / "resume.safetensors")
    CHANGES[change](tensors)
    write_tensors(run / "resume.safetensors", header, tensors)
    with pytest.raises(RunError, match=r"is damaged|is the state of another model"):
        _resume(run)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"step": "x"},
        {"step": 1.5},
        {"total": []},
        {"total": 1},
        {"best": "x"},
        {"rate_scale": -1},
        {"step": None},
    ],
)
def test_counters_that_cannot_be_are_refused(wrong: dict[str, Any], run: Path) -> None:
    header, tensors = read_tensors(run / "resume.safetensors")
    with pytest.raises(ValueError, match=r"is |has no"):
        checked_counters({**header, **wrong})
    write_tensors(run / "resume.safetensors", {**header, **wrong}, tensors)
    with pytest.raises(RunError, match="is damaged"):
        _resume(run)


def _changed(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("asked",), []),
        (("asked", "corpus"), "a.txt"),
        (("asked", "teacher"), "x"),
        (("asked", "take"), [1]),
        (("model", "layers"), "2"),
        (("model", "unknown"), 2),
        (("training", "clip"), -1),
        (("training", "unknown"), 2),
        (("training", "dropout"), None),
        (("tokeniser",), 7),
        (("data",), None),
        (("machine",), []),
        (("teachers",), [1]),
        (("training", "nested"), json.loads("[" * 60 + "]" * 60)),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(path: tuple[str, ...], value: Any, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config.pop("checksum")
    _changed(config, path, value)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"damaged|another task") as refused:
        _resume(run)
    assert "\n" not in refused.value.what


def test_a_configuration_that_was_edited_is_refused(run: Path) -> None:
    text = (run / "config.json").read_text()
    assert '"clip": 1.0' in text
    (run / "config.json").write_text(text.replace('"clip": 1.0', '"clip": 2.0'))
    with pytest.raises(RunError, match="do not match its checksum"):
        _resume(run)
