"""What `import nlpseq` offers, and what it costs."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nlpseq
from nlpseq.errors import CorpusError, ModelFileError, OptionError, RunError, TaskError
from nlpseq.tasks import COMMANDS, TASKS, Task

LIGHT = "import sys, nlpseq; print(*[name for name in ('numpy', 'torch', 'typer', 'rich') if name in sys.modules])"
ABILITIES = {
    "lm": {"generate", "samples", "stream", "score", "evaluate", "report"},
    "sentiment": {"classify", "words", "evaluate", "report"},
    "translation": {"translate", "translations", "score", "attention", "evaluate", "report"},
}


def test_the_import_brings_neither_numpy_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_name_that_is_offered_is_there() -> None:
    for name in nlpseq.__all__:
        assert getattr(nlpseq, name) is not None
    assert set(dir(nlpseq)) >= set(nlpseq.__all__)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        nlpseq.laod  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_table_of_tasks_names_code_that_exists(task: Task) -> None:
    for what in ("request", "run", "model"):
        assert task.load(what).__name__
    assert task.load("request")().out == task.folder
    assert task.load("model").task is task
    assert task.load("run").name == task.name


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_bundled_model_is_loaded_by_its_name(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for load in (nlpseq.load, task.load("model").load):
        model = load(task.bundled)
        assert model.task is task
        assert model.path.name == f"{task.bundled}.safetensors"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_model_is_loaded_from_any_kind_of_path(
    trained: dict[str, Path], command: str, kind: Callable[[Path], Any]
) -> None:
    model = nlpseq.load(kind(trained[command]))
    assert model.task is COMMANDS[command]
    assert model.path == trained[command] / "model.safetensors"
    assert model.scores and all(isinstance(score, nlpseq.Score) for score in model.scores)
    assert model.task.noun in repr(model)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_ability_of_another_task_is_refused_with_those_that_there_are(
    trained: dict[str, Path], command: str
) -> None:
    model = nlpseq.load(trained[command])
    own = ABILITIES[command]
    assert set(model.abilities()) - {"load"} == own
    for foreign in set().union(*ABILITIES.values()) - own:
        with pytest.raises(TaskError, match=f"is a {model.task.noun} and cannot {foreign}; it has ") as refused:
            getattr(model, foreign)
        assert all(name in refused.value.what for name in own)
        assert not hasattr(model, foreign)
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        model.fly  # type: ignore[union-attr]  # noqa: B018


def test_a_model_that_is_missing_foreign_or_damaged_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such model"):
        nlpseq.load(tmp_path / "nowhere")
    foreign = tmp_path / "notes.txt"
    foreign.write_text("some text")
    with pytest.raises(ModelFileError, match="is no model file"):
        nlpseq.load(foreign)
    damaged = tmp_path / "model.safetensors"
    data = bytearray((trained["lm"] / "model.safetensors").read_bytes())
    data[-9] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged"):
        nlpseq.load(damaged)
    for wrong in (3, "", "a\0b"):
        with pytest.raises(OptionError, match="path: must be a path, was "):
            nlpseq.load(wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="path: is missing"):
        nlpseq.Translator()


def test_an_error_survives_pickling(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as refused:
        nlpseq.load(tmp_path / "nowhere")
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), str(again), again.hint) == (ModelFileError, str(refused.value), refused.value.hint)


def test_columns_of_a_resumed_classifier_are_told_by_their_flags(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("id,verdict,review\n" + "".join(f"{n},{'ab'[n % 2]},text {n}\n" for n in range(60)))
    sizes = {"hidden_size": 8, "device": "cpu", "steps": 6, "out": tmp_path / "model"}

    def interrupt(record: Any) -> None:
        os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt):
        nlpseq.train("sentiment", table, label_column=2, text_column="review", progress=interrupt, **sizes)
    with pytest.raises(CorpusError, match="no such labels: '0'"):
        nlpseq.train("sentiment", resume=True, out=tmp_path / "model", label_column=1)
    nlpseq.train("sentiment", resume=True, out=tmp_path / "model", label_column="2")


def test_options_of_loading_are_for_the_right_task(trained: dict[str, Path]) -> None:
    with pytest.raises(OptionError, match="path: may be several only for models that work together"):
        nlpseq.load(trained["lm"], trained["lm"])
    with pytest.raises(OptionError, match="precision: must be fp32 for a classifier"):
        nlpseq.load(trained["sentiment"], precision="bf16")
    for precision in ("bf16", "int8"):
        assert nlpseq.load(trained["lm"], precision=precision).generate("a", length=3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("task", "options", "said", "hint"),
    [
        ("sentiment", {"minuts": 5}, "minuts: is no option of training a classifier", "did you mean minutes?"),
        ("lm", {"steps": "5"}, "steps: must be a whole number, was '5'", ""),
        ("lm", {"hidden_size": 0}, "hidden_size: must be at least 1, was 0", ""),
        ("lm", {"cell": "lstn"}, "cell: must be one of ", "did you mean lstm?"),
        ("lm", {"out": 3}, "out: must be a path or the name of a corpus, was 3", ""),
        ("translation", {"source": "a.txt"}, "source and target: go together", "--source FILE --target FILE"),
        ("lm", {"quiet": True}, "quiet: is an option of the command line", "progress=print and note=print show a run"),
        ("lm", {"valid": ""}, "valid: must be a file or the name of a corpus, was empty", "nlpseq corpus list"),
        ("translate", {}, "task: must be one of lm, sentiment, translation", "nlpseq.train('translation', ...)"),
        ("lm", {"note": 5}, "note: must be callable, was 5", "note=print"),
        ("lm", {"out": None}, "out: must be a path or the name of a corpus, was None", ""),
        ("lm", {"progress": 5}, "progress: must be callable, was 5", "progress=print"),
        ("lm", {"steps": 3, "minutes": 1}, "steps and minutes: are different budgets", ""),
        (
            "sentimen",
            {},
            "task: must be one of lm, sentiment, translation, was 'sentimen'",
            "nlpseq.train('sentiment', ...)",
        ),
    ],
)
def test_a_wrong_option_of_training_is_refused(
    task: str, options: dict[str, Any], said: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as refused:
        nlpseq.train(task, **{"out": tmp_path / "model", **options})
    assert str(refused.value).startswith(said)
    assert refused.value.hint == hint
    assert not list(tmp_path.iterdir())


def test_training_tells_its_progress_and_its_choices(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\n" * 400)
    steps, notes = [], []
    sizes = {"hidden_size": 8, "ngrams": 1, "batch_size": 4, "sequence_length": 8}
    model = nlpseq.train(
        "lm", corpus, out=tmp_path / "model", steps=5, device="cpu", progress=steps.append, note=notes.append, **sizes
    )
    assert [record.step for record in steps] == [1, 2, 3, 4, 5]
    assert notes[0].startswith("lstm 1x8, embedding ")
    assert isinstance(model, nlpseq.LanguageModel)
    with pytest.raises(RunError, match="holds a run already"):
        nlpseq.train("lm", corpus, out=tmp_path / "model", steps=5)
    with pytest.raises(CorpusError, match="there is no such file or corpus"):
        nlpseq.train("lm", tmp_path / "missing.txt", out=tmp_path / "other", steps=5)


def test_an_interrupted_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "ngrams": 1, "batch_size": 4, "sequence_length": 8, "device": "cpu", "steps": 6}

    def interrupt(record: Any) -> None:
        if record.step == 3:
            os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt):
        nlpseq.train("lm", "stories", out=tmp_path / "model", progress=interrupt, **sizes)
    steps: list[Any] = []
    nlpseq.train("lm", "stories", out=tmp_path / "model", resume=True, progress=steps.append, **sizes)
    assert steps[0].step in (4, 5) and steps[-1].step == 6


def test_a_run_of_another_task_is_not_resumed(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "ngrams": 1, "batch_size": 4, "sequence_length": 8, "device": "cpu", "steps": 6}

    def interrupt(record: Any) -> None:
        os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt):
        nlpseq.train("lm", "stories", out=tmp_path / "model", progress=interrupt, **sizes)
    for task in ("sentiment", "translation"):
        with pytest.raises(RunError, match=f"holds a run of another task than train {task}") as refused:
            nlpseq.train(task, out=tmp_path / "model", resume=True)
        assert refused.value.hint == f"nlpseq train lm --resume --out {tmp_path / 'model'}"
    with pytest.raises(OptionError, match="cell: was lstm when the run was started, is gru now"):
        nlpseq.train("lm", out=tmp_path / "model", resume=True, cell="gru")
    with pytest.raises(OptionError, match="init_from: was left open when the run was started, is "):
        nlpseq.train("lm", out=tmp_path / "model", resume=True, init_from=tmp_path / "model")
    notes: list[str] = []
    nlpseq.train("lm", "python-docs", out=tmp_path / "model", resume=True, steps=7, note=notes.append)
    assert "the run continues with the text of python-docs" in notes


def test_training_works_beside_the_main_thread(tmp_path: Path) -> None:
    models: list[Any] = []
    sizes = {"hidden_size": 8, "ngrams": 1, "batch_size": 4, "sequence_length": 8, "device": "cpu", "steps": 2}
    thread = threading.Thread(
        target=lambda: models.append(nlpseq.train("lm", "stories", out=tmp_path / "model", **sizes))
    )
    thread.start()
    thread.join()
    assert models and models[0].scores
