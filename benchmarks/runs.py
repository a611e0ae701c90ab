"""What a training run promises at the shell, measured: `python benchmarks/runs.py [NAME...] --out FILE.md`.

    repeats      one command ten times, four of them beside a busy loop: the number of different model files
    minutes      the command that a run of one minute prints, for each task: whether its weights are the same
    further      200 steps and then 400 with --resume, beside 400 at once: the final losses
    interrupts   Ctrl-C at 20 random moments of each task: the model, the exit status, tracebacks
    first        CPU seconds to the first output and to the first step, and the seconds from the last line to the end
    start        generate with the bundled model, beside `import torch`: seconds
    sizes        the model files of a text of 9 kB and of two minutes on the stories
    stores       the loss of the stories with weights stored in fp32, bf16 and int8

Every part runs `nlpseq` as a user does, in a folder of its own. About twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measured import measure

TASKS = {"lm": "stories", "sentiment": "reviews", "translation": "english-german"}
NLPSEQ = [sys.executable, "-m", "nlpseq"]

Rows = list[tuple[str, str]]


def nlpseq(*arguments: object, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    words = [*NLPSEQ, *map(str, arguments)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, **options)


def loss(folder: Path, run: str) -> float:
    """The validation loss of a run, in nats a token."""
    scores = json.loads(nlpseq("inspect", "model", "-m", run, "--json", folder=folder).stdout)["scores"]
    return float(next(score["value"] for score in scores if score["name"] == "loss"))


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Inside, this number of processes keep a core busy each."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def repeats(folder: Path) -> Rows:
    """One command ten times."""
    files = set()
    for number in range(10):
        with busy(2 if number % 3 == 1 or number == 9 else 0):
            nlpseq("train", "lm", "stories", "--steps", 30, "--random-seed", 1, "--out", f"r{number}", folder=folder)
        files.add((folder / f"r{number}" / "model.safetensors").read_bytes())
    return [
        ("`train lm stories --steps 30` ten times, four beside two busy loops: model files", f"{len(files)} distinct")
    ]


def minutes(folder: Path) -> Rows:
    """The printed command of a run of a minute."""
    rows = []
    for task in TASKS:
        said = nlpseq("train", task, "--minutes", 1, "--out", f"m-{task}", folder=folder).stderr
        command = said.split("the same model again: ")[1].splitlines()[0]
        nlpseq(*shlex.split(command)[1:], "--out", f"again-{task}", folder=folder)
        files = [(folder / f"{name}-{task}" / "model.safetensors").read_bytes() for name in ("m", "again")]
        rows.append(
            (f"`{command}` after `train {task} --minutes 1`: the file", "same" if files[0] == files[1] else "DIFFERENT")
        )
    return rows


def further(folder: Path) -> Rows:
    """200 steps and 200 more beside 400."""
    rows = []
    for task in TASKS:
        nlpseq("train", task, "--steps", 400, "--out", f"whole-{task}", folder=folder)
        nlpseq("train", task, "--steps", 200, "--out", f"parted-{task}", folder=folder)
        nlpseq("train", task, "--resume", "--steps", 400, "--out", f"parted-{task}", folder=folder)
        whole, parted = loss(folder, f"whole-{task}"), loss(folder, f"parted-{task}")
        rows.append(
            (
                f"train {task}: 200 steps, then --resume --steps 400, beside 400",
                f"{parted:.4f} beside {whole:.4f} ({100 * (parted / whole - 1):+.2f} %)",
            )
        )
    return rows


def interrupts(folder: Path) -> Rows:
    """Ctrl-C at random moments after the first line of training."""
    rows, generator = [], random.Random(1)
    for task in TASKS:
        good, faults = 0, []
        for number in range(20):
            out = f"i-{task}-{number}"
            words = [*NLPSEQ, "train", task, "--steps", "150", "--out", out]
            process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if line.startswith("step 1/"):
                    break
            time.sleep(generator.uniform(0, 6))
            process.send_signal(signal.SIGINT)
            said += process.stderr.read()
            status = process.wait()
            ended = status == 130 or (status == 0 and "try: " in said)
            usable = nlpseq("inspect", "model", "-m", out, folder=folder).returncode == 0
            if ended and usable and "Traceback" not in said:
                good += 1
            else:
                faults.append((status, usable, said[-300:]))
        rows.append(
            (
                f"Ctrl-C at 20 random moments of `train {task} --steps 150`: usable model, 130, no traceback",
                f"{good} of 20 {faults or ''}",
            )
        )
    return rows


def first(folder: Path) -> Rows:
    """CPU seconds to the first output and the first step, with the default budget; the time after the last line."""
    rows = []
    for task in TASKS:
        outputs, steps = [], []
        for number in range(5):
            words = [*NLPSEQ, "train", task, "--out", f"f-{task}-{number}"]
            process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            assert process.stderr is not None
            spent = []
            for line in process.stderr:
                spent.append(cpu_seconds(process.pid))
                if line.startswith("step "):
                    break
            process.kill()
            process.wait()
            outputs.append(spent[0])
            steps.append(spent[-1])
        after = []
        for number in range(3):
            words = [*NLPSEQ, "train", task, "--steps", "20", "--out", f"e-{task}-{number}"]
            process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("try: "):
                    last = time.monotonic()
            process.wait()
            after.append(time.monotonic() - last)
        rows.append(
            (
                f"train {task}: first output, first step report, CPU s",
                f"{statistics.median(outputs):.2f}, {statistics.median(steps):.2f}",
            )
        )
        rows.append((f"train {task}: from the last line to the end, s", f"{statistics.median(after):.2f}"))
    return rows


def cpu_seconds(process: int) -> float:
    """The CPU seconds of a running process, all threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(folder: Path) -> Rows:
    """A text from the bundled model, beside the import of torch."""

    def seconds(words: list[str]) -> float:
        times = []
        for _ in range(9):
            started = time.monotonic()
            subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
            times.append(time.monotonic() - started)
        return statistics.median(times)

    ours, torch = seconds([*NLPSEQ, "generate", "--length", "100"]), seconds([sys.executable, "-c", "import torch"])
    return [
        (
            "`generate --length 100` with the bundled model, beside `import torch`, s",
            f"{ours:.3f}, {torch:.3f}: {ours / torch:.2f}",
        )
    ]


