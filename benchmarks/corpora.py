"""What a large corpus costs, measured: `python benchmarks/corpora.py TEXT [PART...] --out FILE.md`.

    speed      tokenising MEGABYTES of text, megabytes a second in all: this version with one process and with all cores
               and, with --base FOLDER, the one process of the version whose repository is there
    crossover  texts of 1 to 32 megabytes, with one process and with all cores: seconds
    memory     the peak memory of `nlpseq train lm` on TEXT, and on MEGABYTES made of its lines: of the process itself,
               mapped pages included, and of its worker processes together
    stream     the peak memory of reading all tokens of MEGABYTES, twice

The large text repeats the lines of TEXT (a plain text file), permuted each time. Both sides of a comparison run by
turns, ROUNDS times; the table has the medians. `speed` of a gigabyte takes about ten minutes for each round and kind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measured import measure

HERE = Path(__file__).resolve().parents[1]
CORES = len(os.sched_getaffinity(0))
TRAIN = ("--hidden-size", "128", "--ngrams", "1", "--steps")
TOKENISE = """
import json, sys, tempfile, time
from pathlib import Path
from nlpseq.training.data.corpus import tokenise_corpus
name, kind, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])
given = {"processes": processes} if processes else {}
stages, last = {}, [None, time.perf_counter()]
def watch(work, done, total):
    now = time.perf_counter()
    if last[0] is not None:
        stages[last[0]] = stages.get(last[0], 0) + now - last[1]
    last[:] = work, now
with tempfile.TemporaryDirectory() as folder:
    started = time.perf_counter()
    tokenise_corpus([name], (), Path(folder), tokens=kind, watch=watch, **given)
    print(json.dumps({"seconds": time.perf_counter() - started, **stages}))
"""
READ = """
import sys
from pathlib import Path
from nlpseq.text.stream import TokenStream, write_stream
import numpy as np
path = Path(sys.argv[1], "tokens.arrow")
pieces = (np.full(1 << 20, number % 256) for number in range(int(sys.argv[2])))
stream = write_stream(path, pieces, 256)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1000
before = peak()
assert stream.sha256 and [len(stream[start : start + 65]) for start in range(0, len(stream), 64)]
print(peak() - before)
"""

Rows = list[tuple[str, str]]


def make_text(source: Path, path: Path, megabytes: float) -> Path:
    """The lines of a text, permuted, and again until there are so many megabytes."""
    lines, generator, left = source.read_bytes().splitlines(keepends=True), random.Random(1), megabytes * 1e6
    with path.open("wb") as file:
        while left > 0:
            generator.shuffle(lines)
            for line in lines:
                left -= file.write(line)
                if left <= 0:
                    break
    return path


def tokenise(name: Path, kind: str, processes: int, root: Path = HERE) -> dict[str, float]:
    """The seconds of tokenising a text by the version in `root`, in all and by stage."""
    words = [sys.executable, "-c", TOKENISE, str(name), kind, str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(words, env=environment, cwd=name.parent, capture_output=True, text=True, check=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def medians(sides: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, dict[str, float]]:
    """The median of each number of each side, which run by turns."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            found[side].append(run())
    return {side: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for side, runs in found.items()}


def speed(text: Path, folder: Path, given: argparse.Namespace) -> Rows:
    """Megabytes a second."""
    large = make_text(text, folder / "large.txt", given.megabytes)
    size, rows = large.stat().st_size / 1e6, []
    for kind in given.tokens:
        sides: dict[str, Callable[[], dict[str, float]]] = {}
        if given.base:
            sides["before, one process"] = partial(tokenise, large, kind, 0, given.base)
        sides["one process"] = partial(tokenise, large, kind, 1)
        sides[f"{CORES} processes"] = partial(tokenise, large, kind, CORES)
        taken = medians(sides, given.rounds)
        first = next(iter(taken.values()))["seconds"]
        for side, seconds in taken.items():
            stages = ", ".join(f"{work} {value:.1f} s" for work, value in seconds.items() if work != "seconds")
            ratio = first / seconds["seconds"]
            rows.append(
                (f"{size:,.0f} MB, {kind}, {side}", f"{size / seconds['seconds']:.1f} MB/s ({ratio:.2f}): {stages}")
            )
    return rows


