"""Which model is meant: a path, the name of a bundled model, or the usual model of a task."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nlpseq.errors import ModelFileError
from nlpseq.models.model_file import load_model, task_of
from nlpseq.models.model_path import BUNDLED, argument, bundled_file, model_path, shown
from nlpseq.tasks import LANGUAGE_MODEL, TASKS, Task
from nlpseq.text.bundled import BUNDLED as BUNDLED_CORPORA

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
    told = "no model in checkpoints/lm yet: using the bundled model stories (176 kB of short stories); nlpseq train lm "
    assert notes == [told + "trains your own"]
    LANGUAGE_MODEL.folder.mkdir(parents=True)
    shutil.copy(small_model, LANGUAGE_MODEL.folder / "model.safetensors")
    assert model_path(None, LANGUAGE_MODEL, notes.append) == LANGUAGE_MODEL.folder
    assert len(notes) == 1


def test_the_note_says_how_much_text_a_bundled_model_was_trained_on() -> None:
    corpora = {task.bundled: "".join(BUNDLED_CORPORA[task.bundled].read()) for task in TASKS.values()}
    sizes = {
        "stories": f"{round(len(corpora['stories'].encode()), -3) // 1000} kB of short stories",
        "english-german": f"{len(corpora['english-german'].splitlines()):,} made-up pairs",
        "reviews": f"{len(corpora['reviews'].splitlines()) - 1:,} made-up reviews",
    }
    assert {task.bundled: task.bundled_text for task in TASKS.values()} == sizes


def test_a_bundled_model_is_called_by_its_name(tmp_path: Path, small_model: Path) -> None:
    file = bundled_file("reviews")
    assert file is not None
    assert (shown(file), argument(file)) == ("reviews", "reviews")
    assert (shown(small_model), argument(small_model)) == (str(small_model), str(small_model.parent))
    with pytest.raises(ModelFileError) as refused:
        load_model(Path("reviews"), LANGUAGE_MODEL.name)
    assert str(refused.value) == "reviews: is a classifier, a language model is needed"
    assert refused.value.hint == "-m stories"


def test_a_damaged_bundled_model_is_installed_again(monkeypatch: pytest.MonkeyPatch, small_model: Path) -> None:
    monkeypatch.setattr("nlpseq.models.model_path.FOLDERS", (Path("bundled"),))
    Path("bundled").mkdir()
    data = bytearray(small_model.read_bytes())
    data[-1] ^= 1
    Path("bundled/stories.safetensors").write_bytes(data)
    with pytest.raises(ModelFileError, match=r"^stories: is damaged") as refused:
        load_model(Path("stories"))
    assert refused.value.hint == "pip install --force-reinstall nlpseq"


def test_the_hint_at_another_model_has_the_option_that_named_the_refused_one(
    monkeypatch: pytest.MonkeyPatch, small_model: Path
) -> None:
    def hint(flag: str) -> str:
        with pytest.raises(ModelFileError) as refused:
            load_model(small_model, "classifier", flag)
        return refused.value.hint

    assert hint("--init-from") == "--init-from reviews"
    monkeypatch.setattr("nlpseq.models.model_path.FOLDERS", ())
    assert (hint("--init-from"), hint("-m")) == ("leave out --init-from", "nlpseq train sentiment")
    Path("runs/good").mkdir(parents=True)
    shutil.copy(small_model, "runs/good/model.safetensors")
    with pytest.raises(ModelFileError) as refused:
        load_model(Path("runs"), LANGUAGE_MODEL.name, "--init-from")
    assert refused.value.hint == "--init-from runs/good"


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
