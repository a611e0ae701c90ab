"""`--like RUN` repeats the options of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from nlpseq.tasks import COMMANDS
from nlpseq.training.requests import make_request

Make = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """`make_run("lm", steps=300)`: the folder of a run of these options, as far as they were set."""

    def make(verb: str, *corpus: str, **options: Any) -> Path:
        task, folder = COMMANDS[verb], tmp_path / "run"
        request = make_request(task, corpus, {name: value for name, value in options.items()})
        training = replace(request.training, minutes=None, learning_rate=0.003, steps=options.get("steps", 321))
        model = replace(request.model, hidden_size=48)
        config = {
            "version": "0.1.0",
            "task": task.name,
            "asked": json.loads(json.dumps(request.as_json())),
            "model": asdict(model),
            "training": asdict(training),
        }
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def test_the_values_that_were_used_are_repeated(ask: Any, make_run: Make) -> None:
    run = make_run("lm", "a.txt", valid="b.txt", minutes=5.0, clip=2.0, tokens="byte")
    for path in (run, run / "config.json"):
        request = ask("lm", "--like", path)
        assert (request.corpus, request.valid) == (("a.txt",), ("b.txt",))
        training = request.training
        assert (training.steps, training.minutes, training.learning_rate, training.clip) == (321, None, 0.003, 2.0)
        assert (request.model.hidden_size, request.corpus_options.tokens) == (48, "byte")


def test_the_folder_is_not_taken_over(ask: Any, make_run: Make) -> None:
    request = ask("lm", "--like", make_run("lm", out="elsewhere", overwrite=True))
    assert (request.out, request.overwrite, request.resume) == (Path("checkpoints/lm"), False, False)


def test_what_is_set_replaces_what_is_repeated(ask: Any, make_run: Make) -> None:
    run = make_run("lm", "a.txt", valid="b.txt", clip=2.0)
    request = ask("lm", "--like", run, "--minutes", 2, "--hidden-size", 8, "--valid", "c.txt")
    assert (request.training.minutes, request.training.steps, request.training.clip) == (2.0, None, 2.0)
    assert (request.model.hidden_size, request.corpus, request.valid) == (8, ("a.txt",), ("c.txt",))


def test_another_corpus_replaces_the_validation_text_too(ask: Any, make_run: Make) -> None:
    request = ask("lm", "other.txt", "--like", make_run("lm", "a.txt", valid="b.txt"))
    assert (request.corpus, request.valid) == (("other.txt",), ())


def test_pairs_are_repeated_as_they_were_named(ask: Any, make_run: Make) -> None:
    run = make_run("translation", source="a.en", target="a.de", batch_tokens=500)
    request = ask("translation", "--like", run)
    assert (request.source, request.target, request.corpus) == (Path("a.en"), Path("a.de"), ())
    other = ask("translation", "pairs.tsv", "--like", run, "--batch-size", 7)
    assert (other.source, other.target, other.corpus) == (None, None, ("pairs.tsv",))
    assert (other.training.batch_size, other.training.batch_tokens) == (7, None)


def test_columns_are_repeated(ask: Any, make_run: Make) -> None:
    assert ask("translation", "--like", make_run("translation", "a.tsv", columns="en,de")).columns == "en,de"


def test_a_run_file_may_name_the_run_and_wins_over_it(ask: Any, make_run: Make, tmp_path: Path) -> None:
    run, config = make_run("lm", clip=2.0), tmp_path / "run.toml"
    config.write_text(f"like = {json.dumps(str(run))}\n[model]\nhidden_size = 16\n")
    request = ask("lm", "--config", config)
    assert (request.model.hidden_size, request.training.clip, request.training.steps) == (16, 2.0, 321)


def test_run_of_another_task_is_refused(ask: Any, make_run: Make) -> None:
    run = make_run("sentiment")
    assert ask.refused("train", "lm", "--like", run) == (
        f"error: {run}: is a run of train sentiment, not of train lm\nhint:  nlpseq train sentiment --like {run}\n"
    )


def test_resuming_is_no_repetition(ask: Any, make_run: Make) -> None:
    told = ask.refused("train", "lm", "--resume", "--like", make_run("lm"))
    assert told.startswith("error: --like and --resume: exclude each other")


def test_missing_run_has_a_neighbour(ask: Any, make_run: Make) -> None:
    run = make_run("lm")
    told = ask.refused("train", "lm", "--like", run.with_name("runs"))
    assert told == f"error: {run.with_name('runs')}: no such run\nhint:  did you mean {run}?\n"


def test_folder_of_runs_names_one(ask: Any, make_run: Make, tmp_path: Path) -> None:
    run = make_run("lm")
    assert ask.refused("train", "lm", "--like", tmp_path) == f"error: {tmp_path}: holds no run\nhint:  --like {run}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: "{", "is damaged: it is not JSON"),
        (lambda config: "[]", "is damaged: it is not an object"),
        (lambda config: config | {"task": "poet"}, "names no task of this version"),
        (lambda config: config | {"asked": 5}, "is damaged, or of another version"),
        (lambda config: config | {"model": None}, "is damaged, or of another version"),
        (
            lambda config: config | {"training": config["training"] | {"clip": "fast"}},
            "clip must be a number, was 'fast'",
        ),
        (lambda config: config | {"training": config["training"] | {"clip": -1.0}}, "clip must be above 0, was -1"),
    ],
)
def test_damaged_configuration_is_refused(ask: Any, make_run: Make, change: Callable[[Any], Any], said: str) -> None:
    path = make_run("lm") / "config.json"
    changed = change(json.loads(path.read_text()))
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    told = ask.refused("train", "lm", "--like", path.parent)
    assert told.startswith(f"error: {path}: ")
    assert said in told
