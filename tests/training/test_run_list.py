"""The runs in a folder, however damaged they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlpseq.errors import RunError
from nlpseq.models.model_file import save_model, write_tensors
from nlpseq.text.tokenisers import ByteTokeniser
from nlpseq.training.run_list import find_run, list_runs, run_facts

SCORES = [{"name": "bits_per_byte", "value": 2.5, "unit": "byte", "signature": "x", "parts": {}}]
WEIGHTS = {"weight": np.zeros((2, 2), np.float32)}


def _write_run(folder: Path, *, finished: bool, changed: int, **asked: Any) -> Path:
    folder.mkdir(parents=True)
    config = {"task": "language-model", "finished": finished, "asked": {"corpus": [], **asked}}
    (folder / "config.json").write_text(json.dumps(config | {"training": {"steps": 90}}))
    (folder / "history.jsonl").write_text('{"step": 30, "valid_loss": 3.5}\n{"step": 40, "valid_loss": 3.25}\n{"st')
    if finished:
        details = {"scores": SCORES, "training": {"step": 77}, "data": {"corpus": ["book.txt"]}}
        save_model(folder / "model.safetensors", "language-model", {}, WEIGHTS, ByteTokeniser(()), **details)
    else:
        write_tensors(folder / "resume.safetensors", {"format": 1, "step": 41, "total": 95}, WEIGHTS)
    for path in folder.iterdir():
        os.utime(path, (changed, changed))
    return folder


def test_runs_are_found_two_levels_down_the_newest_last(tmp_path: Path) -> None:
    _write_run(tmp_path / "b" / "inner", finished=True, changed=1000)
    _write_run(tmp_path / "a", finished=False, changed=3000)
    _write_run(tmp_path / "c", finished=True, changed=2000)
    _write_run(tmp_path / "one" / "two" / "three", finished=True, changed=1)
    _write_run(tmp_path / ".hidden", finished=True, changed=1)
    (tmp_path / "empty").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["b/inner", "c", "a"]


def test_a_run_lists_itself(tmp_path: Path) -> None:
    assert [run.name for run in list_runs(_write_run(tmp_path / "a", finished=True, changed=1))] == ["a"]


def test_finished_run(tmp_path: Path) -> None:
    folder = _write_run(tmp_path / "a", finished=True, changed=5)
    run = run_facts(folder, "a")
    assert (run.state, run.fault, run.task, run.corpus) == ("finished", "", "lm", ["book.txt"])
    assert (run.step, run.steps, run.scores, run.quick_loss) == (77, 77, SCORES, 3.25)
    assert (run.size, run.changed) == ((folder / "model.safetensors").stat().st_size, 5)


def test_unfinished_run(tmp_path: Path) -> None:
    run = run_facts(_write_run(tmp_path / "a", finished=False, changed=5, corpus=["x", "y"]), "a")
    assert (run.state, run.corpus, run.step, run.steps, run.size) == ("unfinished", ["x", "y"], 41, 95, None)
    assert run.last == {"step": 40, "valid_loss": 3.25}


def test_run_that_was_killed_before_its_first_save(tmp_path: Path) -> None:
    folder = _write_run(tmp_path / "a", finished=False, changed=5, source="a.en", target="a.de")
    (folder / "resume.safetensors").unlink()
    run = run_facts(folder, "a")
    assert (run.state, run.step, run.steps, run.corpus) == ("unfinished", 40, 90, ["a.en", "a.de"])


def test_run_of_the_bundled_corpus_names_it(tmp_path: Path) -> None:
    assert run_facts(_write_run(tmp_path / "a", finished=False, changed=5), "a").corpus == ["stories"]


def test_model_without_its_configuration(tmp_path: Path) -> None:
    folder = _write_run(tmp_path / "a", finished=True, changed=5)
    (folder / "config.json").unlink()
    run = run_facts(folder, "a")
    assert (run.state, run.task, run.corpus, run.step) == ("finished", "lm", ["book.txt"], 77)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff" * 50, b'{"task": [], "asked": 5}'])
def test_damaged_file_is_told(tmp_path: Path, name: str, data: bytes) -> None:
    folder = _write_run(tmp_path / "a", finished=True, changed=5)
    (folder / name).write_bytes(data)
    (run,) = list_runs(tmp_path)
    assert run.state == "damaged"
    assert run.fault.startswith(name)


def test_half_a_model_is_damaged(tmp_path: Path) -> None:
    path = _write_run(tmp_path / "a", finished=True, changed=5) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert run_facts(path.parent, "a").state == "damaged"


def test_nothing_but_a_history_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").touch()
    assert [(run.state, run.fault) for run in list_runs(tmp_path)] == [("damaged", "config.json is missing")]


def test_folder_in_place_of_a_file_is_damaged(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "history.jsonl"):
        (tmp_path / "a" / name).mkdir(parents=True)
    assert list_runs(tmp_path)[0].state == "damaged"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["task", "asked", "corpus", "training", "steps", "finished", "source", "valid_loss"]), inner
        )
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(JSON, st.lists(JSON, max_size=3))
def test_any_json_makes_facts(tmp_path: Path, config: Any, history: list[Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    (run,) = list_runs(tmp_path)
    assert run.state in ("unfinished", "damaged", "finished")


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(RunError, match="no such folder") as refused:
        list_runs(tmp_path / "rums")
    assert refused.value.hint == f"did you mean {tmp_path / 'runs'}?"
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file, not a folder"):
        list_runs(tmp_path / "file")


def test_run_is_named_by_its_folder_or_a_file_in_it(tmp_path: Path) -> None:
    folder = _write_run(tmp_path / "a", finished=True, changed=5)
    assert find_run(folder, "--like") == find_run(folder / "model.safetensors", "--like") == folder
    (tmp_path / "lonely.safetensors").touch()
    with pytest.raises(RunError, match="belongs to no run"):
        find_run(tmp_path / "lonely.safetensors", "--like")


def test_runs_are_listed_without_torch() -> None:
    program = "import sys, nlpseq.commands.runs; assert not {'torch', 'datasets', 'rich'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
