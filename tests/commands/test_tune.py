"""`nlpseq tune` at the shell: its options, its table and its errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from nlpseq.commands.tables.trial_table import evaluation_lines, options_text, trial_line, trial_lines
from nlpseq.commands.training.screen import open_screen
from nlpseq.commands.training.trials import show_report
from nlpseq.training.tuning.trial import Trial

Run = Callable[..., Result]

TRIALS = [
    Trial(0, {}, "complete", 1.0, {"accuracy": 80.0, "loss": 0.5}, 100, 12.3, 1),
    Trial(1, {"dropout": 0.4, "tokens": "word"}, "complete", 0.95, {"accuracy": 81.0, "loss": 0.4}, 90, 11.0, 1),
    Trial(2, {"ngrams": 4}, "pruned", None, {}, None, 3.0, 1, "behind at validation 4"),
]


def test_a_trial_is_one_line() -> None:
    assert trial_line(TRIALS[0]) == ["trial 0: complete  value 1.000  accuracy 80  loss 0.5  12 s  defaults"]
    assert trial_line(TRIALS[2]) == ["trial 2: pruned (behind at validation 4)  3 s  --ngrams 4"]
    assert "\x1b" not in trial_line(Trial(3, {}, "failed", None, {}, None, 1.0, 1, "a\x1b[2Jname"))[0]


def test_the_table_marks_the_best_trial() -> None:
    lines = trial_lines([trial.as_json() for trial in TRIALS], best=1)
    assert [line.split()[0] for line in lines] == ["trial", "0", "1*", "2"]
    assert lines[2].endswith("--dropout 0.4 --tokens word")
    assert lines[3].endswith("--ngrams 4  (behind at validation 4)")


@pytest.mark.parametrize("width", [72, 80, 100])
def test_options_that_do_not_fit_on_a_terminal_are_below_their_trial(width: int) -> None:
    options = {"learning_rate": 0.0042, "dropout": 0.4, "label_smoothing": 0.05, "hidden_size": 128, "tokens": "word"}
    trials = [TRIALS[0], Trial(1, options, "complete", 0.9, {"accuracy": 81.0, "loss": 0.4}, 90, 11.0, 1, "0 again")]
    table = trial_lines([trial.as_json() for trial in trials], best=1, width=width)
    line = trial_line(trials[1], width)
    assert max(map(len, [*table, *line])) <= width
    assert table[1].split()[-1] == "defaults", "what fits stays in its line"
    whole = trial_lines([trial.as_json() for trial in trials], best=1)
    assert len(whole) == 3
    assert " ".join(table).split() == " ".join(whole).split()
    assert sorted(" ".join(line).split()) == sorted(trial_line(trials[1])[0].split())


@pytest.mark.parametrize(("value", "texts"), [(100.0, 40), (0.0, 40), (100.0, 1)])
def test_the_standard_error_of_an_accuracy_never_vanishes(value: float, texts: int) -> None:
    score = {"name": "accuracy", "value": value, "signature": "accuracy|labels:2", "parts": {"texts": float(texts)}}
    lines = evaluation_lines([{"run": "kept", "trial": 0, "steps": 1, "seconds": 1.0, "scores": [score]}])
    points = float(lines[2].split()[-2])
    rare = 1 / (texts + 2)
    assert points == pytest.approx(100 * (rare * (1 - rare) / texts) ** 0.5, abs=0.051)
    assert points > 1


def test_scores_on_the_test_part_have_a_line_for_each_model_and_a_signature() -> None:
    def row(run: str, value: float) -> dict[str, Any]:
        parts = {"texts": 400.0}
        score = {"name": "accuracy", "value": value, "signature": "accuracy|labels:2", "parts": parts}
        return {"run": run, "trial": 0, "steps": 100, "seconds": 12.3, "scores": [score]}

    lines = evaluation_lines([row("defaults", 80.0), row("kept", 90.0)])
    assert lines[1].split() == ["defaults", "0", "100", "12", "80", "%"]
    assert lines[2].split() == ["kept", "0", "100", "12", "90", "%"]
    # 361 / 402 = 0.898, and the root of 0.898 * 0.102 / 400 is 0.0151
    assert lines[3] == "400 texts: the standard error of an accuracy is 1.5 points"
    assert lines[-1].strip() == "accuracy|labels:2"
    assert evaluation_lines([]) == []


def test_options_are_spelled_as_they_are_typed() -> None:
    assert options_text({"hidden_size": 88, "tokens": "word"}) == "--hidden-size 88 --tokens word"
    assert options_text({}) == "defaults"


def test_without_optuna_the_way_to_install_it_is_told(
    nlpseq: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = nlpseq("tune", "lm", "stories", "--out", tmp_path / "run")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "error: nlpseq tune: needs Optuna, which is not installed\nhint:  pip install 'nlpseq[tune]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_search_has_no_steps_and_is_not_resumed(nlpseq: Run, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    for flag in ("--steps=5", "--epochs=2", "--resume", "--processes=2"):
        done = nlpseq("tune", "sentiment", "reviews", flag)
        assert done.exit_code == 2
        assert ("hint:  nlpseq tune sentiment reviews --minutes 30" in done.stderr) == (flag[2] in "se")
        assert f"there is no option {flag.partition('=')[0]}" in done.stderr
    done = nlpseq("tune", "sentiment", "reviews", "--minutes", "0")
    assert done.exit_code == 2 and "minutes" in done.stderr
    config = tmp_path / "run.toml"
    config.write_text("[training]\nsteps = 5\n")
    assert nlpseq("tune", "sentiment", "reviews", "--config", config, "--minutes", "0").exit_code == 2


def test_a_few_seconds_are_for_the_defaults_and_json_is_one_object(nlpseq: Run, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    path, test = tmp_path / "corpus.txt", tmp_path / "test.txt"
    path.write_text("the cat sat on the mat\n" * 100)
    test.write_text("the cat sat on the hat\n" * 20)
    small = ("--hidden-size", "8", "--embedding-size", "8", "--device", "cpu")
    out = tmp_path / "run"
    done = nlpseq("tune", "lm", path, "--test", test, "--minutes", "0.01", "--out", out, "--json", *small)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((out / "tuning.json").read_text())
    assert len(report["trials"]) == 1 and report["defaults_are_best"]
    assert "0.6 seconds are only enough for the defaults" in done.stderr
    assert report["minutes"] == 0.01
    assert "no other options were tried" in done.stderr
    assert f"the same model again: {report['command']}" in done.stderr
    assert nlpseq("evaluate", test, "-m", out).exit_code == 0
    again = nlpseq("tune", "lm", path, "--test", test, "--out", out)
    assert again.exit_code == 1 and again.stderr.endswith("hint:  add --overwrite or --out FOLDER\n")


def test_the_printed_commands_have_folders_of_their_own(nlpseq: Run, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    path, out = tmp_path / "corpus.txt", tmp_path / "run"
    path.write_text("the cat sat on the mat\n" * 1500)
    small = ("--hidden-size", "8", "--embedding-size", "8", "--device", "cpu", "--minutes", "0.01")
    done = nlpseq("tune", "lm", path, "--out", out, "--json", *small)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    folders = [report[name].split("--out ")[1] for name in ("command", "command_for_whole")]
    assert folders == [f"{out}-again", f"{out}-whole"]


def test_what_is_wrong_with_a_part_is_told_of_the_corpus(nlpseq: Run, tmp_path: Path) -> None:
    """Two texts of each label are enough for labels, but one of them is held out for the last evaluation."""
    pytest.importorskip("optuna")
    path, out = tmp_path / "corpus.tsv", tmp_path / "run"
    path.write_text("label\ttext\n" + "".join(f"kind {index % 50}\tthe text {index}\n" for index in range(100)))
    done = nlpseq("tune", "sentiment", path, "--out", out, "--minutes", "0.01", "--device", "cpu")
    assert done.exit_code == 1
    assert f"error: {path}: it has 50 different labels" in done.stderr
    assert "train.jsonl" not in done.stderr


def test_nothing_is_said_to_be_worse_if_nothing_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    tried = [trial.as_json() for trial in TRIALS]
    for trials, said in ((tried[:1], "tried"), (tried, "better than the defaults")):
        report = {
            "model": "run/model.safetensors",
            "seconds": 12.3,
            "stopped": None,
            "best": 0,
            "defaults_are_best": True,
            "trials": trials,
            "test": [],
            "command": "nlpseq train lm",
            "command_for_whole": None,
        }
        show_report(report, open_screen(quiet=False, json=False), json=False)
        assert f"no other options were {said}\n" in capsys.readouterr().err
