"""`nlpseq generate` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_a_text_begins_with_its_seed_and_ends_its_line(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("generate", "-m", model_path, "--seed", "the cat", "--length", 20)
    assert done.exit_code == 0
    assert done.stdout.startswith("the cat")
    assert done.stdout.endswith("\n")
    assert done.stderr == ""


def test_the_length_is_that_of_what_is_added(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("generate", "-m", model_path, "--seed", "the cat", "--length", 20, "--json")
    made = json.loads(done.stdout)
    assert (made["seed"], made["tokens"]) == ("the cat", 20)
    assert made["log_probability"] < 0
    assert len(made["text"]) <= 20


def test_the_seed_can_be_left_out_of_the_text(nlpseq: Run, model_path: Path) -> None:
    same = ["generate", "-m", model_path, "--seed", "<ö [bold]>", "--length", 9, "--random-seed", 3]
    assert nlpseq(*same).stdout == "<ö [bold]>" + nlpseq(*same, "--no-echo").stdout


def test_a_random_seed_repeats_a_text(nlpseq: Run, model_path: Path) -> None:
    same = ["generate", "-m", model_path, "--length", 30]
    first = nlpseq(*same, "--random-seed", 3).stdout
    assert nlpseq(*same, "--random-seed", 3).stdout == first != nlpseq(*same, "--random-seed", 4).stdout


def test_samples_stand_apart(nlpseq: Run, model_path: Path) -> None:
    same = ["generate", "-m", model_path, "-n", 3, "--length", 30, "--random-seed", 3]
    made = [json.loads(line)["text"] for line in nlpseq(*same, "--json").stdout.splitlines()]
    assert nlpseq(*same).stdout == "\n".join(text.removesuffix("\n") + "\n" for text in made)


def test_a_stop_string_is_not_shown(nlpseq: Run, model_path: Path) -> None:
    same = ["generate", "-m", model_path, "--random-seed", 3, "--length", 200]
    whole = nlpseq(*same).stdout
    stopped = nlpseq(*same, "--stop", "e", "--stop", "zzz").stdout
    assert stopped.rstrip("\n") == whole.partition("e")[0].rstrip("\n")


@pytest.mark.parametrize("extra", [[], ["--json"]], ids=["text", "json"])
def test_each_line_gives_a_line(nlpseq: Run, model_path: Path, odd_file: bytes, extra: list[str]) -> None:
    lines = odd_file[:3000].split(b"\n")[:12]
    data = b"\n".join(lines) + b"\n"
    done = nlpseq("generate", "-m", model_path, "--seed", "-", "--length", 5, *extra, input=data)
    assert done.exit_code == 0
    assert done.stdout_bytes.count(b"\n") == len(lines)
    done.stdout_bytes.decode("utf-8")


def test_a_line_that_is_not_utf8_says_so(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("generate", "-m", model_path, "--seed", "-", "--length", 3, "--json", input=b"ok\n\xff\n")
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "invalid-utf8"]
    assert done.stderr == "note: 1 line was not UTF-8, and read byte by byte\n"


def test_a_text_goes_on_from_a_saved_state(nlpseq: Run, model_path: Path, tmp_path: Path) -> None:
    same = ["generate", "-m", model_path, "--temperature", 0]
    whole = nlpseq(*same, "--seed", "the cat", "--length", 30, "--json")
    first = nlpseq(*same, "--seed", "the cat", "--length", 12, "--save-state", tmp_path / "s", "--json")
    second = nlpseq(*same, "--length", 18, "--state", tmp_path / "s", "--json")
    parts = [json.loads(done.stdout)["text"] for done in (first, second)]
    assert "".join(parts) == json.loads(whole.stdout)["text"]


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--seed", "-", "-n", "2"], 2, "--samples: goes with a single seed"),
        (["--save-state", "s", "-n", "2"], 2, "--save-state: saves the state after one text"),
        (["--top-p", "0"], 2, "--top-p: must be above 0, was 0.0"),
        (["--state", "nowhere"], 1, "nowhere: there is no such state"),
    ],
)
def test_what_cannot_be_is_refused(nlpseq: Run, model_path: Path, flags: list[str], status: int, said: str) -> None:
    done = nlpseq("generate", "-m", model_path, *flags, input=b"")
    assert (done.exit_code, done.stdout) == (status, "")
    assert f"error: {said}" in done.stderr


def test_without_a_model_the_bundled_one_is_used_and_a_line_says_so(
    nlpseq: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = "the bundled model stories (176 kB of short stories)"
    note = f"no model in checkpoints/lm yet: using {model}; nlpseq train lm trains your own"
    done = nlpseq("generate", "--length", "30", "--random-seed", "1")
    assert (done.exit_code, done.stderr) == (0, f"note: {note}\n")
    for options in (("-q",), ("-m", "stories")):
        same = nlpseq("generate", "--length", "30", "--random-seed", "1", *options)
        assert (same.exit_code, same.stdout, same.stderr) == (0, done.stdout, "")


def test_without_any_model_the_error_says_how_to_make_one(
    nlpseq: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nlpseq.models.model_path.FOLDERS", ())
    done = nlpseq("generate")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: checkpoints/lm: no such model\nhint:  nlpseq train lm")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[: len(data) // 2], "is damaged"),
        (lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:], "is damaged"),
        (lambda data: b"", "is damaged"),
        (lambda data: b"hello, I am a text\n", "is damaged, or not a model file"),
        (lambda data: data.replace(rb"\"format\": 1", rb"\"format\": 7"), "is of format 7"),
    ],
    ids=["truncated", "flipped", "empty", "foreign", "newer"],
)
def test_a_bad_model_file_is_refused(
    nlpseq: Run, model_path: Path, tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(model_path.read_bytes()))
    for verb in ("generate", "score", "evaluate"):
        done = nlpseq(verb, "-m", path, input=b"")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: {path}: {said}")


def test_a_model_of_another_task_is_refused(nlpseq: Run, other_task: Path) -> None:
    done = nlpseq("generate", "-m", other_task)
    assert done.exit_code == 1
    assert "is a classifier, a language model is needed" in done.stderr


@pytest.mark.parametrize("narrow", ["bf16", "int8"])
def test_the_precision_is_that_of_the_models_numbers(narrow: str, nlpseq: Run, model_path: Path) -> None:
    def log_probability(precision: str) -> float:
        flags = ["--length", "20", "--random-seed", "1", "--precision", precision, "--json"]
        done = nlpseq("generate", "-m", str(model_path), "--seed", "the cat", "--top-k", "1", *flags)
        assert done.exit_code == 0, done.stderr
        return float(json.loads(done.stdout)["log_probability"])

    exact, rounded = log_probability("fp32"), log_probability(narrow)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)
