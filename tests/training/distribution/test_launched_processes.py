"""Processes that the command starts, and those of torchrun: one model, one voice, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nlpseq.models.model_file import read_tensors

SECONDS = 60
SMALL = ["--hidden-size", "8", "--batch-size", "6", "--device", "cpu", "--random-seed", "4"]


def _environment(folder: Path) -> dict[str, str]:
    held = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "OMP_NUM_THREADS")}
    return {**held, "TMPDIR": str(folder)}


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nlpseq", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(folder),
    )


def _run(folder: Path, *arguments: str) -> tuple[int, str]:
    process = _start(folder, *arguments)
    try:
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, said


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue
    return found


def _wait_for(path: Path) -> None:
    last = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < last, f"{path} was not written"
        time.sleep(0.02)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is needed to find a process's children")


@linux
@pytest.mark.parametrize("victim", ["another", "first"])
def test_a_run_whose_process_is_killed_ends_and_can_be_resumed(victim: str, tmp_path: Path) -> None:
    out, scratch = tmp_path / "run", tmp_path / "scratch"
    scratch.mkdir()
    run = _start(scratch, "lm", "--steps", "100000", "--processes", "2", "--save-every", "2", "--out", str(out), *SMALL)
    try:
        _wait_for(out / "resume.safetensors")
        (other,) = _children(run.pid)
        started = time.monotonic()
        os.kill(other if victim == "another" else run.pid, signal.SIGKILL)
        _, said = run.communicate(timeout=SECONDS)
        while Path(f"/proc/{other}").exists():
            time.sleep(0.02)
        assert time.monotonic() - started < 10
    finally:
        run.kill()
    if victim == "another":
        assert run.returncode == 1
        assert f"error: {out}: process 2 of 2 was killed by signal 9\nhint:  nlpseq train lm --resume" in said
    step = read_tensors(out / "resume.safetensors")[0]["step"]
    status, said = _run(scratch, "lm", "--resume", "--steps", str(step + 3), "--out", str(out))
    assert status == 0, said
    assert not list(scratch.iterdir())


@linux
def test_ctrl_c_stops_all_processes_and_saves(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = _start(
        tmp_path, "lm", "--steps", "100000", "--processes", "3", "--save-every", "2", "--out", str(out), *SMALL
    )
    try:
        _wait_for(out / "resume.safetensors")
        others = _children(run.pid)
        assert len(others) == 2
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=SECONDS)
    finally:
        run.kill()
    assert run.returncode == 130
    assert "stopped at step" in said and "Traceback" not in said
    assert not any(Path(f"/proc/{other}").exists() for other in others)


def test_torchrun_and_the_option_give_the_model_of_one_process(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    asked = ["translation", "--steps", "4", "--precision", "fp32", *SMALL]
    assert _run(tmp_path, *asked, "--out", str(one))[0] == 0
    assert _run(tmp_path, *asked, "--out", str(two), "--processes", "2")[0] == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "nlpseq", "train", *asked, "--out", str(three)],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if str(three) in line]) == 1, "only the first process speaks"
    weights = [read_tensors(path / "model.safetensors")[1] for path in (one, two, three)]
    for name, value in weights[0].items():
        for other in weights[1:]:
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-5, err_msg=name)


def test_processes_that_are_asked_for_different_things_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command = f'{sys.executable} -m nlpseq train lm --steps 3 --hidden-size $((8 + RANK)) --out "{out}"'
    done = subprocess.run(
        [*torchrun, "sh", "-c", command],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told == ["error: --hidden-size: differs between processes: 8 in the first, 9 in another (process 2 of 2)"]
    assert not out.exists()


def test_torchrun_starts_the_processes_already(tmp_path: Path) -> None:
    environment = {**_environment(tmp_path), "RANK": "0", "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "nlpseq", "train", "lm", "--processes", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert "error: --processes: is for one machine without torchrun, which has started 2 processes" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--processes", "1024"], "error: --processes: must be at most 4 for each core"),
        (["--processes", "3", "--batch-size", "2"], "error: --batch-size: is less than the number of processes, 3"),
    ],
)
def test_processes_that_cannot_help_are_refused_before_any_is_started(
    options: list[str], said: str, tmp_path: Path
) -> None:
    status, told = _run(tmp_path, "lm", "--out", str(tmp_path / "run"), *options)
    assert status == 2
    assert said in told
    assert "hint:  --processes" in told
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_as_many_processes_as_it_had(tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["sentiment", "--minutes", "0.05", "--processes", "2", "--out", str(out), *SMALL]
    status, told = _run(tmp_path, *asked)
    assert status == 0, told
    (again,) = (line for line in told.splitlines() if line.startswith("the same model again: "))
    assert "--processes 2" in again
    further = "sentiment", "--resume", "--minutes", "0.05", "--out", str(out)
    status, told = _run(tmp_path, *further)
    assert status == 0 and "2 processes | " in told and "processes 1" not in told, told
    status, told = _run(tmp_path, *further, "--processes", "1")
    assert status == 0 and "note: --processes 1 (was 2): the last bits will differ" in told, told


def test_a_killed_run_of_two_processes_is_continued_to_the_same_bits(tmp_path: Path) -> None:
    asked = ["lm", "--steps", "6", "--save-every", "2", "--processes", "2", "--sequence-length", "16", *SMALL]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _run(tmp_path, *asked, "--out", str(whole))[0] == 0
    run = _start(tmp_path, *asked, "--out", str(killed))
    try:
        _wait_for(killed / "resume.safetensors")
    finally:
        run.kill()
        run.communicate(timeout=SECONDS)
    status, told = _run(tmp_path, "lm", "--resume", "--out", str(killed))
    assert status == 0 or "its run is finished" in told, told
    models = [read_tensors(folder / "model.safetensors")[1] for folder in (whole, killed)]
    assert all((models[0][name] == models[1][name]).all() for name in models[0])
