"""`nlpseq score`: one line out for each line in, whatever comes in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Lines = Callable[[bytes], list[bytes]]


def test_a_line_has_four_columns(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("score", "-m", model_path, input="the cat\n\nöl".encode())
    assert (done.exit_code, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1] for row in rows] == ["8", "1", "3"]
    for nats, tokens, perplexity, bits in rows:
        assert float(perplexity) == pytest.approx(math.exp(-float(nats) / int(tokens)), rel=1e-4)
        assert float(bits) > 0


def test_json_gives_an_object_a_line(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("score", "-m", model_path, "--json", input=b"a\n\xff\n")
    first, second = map(json.loads, done.stdout.splitlines())
    assert list(first) == ["log_probability", "tokens", "perplexity", "bits_per_byte", "status"]
    assert (first["status"], second["status"]) == ("ok", "invalid-utf8")
    assert second["tokens"] == 2
    assert done.stderr == "note: 1 line was not UTF-8, and read byte by byte\n"


def test_quiet_says_nothing(nlpseq: Run, model_path: Path) -> None:
    assert nlpseq("score", "-q", "-m", model_path, input=b"\xff\n").stderr == ""


def test_objects_keep_their_fields(nlpseq: Run, model_path: Path) -> None:
    lines = ['{"id": 7, "text": "the cat", "more": {"x": [1, null]}}', "{", '{"id": 8}', '{"text": "a\\nb"}']
    done = nlpseq("score", "-m", model_path, "--jsonl", input="\n".join(lines))
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in made] == ["ok", "invalid-json", "no-text", "ok"]
    assert (made[0]["id"], made[0]["more"], made[0]["tokens"]) == (7, {"x": [1, None]}, 8)
    assert (made[2]["id"], made[2]["log_probability"]) == (8, None)
    assert made[3]["tokens"] == 4


@pytest.mark.parametrize(("flags", "most"), [([], None), (["--json"], 20_000), (["--follow"], 5_000)])
def test_every_odd_file_gives_a_line_for_a_line(
    nlpseq: Run, model_path: Path, odd_file: bytes, lines_of: Lines, flags: list[str], most: int | None
) -> None:
    data = odd_file[:most]
    done = nlpseq("score", "-m", model_path, *flags, input=data)
    assert done.exit_code == 0
    assert done.stdout_bytes.count(b"\n") == len(lines_of(data))
    if not flags:
        assert all(float(line.split("\t")[0]) < 0 for line in done.stdout.splitlines())


def test_a_line_that_is_too_long_gives_a_line(nlpseq: Run, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlpseq.text.lines.LONGEST_LINE", 10)
    done = nlpseq("score", "-m", model_path, input=b"a\n0123456789a\nb\n")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1] for row in rows] == ["2", "nan", "2"]
    assert "1 line was too long, and left out" in done.stderr


def test_lines_that_follow_are_given_those_before(nlpseq: Run, model_path: Path, tmp_path: Path) -> None:
    same = ["score", "-m", model_path, "--follow"]
    whole = nlpseq(*same, input="the cat\nsat\non the mat\n").stdout.splitlines()
    alone = nlpseq("score", "-m", model_path, input="the cat\nsat\non the mat\n").stdout.splitlines()
    assert whole[0] == alone[0]
    assert whole[1] != alone[1]
    first = nlpseq(*same, "--save-state", tmp_path / "s", input="the cat\nsat\n").stdout.splitlines()
    second = nlpseq(*same, "--state", tmp_path / "s", input="on the mat\n").stdout.splitlines()
    assert [*first, *second] == whole


@pytest.mark.parametrize("flag", ["--state", "--save-state"])
def test_a_state_is_that_of_a_stream(nlpseq: Run, model_path: Path, flag: str) -> None:
    done = nlpseq("score", "-m", model_path, flag, "s", input="")
    assert done.exit_code == 2
    assert done.stderr == f"error: {flag}: is for lines that follow each other\nhint:  --follow\n"


def test_nothing_in_gives_nothing_out(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("score", "-m", model_path, input=b"")
    assert (done.exit_code, done.stdout_bytes) == (0, b"")


def test_json_and_jsonl_exclude_each_other(nlpseq: Run, model_path: Path) -> None:
    done = nlpseq("score", "-m", model_path, "--json", "--jsonl", input=b"")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --json and --jsonl: exclude each other")


def test_help_names_the_models_that_it_takes_by_default(nlpseq: Run) -> None:
    said = " ".join(nlpseq("score", "--help").stdout.split())
    assert (
        "[default: checkpoints/lm or else stories, checkpoints/translation or else english-german with --source]"
        in said
    )
    assert "checkpoints/sentiment" not in said
