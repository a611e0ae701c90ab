"""Training by two processes beside one, measured: `python benchmarks/processes.py [NAME...] --out FILE.md`.

    same      50 steps of each task by one process, by two, and by torchrun: the differences of losses and weights
    speed     tokens per second of two processes with a core each, of one with a core, and of one with two cores
    resume    50 steps, then 50 more by another number of processes, beside 100 at once: the differences
    kill      kill -9 of one of two processes at random moments: the time until the job has ended, and what resumes

Every run is a command as a user types it. The three sides of a speed take turns in one run, and medians are quoted.
About fifteen minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.kernels.machine import describe_machine
from nlpseq.models.model_file import read_tensors

NLPSEQ = [sys.executable, "-m", "nlpseq"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nlpseq"]
DATA = Path(__file__).parents[1] / "../shared/data"
ROUNDS = 3

Rows = list[tuple[str, str]]


def corpora() -> dict[str, list[str]]:
    """The arguments of each task: its corpus, or the bundled one if that is missing."""
    wanted = {
        "lm": [DATA / "tinyshakespeare/input.txt"],
        "sentiment": [DATA / "imdb/train.tsv.gz"],
        "translation": ["--source", DATA / "multi30k/train.en", "--target", DATA / "multi30k/train.de"],
    }
    return {task: [str(word) for word in words if Path(words[-1]).exists()] for task, words in wanted.items()}


def train(*arguments: object, cores: set[int] | None = None, launcher: list[str] = NLPSEQ) -> dict[str, Any]:
    """Run a training command on some cores: what `--json` says in the end. Raises RuntimeError if it fails."""
    words = [*launcher, "train", *map(str, arguments), "--json"]
    pin = None if cores is None else lambda: os.sched_setaffinity(0, cores)
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=pin)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def losses(run: Path) -> dict[int, float]:
    """The training loss of each step of a run."""
    rows = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    return {row["step"]: row["train_loss"] for row in rows if "train_loss" in row}


def differences(one: Path, other: Path) -> str:
    """The largest differences of the losses and of the weights of two runs."""
    first, second = losses(one), losses(other)
    same = sum(first[step] == second[step] for step in first)
    loss = max(abs(first[step] - second[step]) for step in first)
    weights = [read_tensors(run / "resume.safetensors")[1] for run in (one, other)]
    names = [name for name in weights[0] if name.startswith("parameter/")]
    weight = max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in names)
    return f"losses {loss:.1e} ({same} of {len(first)} equal to the bit), weights {weight:.1e}"


def same(folder: Path) -> Rows:
    """Two processes against one."""
    rows = []
    for task, corpus in corpora().items():
        asked = [task, *corpus, "--steps", 50, "--random-seed", 3]
        sides = {
            "one": train(*asked, "--out", folder / f"one-{task}"),
            "two": train(*asked, "--out", folder / f"two-{task}", "--processes", 2),
            "torchrun": train(*asked, "--out", folder / f"torchrun-{task}", launcher=TORCHRUN),
        }
        for side in list(sides)[1:]:
            told = differences(folder / f"one-{task}", folder / f"{side}-{task}")
            rows.append((f"{task}, 50 steps, {'--processes 2' if side == 'two' else side}: largest difference", told))
    return rows


def speed(folder: Path) -> Rows:
    """Tokens per second in steps."""
    rows = []
    steps = {"lm": 60, "sentiment": 60, "translation": 60}
    for task, corpus in corpora().items():
        speeds: dict[str, list[float]] = {
            "one process, one core": [],
            "two processes": [],
            "one process, two cores": [],
        }
        asked = [task, *corpus, "--steps", steps[task], "--validations", 1, "--overwrite", "--out", folder / "speed"]
        for _ in range(ROUNDS):
            for side, cores, count in zip(speeds, ({0}, {0, 1}, {0, 1}), (1, 2, 1), strict=True):
                speeds[side].append(train(*asked, "--processes", count, cores=cores)["tokens_per_second"])
        one, two, both = map(statistics.median, speeds.values())
        told = "; ".join(f"{side} {statistics.median(values):,.0f}" for side, values in speeds.items())
        rows.append((f"{task}: tokens per second", told))
        rows.append(
            (f"{task}: two processes against one with a core, and with two", f"{two / one:.2f}, {two / both:.2f}")
        )
    return rows


def resume(folder: Path) -> Rows:
    """Another number of processes after 50 steps."""
    rows = []
    for task, corpus in corpora().items():
        asked = [task, *corpus, "--random-seed", 3, "--save-every", 50]
        train(*asked, "--steps", 100, "--out", folder / f"whole-{task}")
        for before, after in ((2, 1), (1, 2)):
            out = folder / f"{before}{after}-{task}"
            _stop_after(out, [*asked, "--steps", 100, "--out", out, "--processes", before], 50)
            train(task, "--resume", "--out", out, "--processes", after)
            told = differences(folder / f"whole-{task}", out)
            rows.append((f"{task}: from {before} to {after} processes after step 50, at step 100", told))
    return rows


def _stop_after(out: Path, arguments: list[Any], step: int) -> None:
    """Run a training command until its state of some step is saved, and kill it."""
    run = subprocess.Popen([*NLPSEQ, "train", *map(str, arguments)], stderr=subprocess.DEVNULL)
    while run.poll() is None:
        if (out / "resume.safetensors").exists() and read_tensors(out / "resume.safetensors")[0]["step"] == step:
            run.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    run.wait()
    if read_tensors(out / "resume.safetensors")[0]["step"] != step:
        raise RuntimeError(f"{out} was not stopped after step {step}")


def kill(folder: Path) -> Rows:
    """Kill one of two processes."""
    draws, times, resumed = random.Random(1), [], 0
    moments = [draws.uniform(2, 12) for _ in range(12)]
    for number, seconds in enumerate(moments):
        task, corpus = list(corpora().items())[number % 3]
        out = folder / f"kill-{number}"
        words = [task, *corpus, "--steps", 10_000, "--out", out, "--processes", 2]
        run = subprocess.Popen([*NLPSEQ, "train", *map(str, words)], stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        others = _children(run.pid)
        os.kill(others[0] if others and number % 2 else run.pid, signal.SIGKILL)
        started = time.monotonic()
        run.wait()
        while any(Path(f"/proc/{other}").exists() for other in others):
            time.sleep(0.01)
        times.append(time.monotonic() - started)
        again = "--resume" if (out / "config.json").exists() else "--overwrite"
        train(task, *([] if again == "--resume" else corpus), again, "--minutes", 0.1, "--out", out)
        resumed += 1
    told = f"median {statistics.median(times):.1f} s, longest {max(times):.1f} s; {resumed} of {len(moments)} went on"
    return [("kill -9 of one of two processes, 12 random moments of three tasks: the job has ended after", told)]


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(re.split(r"\) \w ", path.read_text())[1].split()[0]) == parent:
                found.append(int(path.parent.name))
        except (OSError, IndexError):
            continue
    return found


PARTS: dict[str, Callable[[Path], Rows]] = {part.__name__: part for part in (same, speed, resume, kill)}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="parts to run; all, if none is named")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    arguments = parser.parse_args()
    lines = [describe_machine("cpu"), "", "| what | result |", "|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts or PARTS:
            for what, result in PARTS[name](Path(folder)):
                lines.append(f"| {what} | {result} |")
                print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
