"""Kill -9 at every change of the file system: what the next command finds in the run folder."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlpseq.errors import RunError
from nlpseq.files import FolderLock, is_locked, replace_file
from nlpseq.training.delivery import deliver, set_parts_aside
from nlpseq.training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from fault_child import KILL, Changes  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
SECTIONS = {
    "asked": {"corpus": [], "valid": [], "corpus_options": {}, "model": {}, "training": {}},
    "model": {},
    "training": {},
}
MOST_CHANGES = 60


def _is_killed(work: Callable[[], object], at: int) -> bool:
    """Do something in another process that is killed at its `at`-th change; False if it came to its end before."""
    with warnings.catch_warnings(action="ignore"):  # of the threads that other tests have started
        pid = os.fork()
    if not pid:
        try:
            Changes(KILL, at).install()
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def _write_run(path: Path, model: bytes, step: int) -> RunFolder:
    folder = RunFolder(path)
    folder.open(resume=False, overwrite=False)
    folder.begin({**SECTIONS, "step": step})
    folder.model.write_bytes(model)
    folder.add_to_history({"step": step})
    folder.save_resume({"step": step}, {"a": np.arange(3)})
    folder.release()
    return folder


def test_a_kill_while_a_run_is_replaced_loses_neither_of_them(tmp_path: Path) -> None:
    def replace(path: Path) -> None:
        new = RunFolder(path)
        new.open(resume=False, overwrite=True)
        new.begin({**SECTIONS, "step": 9})
        replace_file(new.model, b"new")
        new.add_to_history({"step": 9})
        new.save_resume({"step": 9}, {"a": np.arange(3)})
        new.drop_tokens()

    steps = []
    for at in range(1, MOST_CHANGES):
        path = tmp_path / str(at)
        _write_run(path, b"old", 3)
        was_killed = _is_killed(lambda path=path: replace(path), at)
        again = RunFolder(path)
        again.open(resume=True, overwrite=False)
        step = again.read_config()["step"]
        steps.append(step)
        assert again.load_resume()[0]["step"] == step
        assert again.model.read_bytes() == (b"old" if step == 3 else b"new")
        assert (path / "history.jsonl").read_text() == f'{{"step": {step}}}\n'
        assert {entry.name for entry in path.iterdir()} - {"tokens"} == {
            "config.json",
            "history.jsonl",
            "model.safetensors",
            "resume.safetensors",
        }
        if not was_killed:
            break
    assert steps == sorted(steps) and set(steps) == {3, 9} and at < MOST_CHANGES - 1


def test_a_kill_while_the_earlier_run_is_put_back_loses_nothing(tmp_path: Path) -> None:
    for at in range(1, MOST_CHANGES):
        path = tmp_path / str(at)
        _write_run(path, b"old", 3)
        new = RunFolder(path)
        new.open(resume=False, overwrite=True)
        new.begin({**SECTIONS, "step": 9})
        replace_file(new.model, b"new")
        new.release()
        was_killed = _is_killed(lambda path=path: RunFolder(path).open(resume=True, overwrite=False), at)
        again = RunFolder(path)
        again.open(resume=True, overwrite=False)
        assert again.read_config()["step"] == again.load_resume()[0]["step"] == 3
        assert again.model.read_bytes() == b"old"
        if not was_killed:
            break
    assert 1 < at < MOST_CHANGES - 1


def test_a_kill_while_the_best_run_of_a_search_is_kept_loses_neither(tmp_path: Path) -> None:
    names = ("model.safetensors", "config.json", "tuning.json")

    def search(path: Path) -> None:
        set_parts_aside(path)
        (path / "tuning").mkdir()
        (path / "tuning/test.txt").write_text("new")
        for name in names:
            (path / "trial" / name).write_text("new")
        deliver(path / "trial", path)

    found = []
    for at in range(1, MOST_CHANGES):
        path = tmp_path / str(at)
        for folder in ("tuning", "trial"):
            (path / folder).mkdir(parents=True)
        for name in (*names, "tuning/test.txt"):
            (path / name).write_text("old")
        was_killed = _is_killed(lambda path=path: search(path), at)
        folder = RunFolder(path)
        folder.open(resume=False, overwrite=True)
        texts = {(path / name).read_text() for name in (*names, "tuning/test.txt")}
        assert len(texts) == 1, at
        found += texts
        assert not {".incoming", ".tuning-earlier"} & {entry.name for entry in path.iterdir()}
        if not was_killed:
            break
    assert found == sorted(found, reverse=True) and set(found) == {"old", "new"}


def test_the_history_ends_with_a_whole_line(tmp_path: Path) -> None:
    folder = _write_run(tmp_path / "run", b"model", 3)
    with (folder.path / "history.jsonl").open("a") as file:
        file.write('{"step": 4, "tr')
    folder.open(resume=True, overwrite=False)
    folder.add_to_history({"step": 5})
    assert (folder.path / "history.jsonl").read_text() == '{"step": 3}\n{"step": 5}\n'


def test_a_run_that_is_trained_on_has_its_new_options_with_its_state(tmp_path: Path) -> None:
    folder = _write_run(tmp_path / "run", b"model", 3)
    further = {**SECTIONS, "step": 3, "continued": [{"after": 3}]}
    folder.save_resume({"step": 3}, {"a": np.arange(3)}, further)  # and killed before the options are written
    assert folder.read_config() == further
    folder.save_resume({"step": 4}, {"a": np.arange(3)})
    assert "continued" not in folder.read_config()


def test_a_temporary_file_is_removed_when_its_process_is_dead(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\nfrom pathlib import Path\nfrom nlpseq.files import open_temporary\n"
        "file = open_temporary(Path(sys.argv[1]))\nprint(file.name, flush=True)\ntime.sleep(60)"
    )
    path = tmp_path / "model"
    (tmp_path / ".model.notes").write_text("of the user")
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        temporary = Path(writer.stdout.readline().strip())
        replace_file(path, b"1")
        assert temporary.exists(), "it is being written"
        writer.kill()
        writer.wait()
        replace_file(path, b"2")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".model.notes", "model"]


def test_a_lock_holds_until_its_process_ends_and_needs_no_cleaning(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom nlpseq.files import FolderLock\nlock = FolderLock()\n"
        "print(lock.take(Path(sys.argv[1])), flush=True)\ntime.sleep(60)"
    )
    path = tmp_path / "a" / "run"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        assert is_locked(path) and not FolderLock().take(path)
        for overwrite in (False, True):
            with pytest.raises(RunError, match="another run is training into it now"):
                RunFolder(path).open(resume=False, overwrite=overwrite)
        holder.kill()
    lock = FolderLock()
    assert not is_locked(path) and lock.take(path) and lock.take(path) and is_locked(path)
    lock.release()
    assert not is_locked(path)


def test_a_lock_on_a_folder_that_was_removed_is_a_lock_on_the_new_one(tmp_path: Path) -> None:
    first, second = FolderLock(), FolderLock()
    assert first.take(tmp_path / "run")
    (tmp_path / "run").rmdir()
    assert second.take(tmp_path / "run")
    assert not first.take(tmp_path / "run"), "the second has it"


def test_the_program_of_faults_finds_none() -> None:
    words = ["writes", "locks", "--cases", "lm", "--writes", "2", "--locks", "2", "--seed", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/fault_runs.py", *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "| lm: kill -9 at a change | 2 | 0 |" in done.stdout
