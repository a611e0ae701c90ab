"""`nlpseq runs`: a table whose paths can be typed, or objects."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import ByteTokeniser

Run = Callable[..., Result]


def _write_run(folder: Path, task: str, *scores: tuple[str, float], corpus: tuple[str, ...] = (), **more: Any) -> None:
    folder.mkdir(parents=True)
    config = {"task": task, "asked": {"corpus": corpus}, "training": {"steps": 90}, "finished": bool(scores), **more}
    (folder / "config.json").write_text(json.dumps(config))
    if scores:
        values = [{"name": name, "value": value, "unit": "u", "signature": "s", "parts": {}} for name, value in scores]
        weights = {"weight": np.random.default_rng(0).random((500, 500), np.float32)}
        path = folder / "model.safetensors"
        save_model(path, task, {}, weights, ByteTokeniser(()), scores=values, training={"step": 1234})


def test_table_has_a_row_for_each_run(nlpseq: Run, tmp_path: Path) -> None:
    lm = [("loss", 1.25), ("bits_per_byte", 1.8034)]
    _write_run(tmp_path / "lm", "language-model", *lm, corpus=("book.txt",))
    lines = nlpseq("runs", tmp_path).stdout.splitlines()
    assert lines[0].split() == ["run", "task", "corpus", "steps", "score", "size", "date"]
    assert lines[1].split()[:-1] == [str(tmp_path / "lm"), "lm", "book.txt", "1234", "bits/byte", "1.803", "1.0", "MB"]


@pytest.mark.parametrize(
    ("task", "scores", "shown"),
    [
        ("classifier", [("accuracy", 84.44), ("loss", 0.3)], "accuracy 84.4"),
        ("translator", [("loss", 5.1), ("perplexity", 178.51)], "perplexity 178.5"),
        ("translator", [("loss", 5.1), ("bleu", 31.27)], "BLEU 31.3"),
        ("language-model", [("loss", float("inf"))], "loss inf"),
    ],
)
def test_main_score_of_each_task(
    nlpseq: Run, tmp_path: Path, task: str, scores: list[tuple[str, float]], shown: str
) -> None:
    _write_run(tmp_path / "run", task, *scores)
    assert f"  {shown}  " in nlpseq("runs", tmp_path).stdout


def test_unfinished_run_shows_its_steps_and_quick_loss(nlpseq: Run, tmp_path: Path) -> None:
    _write_run(tmp_path / "run", "language-model")
    (tmp_path / "run" / "history.jsonl").write_text('{"step": 12, "valid_loss": 3.4567}\n')
    assert "  12/90  quick 3.457  -  " in nlpseq("runs", tmp_path).stdout


def test_damaged_run_is_told_as_such(nlpseq: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{")
    done = nlpseq("runs", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "  damaged  config.json is damaged: it is not JSON  " in done.stdout


LONG = ("/data/" + "folder/" * 20 + "book.txt", "second.txt")


def _on_terminal(columns: int, folder: Path) -> list[list[str]]:
    """The cells of each line that `nlpseq runs` shows for a folder on a terminal of some columns."""
    pty = pytest.importorskip("pty")
    reader, terminal = pty.openpty()
    program = [sys.executable, "-m", "nlpseq", "runs", folder.name]
    environment = {**os.environ, "COLUMNS": str(columns)}
    subprocess.run(program, stdout=terminal, cwd=folder.parent, env=environment, check=True)
    os.close(terminal)
    shown = b""
    while block := _read(reader):
        shown += block
    os.close(reader)
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) <= columns or len(lines[0].split()) == 1
    return [line.split("  ") for line in lines]


def _read(terminal: int) -> bytes:
    """What a terminal was written; nothing after its end, which Linux reports as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_nothing_is_shortened_on_a_pipe(nlpseq: Run, tmp_path: Path) -> None:
    folder = tmp_path / ("very-" * 20) / ("long-" * 20)
    _write_run(folder, "translator", ("perplexity", 178.5), corpus=LONG)
    row = nlpseq("runs", tmp_path).stdout.splitlines()[1]
    assert row.startswith(f"{folder}  translation  {' '.join(LONG)}  1234   perplexity 178.5  1.0 MB  ")


def test_a_narrow_terminal_shows_less_of_the_corpus_then_fewer_columns(tmp_path: Path) -> None:
    _write_run(tmp_path / "runs" / "a-run-of-many-letters", "translator", ("perplexity", 178.5), corpus=LONG)
    expected = {
        100: ["run", "task", "corpus", "steps", "score", "size", "date"],
        80: ["run", "task", "corpus", "steps", "score", "size"],
        72: ["run", "task", "corpus", "steps", "score"],
        60: ["run", "corpus", "steps", "score"],
        25: ["run"],
        10: ["run"],
    }
    for columns, headings in expected.items():
        titles, row = _on_terminal(columns, tmp_path / "runs")
        assert [title.strip() for title in titles if title] == headings
        assert row[0] == "runs/a-run-of-many-letters"
        assert "corpus" not in headings or any(cell.endswith(".txt") for cell in row)


def test_the_first_column_is_typed_after_the_model_option(nlpseq: Run, make_model: Callable[..., Path]) -> None:
    for name in ("lm", "my run's"):
        _write_run(Path("checkpoints") / name, "language-model", ("loss", 1.4), corpus=("x.tsv",))
        shutil.copy(make_model(), Path("checkpoints") / name / "model.safetensors")
    rows = nlpseq("runs").stdout.splitlines()[1:]
    assert sorted(shlex.split(row)[0] for row in rows) == ["checkpoints/lm", "checkpoints/my run's"]
    assert nlpseq("inspect", "model", "-m", shlex.split(rows[0])[0]).exit_code == 0


def test_control_characters_of_names_do_not_reach_the_terminal(nlpseq: Run, tmp_path: Path) -> None:
    _write_run(tmp_path / "a\033[31mb\nc", "language-model", corpus=("x\ty\udcff",))
    lines = nlpseq("runs", tmp_path).stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"'{tmp_path}/a?[31mb?c'  ")


def test_objects_have_everything(nlpseq: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _write_run(tmp_path / name, "classifier", ("accuracy", 84.4), corpus=("x.tsv",))
    objects = [json.loads(line) for line in nlpseq("runs", tmp_path, "--json").stdout.splitlines()]
    assert sorted(run["name"] for run in objects) == ["one", "two"]
    assert objects[0]["path"] == str(tmp_path / objects[0]["name"])
    assert objects[0].items() >= {"state": "finished", "task": "sentiment", "step": 1234, "corpus": ["x.tsv"]}.items()
    assert objects[0]["scores"][0]["value"] == 84.4
    assert objects[0]["config"]["training"] == {"steps": 90}


def test_the_usual_folder_may_be_missing(nlpseq: Run) -> None:
    done = nlpseq("runs")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "note: there are no runs in checkpoints; nlpseq train lm starts one\n"
    _write_run(Path("checkpoints/lm"), "language-model", ("loss", 1.0))
    assert "lm" in nlpseq("runs").stdout


def test_a_named_folder_may_not_be_missing(nlpseq: Run, tmp_path: Path) -> None:
    done = nlpseq("runs", tmp_path / "nowhere")
    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path / 'nowhere'}: no such folder\nhint:  nlpseq runs\n"