def crossover(text: Path, folder: Path, given: argparse.Namespace) -> Rows:
    """Seconds of small texts."""
    rows = []
    for megabytes in (1, 2, 4, 8, 16, 32):
        small = make_text(text, folder / "small.txt", megabytes)
        for kind in given.tokens:
            sides: dict[str, Callable[[], dict[str, float]]] = {
                f"{count} processes": partial(tokenise, small, kind, count) for count in (1, CORES)
            }
            taken = medians(sides, given.rounds)
            rows.append(
                (f"{megabytes} MB, {kind}", ", ".join(f"{side} {run['seconds']:.2f} s" for side, run in taken.items()))
            )
    return rows


def peaks(words: list[str], folder: Path) -> tuple[float, float]:
    """Peak memory in megabytes of a command, and the largest sum over its children at any moment."""
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = children = 0.0
    while process.poll() is None:
        statuses = {int(path.name): _status(path) for path in Path("/proc").iterdir() if path.name.isdecimal()}
        own = max(own, _kilobytes(statuses.get(process.pid, ""), "VmHWM") / 1000)
        below = [status for status in statuses.values() if f"PPid:\t{process.pid}\n" in status]
        below = [status for status in below if "nlpseq.workers" in status]  # not one that has still to start
        children = max(children, sum(_kilobytes(status, "VmRSS") for status in below) / 1000)
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with status {process.returncode}")
    return own, children


def _status(path: Path) -> str:
    try:
        return (path / "status").read_text() + (path / "cmdline").read_text()
    except OSError:
        return ""


def _kilobytes(status: str, name: str) -> int:
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")), 0)


def memory(text: Path, folder: Path, given: argparse.Namespace) -> Rows:
    """Peak memory of training on both sizes."""
    large = make_text(text, folder / "large.txt", given.megabytes)
    rows = []
    for kind in given.tokens:
        found = []
        for name in (text, large):
            words = [sys.executable, "-m", "nlpseq", "train", "lm", str(name.resolve()), "--tokens", kind]
            own, workers = peaks([*words, *TRAIN, str(given.steps), "--out", "run", "--overwrite", "-q"], folder)
            found.append(own)
            size = name.stat().st_size / 1e6
            rows.append(
                (f"training on {size:,.0f} MB, {kind}, {given.steps} steps", f"{own:.0f} MB, workers {workers:.0f} MB")
            )
        rows.append((f"the large text against the small one, {kind}", f"{found[1] - found[0]:+.0f} MB"))
    return rows


def stream(text: Path, folder: Path, given: argparse.Namespace) -> Rows:
    """Peak memory of reading a token file."""
    words = [sys.executable, "-c", READ, str(folder), str(int(given.megabytes * 1e6) >> 20)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return [(f"reading a token file of {given.megabytes:,.0f} MB twice", f"{float(done.stdout):+.0f} MB")]


PARTS: dict[str, Callable[[Path, Path, argparse.Namespace], Rows]] = {
    part.__name__: part for part in (speed, crossover, memory, stream)
}


def main() -> None:
    """Measure the named parts, or all, and print a table; `--out` writes it too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="a plain text file whose lines make the large text")
    parser.add_argument("parts", nargs="*", help=f"parts to measure: {', '.join(PARTS)} [default: all]")
    parser.add_argument("--megabytes", type=float, default=1000, help="size of the large text")
    parser.add_argument("--tokens", nargs="+", default=["char", "word", "bpe"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30, help="training steps of `memory`")
    parser.add_argument("--base", type=Path, help="a repository of an earlier version, its compiled code built")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text, names = arguments.text.resolve(), arguments.parts or PARTS
    measure([partial(PARTS[name], text, given=arguments) for name in names], arguments.out)


if __name__ == "__main__":
    main()
