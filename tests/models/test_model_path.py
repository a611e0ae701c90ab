"""Which model is meant: a path, the name of a bundled model, or the usual model of a task."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nlpseq.errors import ModelFileError
from nlpseq.models.model_file import load_model, task_of
from nlpseq.models.model_path import BUNDLED, bundled_file, model_path
from nlpseq.tasks import LANGUAGE_MODEL, TASKS, Task

LARGEST = 2_000_000  # bytes of a bundled model


@pytest.fixture(autouse=True)
def an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests run in a folder without models."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_model(make_model: Callable[..., Path]) -> Path:
    """A small language model."""
    return make_model()


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_each_task_has_a_small_bundled_model(task: Task) -> None:
    assert task.bundled in BUNDLED
    model = load_model(Path(task.bundled), task.name)
    assert model.path == bundled_file(task.bundled)
    assert model.path.stat().st_size <= LARGEST
    assert model.header["scores"]
    assert task_of(Path(task.bundled)) == task.name


def test_a_file_or_run_folder_wins_over_the_bundled_model_of_its_name(an_empty_folder: Path, small_model: Path) -> None:
    shutil.copy(small_model, "stories")
    assert model_path(Path("stories")) == Path("stories")
    assert load_model(Path("stories")).path == Path("stories")
    Path("reviews").mkdir()
    assert model_path(Path("reviews")) == bundled_file("reviews")  # a folder of texts is no model
    shutil.copy(small_model, "reviews/model.safetensors")
    assert load_model(Path("reviews")).path == Path("reviews/model.safetensors")
    Path("english-german").mkdir()
    Path("english-german/config.json").write_text("{}")
    with pytest.raises(ModelFileError, match="holds a run that has not saved a model yet"):
        load_model(Path("english-german"))


def test_the_usual_model_is_that_of_the_folder_or_else_the_bundled_one(small_model: Path) -> None:
    notes: list[str] = []
    assert model_path(None, LANGUAGE_MODEL, notes.append) == bundled_file("stories")
    assert notes == ["no model in checkpoints/lm yet: using the bundled model stories; nlpseq train lm trains your own"]
    LANGUAGE_MODEL.folder.mkdir(parents=True)
    shutil.copy(small_model, LANGUAGE_MODEL.folder / "model.safetensors")
    assert model_path(None, LANGUAGE_MODEL, notes.append) == LANGUAGE_MODEL.folder
    assert len(notes) == 1


def test_a_mistyped_name_gets_the_right_one() -> None:
    with pytest.raises(ModelFileError, match="storie: no such model") as refused:
        load_model(Path("storie"))
    assert refused.value.hint == "did you mean stories?"


def test_without_bundled_models_the_usual_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlpseq.models.model_path.FOLDERS", ())
    notes: list[str] = []
    assert model_path(None, LANGUAGE_MODEL, notes.append) == LANGUAGE_MODEL.folder
    assert model_path(Path("stories")) == Path("stories")
    assert notes == []
