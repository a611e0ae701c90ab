"""`nlpseq bench`: what it prints. How fast anything is, no test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nlpseq.commands.cli import app
from nlpseq.models.language_model import LanguageModelOptions, initial_weights
from nlpseq.models.model_file import save_model
from nlpseq.text.tokenisers import train_tokeniser

FIELDS = ["cell", "direction", "dtype", "T", "B", "H", "ours_ms", "torch_ms", "gemm_ms", "ratio"]


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", *arguments])


def _model(folder: Path, **options: Any) -> Path:
    chosen = LanguageModelOptions(hidden_size=6, embedding_size=5, **options)
    tokeniser = train_tokeniser("char", ["hello"], 256)
    fields = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__}
    path = folder / "model.safetensors"
    save_model(path, "language-model", fields, initial_weights(chosen, tokeniser.size, 1), tokeniser)
    return path


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_cells_as_json_list_every_cell_in_every_shape_and_type(direction: str) -> None:
    shapes, dtypes = ["--shape", "3x2x5", "--shape", "1x1x4"], ["--dtype", "fp32", "--dtype", "bf16"]
    done = _run("cells", *shapes, *dtypes, "--repeats", "1", "--direction", direction, "--json")
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(r["cell"], r["T"], r["dtype"]) for r in rows] == [
        (cell, steps, dtype) for dtype in ("fp32", "bf16") for steps in (3, 1) for cell in ("rnn", "lstm", "gru")
    ]
    for row in rows:
        assert list(row) == FIELDS
        assert row["direction"] == direction
        assert all(0 < row[name] < 1e6 for name in FIELDS[-4:])
        assert row["ratio"] == pytest.approx(row["torch_ms"] / row["ours_ms"])


def test_a_cell_that_torch_has_not_is_timed_alone() -> None:
    done = _run("cells", "--cell", "gru-reset-before", "--shape", "3x2x5", "--repeats", "1", "--json", "-q")
    row = json.loads(done.stdout)[0]
    assert row["torch_ms"] is None
    assert row["ratio"] is None
    assert row["ours_ms"] > 0


def test_cells_as_a_table_is_aligned_and_says_its_conditions_on_standard_error() -> None:
    done = _run("cells", "--cell", "rnn", "--shape", "3x2x5", "--dtype", "bf16", "--repeats", "1")
    heading, row = done.stdout.splitlines()
    assert len(heading) == len(row)
    assert heading.split()[:2] == ["cell", "type"]
    assert row.split()[:3] == ["rnn", "bf16", "3x2x5"]
    assert "bf16" in done.stderr
    assert "threads" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "elman"], "--cell: must be one of rnn, "),
        (["--dtype", "fp8"], "--dtype: must be one of fp32, bf16, was 'fp8'"),
        (["--shape", "3x2"], "--shape: must be steps x sequences x units, was '3x2'"),
        (["--shape", "0x2x3"], "--shape: must be steps x sequences x units, was '0x2x3'"),
        (["--shape", "9999999x9999x99"], "--shape: must be of at most"),
        (["--shape", "1x1x99999"], "--shape: must be of at most"),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments: list[str], message: str) -> None:
    done = _run("cells", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "options", [{}, {"cell": "gru", "layers": 2, "tied": True}, {"ngrams": 3, "ngram_buckets": 16}]
)
def test_decode_times_a_model_beside_torch(tmp_path: Path, options: dict[str, Any]) -> None:
    path = _model(tmp_path, **options)
    done = _run("decode", "-m", str(path), "--length", "3", "--repeats", "1", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cell"], found["hidden_size"]) == (options.get("cell", "lstm"), 6)
    ours, theirs = found["ours_tokens_per_second"], found["torch_tokens_per_second"]
    assert 0 < ours < 1e9
    assert 0 < theirs < 1e9
    assert found["ratio"] == pytest.approx(ours / theirs)


def test_decode_of_a_cell_that_torch_has_not(tmp_path: Path) -> None:
    path = _model(tmp_path, cell="gru", reset_before=True)
    done = _run("decode", "-m", str(path), "--length", "3", "--repeats", "1", "--precision", "bf16", "-q")
    assert done.stdout.splitlines()[2].split(maxsplit=1) == ["torch.nn", "has no such cell"]
    assert done.stderr == ""


def test_decode_without_its_model_says_so(tmp_path: Path) -> None:
    done = _run("decode", "-m", str(tmp_path / "none"))
    assert done.exit_code == 1
    assert "no such model" in done.stderr
