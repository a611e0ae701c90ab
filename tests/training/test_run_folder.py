"""The run folder: what it refuses, and what it keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import OptionError, RunError
from nlpseq.training.run_folder import RunFolder

SECTIONS = {
    "asked": {"corpus": [], "valid": [], "corpus_options": {}, "model": {}, "training": {}},
    "model": {},
    "training": {},
}


def _run(path: Path) -> RunFolder:
    """A folder with an unfinished run."""
    folder = RunFolder(path)
    folder.open(resume=False, overwrite=False)
    folder.begin(SECTIONS)
    folder.model.write_bytes(b"model")
    folder.save_resume({"step": 3}, {"a": np.arange(3)})
    return folder


def test_a_run_that_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.release()
    with pytest.raises(RunError, match="holds a run already") as refused:
        RunFolder(tmp_path / "run").open(resume=False, overwrite=False)
    assert "--resume" in refused.value.hint
    assert "--overwrite" in refused.value.hint
    assert folder.model.read_bytes() == b"model"


def test_a_run_is_overwritten_when_asked(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.add_to_history({"step": 1})
    folder.open(resume=False, overwrite=True)
    assert folder.model.exists()  # until the new run has read its corpus
    folder.begin(SECTIONS)
    assert folder.tokens.exists() and not folder.fresh.exists()
    assert not any(path.exists() for path in (folder.resume, folder.path / "history.jsonl"))
    assert folder.model.read_bytes() == b"model", "until the new run writes its own"


def test_a_new_run_that_was_never_saved_leaves_the_old_one(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.add_to_history({"step": 1})
    folder.open(resume=False, overwrite=True)
    folder.begin({**SECTIONS, "new": True})
    folder.add_to_history({"step": 2})
    folder.release()  # as if it was killed
    again = RunFolder(tmp_path / "run")
    again.open(resume=True, overwrite=False)
    assert "new" not in again.read_config() and again.load_resume()[0]["step"] == 3
    assert (again.path / "history.jsonl").read_text() == '{"step": 1}\n'
    assert again.tokens.exists() and not again.previous.exists()


def test_a_new_run_that_was_saved_has_replaced_the_old_one(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.open(resume=False, overwrite=True)
    folder.begin({**SECTIONS, "new": True})
    folder.save_resume({"step": 9}, {"a": np.arange(3)})
    assert not folder.previous.exists()
    folder.open(resume=True, overwrite=False)
    assert folder.read_config()["new"] and folder.load_resume()[0]["step"] == 9


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["config.json", "history.jsonl", "tokens"])
def test_files_of_others_are_left_alone(name: str, overwrite: bool, tmp_path: Path) -> None:
    path = tmp_path / "mine" / name
    path.mkdir(parents=True) if name == "tokens" else (path.parent.mkdir(), path.write_text('{"name": "mine"}'))
    with pytest.raises(RunError, match=f"holds {name}, which no run of nlpseq wrote"):
        RunFolder(tmp_path / "mine").open(resume=False, overwrite=overwrite)
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == [name]


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    for name in ("model.safetensors", "resume.safetensors", "config.json"):
        (folder.path / f".{name}.4711").write_bytes(b"half")
    folder.open(resume=True, overwrite=False)
    assert not list(folder.path.glob(".*.4711"))


def test_resuming_and_overwriting_at_once_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="opposite"):
        _run(tmp_path / "run").open(resume=True, overwrite=True)


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.open(resume=False, overwrite=False)
    folder.abandon()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("has_tokens", [True, False])
def test_a_run_that_was_killed_before_it_was_first_saved_can_be_resumed(tmp_path: Path, has_tokens: bool) -> None:
    folder = _run(tmp_path / "run")
    folder.resume.unlink()
    if not has_tokens:
        folder.tokens.rmdir()
        folder.model.unlink()
    with pytest.raises(RunError, match="holds a run already") as refused:
        folder.open(resume=False, overwrite=False)
    assert refused.value.hint.startswith("add --resume")
    folder.open(resume=True, overwrite=False)


def test_what_is_not_there_cannot_be_resumed(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.resume.unlink()
    folder.tokens.rmdir()
    with pytest.raises(RunError, match="its state is gone"):
        folder.open(resume=True, overwrite=False)


def test_a_folder_under_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="cannot be written") as refused:
            RunFolder(path).open(resume=False, overwrite=False)
        assert refused.value.where == str(path)


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="Permission denied"):
        RunFolder(tmp_path / "run").open(resume=False, overwrite=False)


def test_what_a_run_depends_on_comes_back(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.open(resume=True, overwrite=False)
    header, arrays = folder.load_resume()
    assert header["step"] == 3
    assert np.array_equal(arrays["a"], np.arange(3))


def test_a_damaged_state_is_refused_with_a_way_out(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    data = folder.resume.read_bytes()
    folder.resume.write_bytes(data[:-1] + b"x")
    with pytest.raises(RunError, match="damaged") as refused:
        folder.load_resume()
    assert "--overwrite" in refused.value.hint


def test_a_full_disk_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    folder = _run(tmp_path / "run")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        folder.save_resume({"step": 4}, {"a": np.ones(3)})
    assert folder.load_resume()[0]["step"] == 3
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "resume.safetensors",
        "tokens",
    ]


def test_the_configuration_comes_back_or_is_refused(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.write_config({**SECTIONS, "corpus": "é\udce9"})
    assert folder.read_config()["corpus"] == "é\udce9"
    broken = [{name: value for name, value in SECTIONS.items() if name != left} for left in SECTIONS]
    broken += [
        {**SECTIONS, "task": []},
        {**SECTIONS, "asked": {**SECTIONS["asked"], "corpus": 5}},
        {**SECTIONS, "model": 3},
    ]
    for damaged in ("{", "[]", *map(json.dumps, broken)):
        (folder.path / "config.json").write_text(damaged)
        with pytest.raises(RunError):
            folder.read_config()


def test_the_history_is_a_line_a_record_and_refuses_in_a_sentence(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.add_to_history({"step": 1})
    folder.add_to_history({"step": 2})
    history = folder.path / "history.jsonl"
    assert [json.loads(line)["step"] for line in history.read_text().splitlines()] == [1, 2]
    history.unlink()
    history.mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        folder.add_to_history({"step": 3})


def test_a_finished_run_keeps_all_but_its_tokens(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.finish({**SECTIONS, "finished": True})
    names = ["config.json", "model.safetensors", "resume.safetensors"]
    assert sorted(path.name for path in folder.path.iterdir()) == names
    assert folder.read_config()["finished"]


def test_two_runs_do_not_train_into_one_folder(tmp_path: Path) -> None:
    first = _run(tmp_path / "run")
    with pytest.raises(RunError, match="another run is training into it now") as refused:
        RunFolder(tmp_path / "run").open(resume=False, overwrite=True)
    assert refused.value.hint == "--out FOLDER"
    assert not list((tmp_path / "run").glob(".tokens-*"))
    first.release()
    RunFolder(tmp_path / "run").open(resume=True, overwrite=False)
