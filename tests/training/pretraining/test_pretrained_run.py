"""A language model and then a classifier, in one command: repeated, stopped anywhere, and what is refused."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpseq.api.training import train
from nlpseq.errors import CorpusError, Interrupted, NlpseqError, OptionError, RunError
from nlpseq.models.model_file import read_tensors
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL
from nlpseq.training import repeating
from nlpseq.training.parts import Part, training_parts
from nlpseq.training.requests import make_request
from nlpseq.training.run_folder import RunFolder

WORDS = ["red", "old", "dull", "warm", "fine", "cold"]
LENGTH: dict[str, Any] = {"unlabelled_steps": 6, "steps": 8}
SMALL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "save_every": 2, "random_seed": 3}
SECONDS = 90


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with labelled texts and texts without labels, which is the working folder."""
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(WORDS, 5)) for _ in range(900)]
    rows = [f"{'up' if 'warm' in text else 'down'}\t{text}\n" for text in texts[:200]]
    (tmp_path / "texts.tsv").write_text("label\ttext\n" + "".join(rows))
    (tmp_path / "unlabelled.txt").write_text("".join(f"{text}.\n" for text in texts[200:]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _request(out: str = "run", **options: Any) -> Any:
    asked = {"unlabelled": ["unlabelled.txt"], **LENGTH, **SMALL, **options, "out": out}
    corpora = [] if options.get("resume") else ["texts.tsv"]
    return make_request(CLASSIFIER, corpora, {name: value for name, value in asked.items() if value is not None})


def _resume(out: str = "run", **options: Any) -> Any:
    return make_request(CLASSIFIER, [], {"resume": True, "out": out, **options})


def _train(request: Any, watch: Callable[[int, Any], object] = lambda number, run: None) -> list[Any]:
    """Train all parts; `watch` is called after a part was created, after each of its steps, and after its end."""
    runs = []
    parts = training_parts(CLASSIFIER, request)
    try:
        for part in parts:
            runs.append(part.create())
            watch(len(runs), runs[-1])
            for _ in runs[-1].progress():
                watch(len(runs), runs[-1])
            runs[-1].finish()
            watch(len(runs), runs[-1])
    finally:
        parts.close()
    return runs


def _weights(out: str = "run") -> list[dict[str, np.ndarray]]:
    return [read_tensors(Path(out, *inside, "model.safetensors"))[1] for inside in ((), ("language-model",))]


@cache
def _whole() -> list[dict[str, np.ndarray]]:
    """The weights of a run that was not stopped; the corpus is the same in every test."""
    _train(_request("whole"))
    return _weights("whole")


def _assert_equal(found: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    for mine, other in zip(found, expected, strict=True):
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_a_language_model_is_trained_first_and_the_classifier_starts_from_it(corpus: Path) -> None:
    notes: list[str] = []
    train("sentiment", "texts.tsv", unlabelled=["unlabelled.txt"], **LENGTH, **SMALL, out="run", note=notes.append)
    titles = [note for note in notes if note[1:].startswith(" of 2: ")]
    assert titles == ["1 of 2: language model of 700 texts", "2 of 2: classifier of 180 texts"]
    first, second = (
        json.loads((folder / "config.json").read_text()) for folder in (Path("run/language-model"), Path("run"))
    )
    assert (first["task"], first["result"]["steps"]) == (LANGUAGE_MODEL.name, 6)
    assert (second["task"], second["result"]["steps"]) == (CLASSIFIER.name, 8)
    assert "|text:held-out-of-unlabelled.txt#" in first["result"]["valid"]["signature"]
    assert first["tokeniser"] == second["tokeniser"]
    assert first["model"]["hidden_size"] == second["model"]["hidden_size"] == 12
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "config.json",
        "history.jsonl",
        "language-model",
        "model.safetensors",
        "resume.safetensors",
    ]
    train("sentiment", "texts.tsv", init_from="run/language-model", steps=8, random_seed=3, lowercase=True, out="other")
    _assert_equal([_weights()[0]], [read_tensors(Path("other/model.safetensors"))[1]])


def test_the_printed_command_repeats_a_run_of_minutes(corpus: Path) -> None:
    runs = _train(_request(minutes=0.04, steps=None, unlabelled_steps=None, hidden_size=None, embedding_size=None))
    (printed,) = [line for line in runs[-1].endings() if line.startswith("the same model again: nlpseq train ")]
    words = shlex.split(printed.partition("nlpseq train ")[2])
    assert "--unlabelled-steps" in words and "--steps" in words and "--init-from" not in words
    config = json.loads(Path("run/config.json").read_text())
    options = repeating.repeated(config)
    again = make_request(CLASSIFIER, options.pop("corpus"), {**options, "out": "again"})
    _train(again)
    _assert_equal(_weights("again"), _weights())


MOMENTS = {
    "the language model is about to begin": (1, 0),
    "it has not been saved": (1, 1),
    "it has been saved": (1, 5),
    "it is finished": (1, 6),
    "the classifier is about to begin": (2, 0),
    "the classifier has been saved": (2, 5),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("overwrites", [False, True], ids=["new", "in place of an earlier run"])
def test_a_run_that_is_killed_anywhere_ends_as_if_it_had_not_been(moment: str, overwrites: bool, corpus: Path) -> None:
    whole = _whole()
    if overwrites:
        _train(_request(steps=2, unlabelled_steps=1, random_seed=9))
    found: list[bool] = []

    def kill(number: int, run: Any) -> None:
        finished = run.config.get("finished", False)
        if (
            (number, run.run.step) == MOMENTS[moment]
            and not found
            and (finished or run.run.step != run.run.counters.total)
        ):
            found.append(True)
            shutil.copytree("run", "killed")

    _train(_request(overwrite=overwrites), kill)
    assert found
    shutil.rmtree("run")
    Path("killed").rename("run")
    _train(_resume())
    _assert_equal(_weights(), whole)
    assert not Path("run/.unlabelled").exists()
    with pytest.raises(RunError, match="its run is finished"):
        _train(_resume())


@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_stops_either_part_and_the_same_command_continues_it(number: int, corpus: Path) -> None:
    whole = _whole()

    def interrupt(part: int, run: Any) -> None:
        if part == number and run.run.step == 3:
            run.run.signal_number = signal.SIGINT

    with pytest.raises(Interrupted):
        _train(_request(), interrupt)
    with pytest.raises(RunError, match="run: holds a run already"):
        _train(_request())
    same = {"unlabelled": ["unlabelled.txt"], **LENGTH, **SMALL, "resume": True, "out": "run"}
    _train(make_request(CLASSIFIER, ["texts.tsv"], same))
    _assert_equal(_weights(), whole)


def test_an_earlier_run_stays_until_the_classifier_begins(corpus: Path) -> None:
    _train(_request())
    before = _weights()[0]

    def look(number: int, run: Any) -> None:
        if number == 1:
            _assert_equal([_weights()[0]], [before])

    _train(_request(overwrite=True, random_seed=4), look)
    assert not np.array_equal(_weights()[0]["output.weight"], before["output.weight"])


def test_nothing_is_left_of_a_run_whose_texts_cannot_be_learned(corpus: Path) -> None:
    Path("unlabelled.txt").write_text("\n\n")
    with pytest.raises(CorpusError, match=r"unlabelled\.txt"):
        _train(_request())
    assert not Path("run").exists()


def test_only_one_run_is_trained_into_a_folder(corpus: Path) -> None:
    pytest.importorskip("fcntl")
    parts = training_parts(CLASSIFIER, _request())
    assert isinstance(next(parts), Part)
    with pytest.raises(RunError, match="another run is training into it now"):
        RunFolder(Path("run")).open(resume=True, overwrite=False)
    parts.close()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"init_from": "model"}, "unlabelled and init_from: are alternatives"),
        ({"teacher": ["model"]}, "unlabelled and teacher: exclude each other"),
        ({"unlabelled": []}, "unlabelled_steps: is for a language model"),
        ({"steps": None}, "unlabelled_steps: goes with --steps or --epochs"),
        ({"steps": None, "minutes": 3}, "unlabelled_steps: goes with --steps or --epochs"),
        ({"unlabelled": [""]}, "unlabelled: must be a file"),
        ({"unlabelled_steps": 0}, "unlabelled_steps: must be at least 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str, corpus: Path) -> None:
    with pytest.raises(OptionError, match=message):
        _request(**options)


def test_what_was_asked_for_cannot_be_changed_before_the_classifier_begins(corpus: Path) -> None:
    def interrupt(part: int, run: Any) -> None:
        run.run.signal_number = signal.SIGTERM

    with pytest.raises(Interrupted):
        _train(_request(), interrupt)
    for options, name in (
        ({"steps": 9}, "steps"),
        ({"unlabelled": ["other"]}, "unlabelled"),
        ({"dropout": 0.1}, "dropout"),
    ):
        with pytest.raises(OptionError, match=f"{name}: cannot be changed before"):
            _train(_resume(**options))
    assert [type(run).__name__ for run in _train(_resume(save_every=1))] == ["PretrainingRun", "PretrainedRun"]
    with pytest.raises(OptionError, match=r"unlabelled: was unlabelled.txt"):
        _train(_resume(unlabelled=["other"], steps=20))
    assert len(_train(_resume(unlabelled=["unlabelled.txt"], steps=12))) == 1


def test_a_run_that_was_started_without_such_texts_is_not_given_any(corpus: Path) -> None:
    train("sentiment", "texts.tsv", steps=2, out="run")
    with pytest.raises(OptionError, match="unlabelled: was left open"):
        _train(_resume(unlabelled=["unlabelled.txt"], steps=4))


def test_a_search_refuses_them(corpus: Path) -> None:
    from nlpseq.api.tuning import tune

    with pytest.raises(NlpseqError, match="unlabelled: is no option of a search"):
        tune("sentiment", "texts.tsv", unlabelled=["unlabelled.txt"])


# The command.


def _start(*arguments: str, **streams: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nlpseq", "train", "sentiment", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(command, text=True, env=environment, **pipes)


FLAGS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_standard_input_is_needed_once_and_ctrl_c_says_how_to_go_on(corpus: Path) -> None:
    length = ["--unlabelled-steps", "100000", "--steps", "4"]
    with Path("unlabelled.txt").open() as texts:
        run = _start("texts.tsv", "--unlabelled", "-", *length, *FLAGS, "--out", "run", stdin=texts)
    try:
        last = time.monotonic() + SECONDS
        while not Path("run/language-model/resume.safetensors").exists():
            assert time.monotonic() < last and run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=SECONDS)
    finally:
        run.kill()
    assert run.returncode == 130
    assert "1 of 2: language model of 700 texts\n" in said
    assert said.splitlines()[-1].endswith("; continue with: nlpseq train sentiment --resume --out run")
    plan = Path("run/.unlabelled/plan.json")
    asked = json.loads(plan.read_text())
    assert asked["language_model"]["steps"] == 100000
    again = _start("--resume", "--out", "run", "--steps", "5", stdin=subprocess.DEVNULL)
    assert "error: --steps: cannot be changed" in again.communicate(timeout=SECONDS)[1]


def test_a_missing_file_is_named_before_any_work(corpus: Path) -> None:
    run = _start("texts.tsv", "--unlabelled", "unlabeled.txt", "--steps", "2", "--out", "run")
    out, said = run.communicate(timeout=SECONDS)
    assert (run.returncode, out) == (1, "")
    assert said.splitlines() == [
        "error: unlabeled.txt: there is no such file or corpus",
        "hint:  did you mean unlabelled.txt?",
    ]
    assert not Path("run").exists()


def test_several_processes_train_both_parts(corpus: Path) -> None:
    length = [word for name, value in LENGTH.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    run = _start(
        "texts.tsv",
        "--unlabelled",
        "unlabelled.txt",
        *length,
        *FLAGS,
        "--out",
        "run",
        "--processes",
        "2",
        "--device",
        "cpu",
    )
    out, said = run.communicate(timeout=SECONDS)
    assert run.returncode == 0, said
    assert out.startswith("run/model.safetensors  8 steps")
    for folder, steps in (("run/language-model", 6), ("run", 8)):
        config = json.loads(Path(folder, "config.json").read_text())
        assert (config["machine"]["processes"], config["result"]["steps"]) == (2, steps)
