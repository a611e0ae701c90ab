"""A short part of benchmarks/fuzz_files.py: damaged and crafted files of a small model, read by another process."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nlpseq.errors import ModelFileError
from nlpseq.models.model_file import load_model, read_tensors

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import fuzz_files
from crafted_files import CRAFTED, stored
from fuzz_files import Case, Worker

MakeModel = Callable[..., Path]


@pytest.fixture
def worker() -> Iterator[Worker]:
    """The process in which commands run."""
    started = Worker()
    yield started
    started.stop()


def test_damaged_models_are_refused_or_do_the_same(make_model: MakeModel, worker: Worker, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(make_model(ngrams=3, ngram_buckets=8), run / "model.safetensors")
    (run / "line.txt").write_text("the cat\n")
    model = ("-m", "@model.safetensors")
    commands = (("generate", *model, "--length", "9", "--random-seed", "1"), ("score", *model, "@line.txt"))
    case = Case("model lm", run, ("model.safetensors",), commands)
    counts = {"flips": 12, "truncations": 6, "crafted": 40}
    table, found = fuzz_files.fuzz([case], counts, 1, worker, tmp_path / "tried")
    assert found == 0, table
    assert "| model lm | flips | 12 |" in table


def test_a_worker_that_dies_is_told_and_replaced(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.run(tmp_path, ["--version"]).status == 0
    assert "Traceback" in worker.run(tmp_path / "missing", ["--version"]).errors
    assert worker.run(tmp_path, ["--version"]).output.startswith("nlpseq ")


@pytest.mark.parametrize("number", range(len(CRAFTED["model"])))
def test_crafted_files_have_a_right_checksum(number: int, make_model: MakeModel, tmp_path: Path) -> None:
    """So they are refused for what they say, and not for a checksum that anyone can compute."""
    path = tmp_path / "model.safetensors"
    shutil.copy(make_model(), path)
    stored(path)
    what = None
    for seed in range(20):
        what = what or CRAFTED["model"][number](path, random.Random(seed))
    try:
        read_tensors(path)
        load_model(path)
    except ModelFileError as error:
        assert "checksum" not in error.what, what
