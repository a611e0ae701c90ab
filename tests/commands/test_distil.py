"""`nlpseq distil` at the shell: a student, its table, its objects, going on, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import nlpseq as package
from nlpseq.models.model_file import load_model

Run = Callable[..., Result]

ROWS = [
    f"{'up' if number % 2 else 'down'}\tthe {number} film is {'fine' if number % 2 else 'grim'}" for number in range(80)
]


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classifier, in the folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    Path("texts.tsv").write_text("\n".join(["label\ttext", *ROWS]) + "\n")
    package.train("sentiment", "texts.tsv", out="t", hidden_size=16, steps=4, device="cpu", tokens="word")
    return Path("t")


def test_teacher_and_student_are_shown_side_by_side(nlpseq: Run, teacher: Path) -> None:
    done = nlpseq("distil", "t", "--steps", "4", "--out", "s")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    table = next(number for number, line in enumerate(lines) if "bytes" in line.split())
    assert lines[table].split()[:4] == ["bytes", "texts/s", "speed", "accuracy"]
    first, second = (lines[table + number].split() for number in (1, 2))
    assert (first[:2], second[:2]) == (["teacher", "t"], ["student", "s"])
    assert [int(row[2].replace(",", "")) for row in (first, second)] == [
        Path(name, "model.safetensors").stat().st_size for name in ("t", "s")
    ]
    assert first[4] == "1.00x"
    assert "measured now" in lines[table + 3]
    assert load_model(Path("s")).options["hidden_size"] == 8


def test_objects_have_all_scores(nlpseq: Run, teacher: Path) -> None:
    done = nlpseq("distil", "t", "texts.tsv", "--steps", "4", "--out", "s", "--hidden-size", "4", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events[-2:]] == ["result", "compared"]
    one, other = events[-1]["models"]
    assert (one["role"], other["role"]) == ("teacher", "student")
    own = {score["name"]: score["value"] for score in load_model(Path("t")).header["scores"]}
    assert {score["name"]: score["value"] for score in one["scores"]} == pytest.approx(own, rel=1e-3)
    assert min(model["per_second"] for model in events[-1]["models"]) > 0


def test_a_distilled_run_goes_on_without_naming_its_teacher(nlpseq: Run, teacher: Path) -> None:
    assert nlpseq("distil", "t", "--steps", "4", "--out", "s", "-q").exit_code == 0
    done = nlpseq("distil", "--resume", "--out", "s", "--steps", "8")
    assert done.exit_code == 0, done.stderr
    assert "8 steps" in done.stdout and "teacher t" in done.stdout


def test_plain_text_is_labelled_by_the_teacher(nlpseq: Run, teacher: Path) -> None:
    Path("plain.txt").write_text("".join(row.split("\t")[1] + "\n" for row in ROWS))
    done = nlpseq("distil", "t", "plain.txt", "--steps", "4", "--out", "s")
    assert done.exit_code == 0, done.stderr
    assert "agrees with it" in done.stderr


def test_a_corpus_with_the_name_of_a_model_is_named_by_an_option(nlpseq: Run, teacher: Path) -> None:
    done = nlpseq("distil", "t", "--corpus", "texts.tsv", "--steps", "4", "--out", "s", "-q")
    assert done.exit_code == 0, done.stderr
    assert load_model(Path("s")).header["data"]["corpus"] == ["texts.tsv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "must be a run folder or a model file"),
        (("texts.tsv",), "comes first"),
        (("t", "--soft", "2"), "must be at most 1"),
        (("t", "--length-penalty", "1"), "length-penalty"),
        (("t", "--source", "a", "--target", "b"), "no option of training a classifier"),
        (("t", "missing.tsv"), "missing.tsv"),
        (("t", "--resume", "--out", "t"), "without a teacher"),
    ],
)
def test_mistakes_are_told_in_a_sentence(nlpseq: Run, teacher: Path, arguments: tuple[str, ...], said: str) -> None:
    done = nlpseq("distil", *arguments)
    assert done.exit_code in (1, 2)
    assert said in done.stderr and "Traceback" not in done.stderr


def test_python_has_the_same(teacher: Path) -> None:
    notes: list[str] = []
    student = package.distil("t", out="s", steps=4, device="cpu", note=notes.append)
    assert student.options.hidden_size == 8
    assert "learns from t" in notes


def test_the_help_does_not_speak_of_options_that_are_arguments_here(nlpseq: Run) -> None:
    whole = nlpseq("distil", "--help-all").stdout
    assert "--soft" in whole and "--originals" in whole
    assert "--teacher" not in whole and "--unlabelled" not in whole
    assert nlpseq("distil", "reviews", "--unlabelled", "x.txt").exit_code == 2