def sizes(folder: Path) -> Rows:
    """Model files in proportion to what was learned."""
    text = subprocess.run([*NLPSEQ, "corpus", "show", "stories"], capture_output=True, check=True).stdout
    (folder / "small.txt").write_bytes(text[:9000])
    rows = []
    for name, words in (
        ("a text of 9 kB, --minutes 0.5", ["small.txt", "--minutes", "0.5"]),
        ("stories, --minutes 2", ["stories", "--minutes", "2"]),
    ):
        nlpseq("train", "lm", *words, "--out", "size", "--overwrite", folder=folder)
        rows.append((f"model of {name}, MB", f"{(folder / 'size' / 'model.safetensors').stat().st_size / 1e6:.2f}"))
    return rows


def stores(folder: Path) -> Rows:
    """The same run with its weights stored in three formats."""
    rows = []
    for task in TASKS:
        losses = {}
        for store in ("fp32", "bf16", "int8"):
            nlpseq("train", task, "--steps", 600, "--store", store, "--out", f"s-{task}-{store}", folder=folder)
            size = (folder / f"s-{task}-{store}" / "model.safetensors").stat().st_size / 1e6
            losses[store] = (loss(folder, f"s-{task}-{store}"), size)
        exact = losses["fp32"][0]
        words = ", ".join(f"{store} {value - exact:+.5f} ({size:.2f} MB)" for store, (value, size) in losses.items())
        rows.append((f"train {task}, 600 steps, loss {exact:.4f}; stored as", words))
    return rows


PARTS: dict[str, Callable[[Path], Rows]] = {
    part.__name__: part for part in (repeats, minutes, further, interrupts, first, start, sizes, stores)
}


def main() -> None:
    """Measure the named parts, or all, and print a table; `--out` writes it too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="parts to measure [default: all]")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    measure([PARTS[name] for name in arguments.parts or PARTS], arguments.out)
    print(
        f"peak memory of a child: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3:.0f} MB",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
