"""Filters with worker processes, measured: `python benchmarks/filters.py [PART...] --lines FILE --out FILE.md`.

    translate    one process on one core, one on all cores, and workers: seconds, and whether the bytes are equal
    classify     the same, and the threads that are the default
    score        the same for a language model
    sources      the same for a translator that scores lines given their sources
    few          one text, and a hundred lines: seconds
    crossover    files of more and more lines, one process beside the default: seconds
    memory       the peak of each process, in MiB

Each part runs `nlpseq` as a user does, its sides in turns, and takes medians. `--before FOLDER` also runs the package
in another checkout, with the default options. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.text.bundled import BUNDLED
from nlpseq.workers import available_cores

CORES = available_cores()
Rows = list[tuple[str, ...]]


class Side(NamedTuple):
    """One way to run a command."""

    name: str
    flags: tuple[str, ...] = ()
    one_core: bool = False
    package: Path | None = None  # another checkout


class Done(NamedTuple):
    """What a run took and wrote."""

    seconds: float
    digest: str


def run(side: Side, arguments: Sequence[object], stdin: Path | None = None) -> Done:
    """Run a command once."""
    environment = {**os.environ, **({"PYTHONPATH": str(side.package)} if side.package else {})}
    hold: Any = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if side.one_core else None
    command = [sys.executable, "-P", "-m", "nlpseq", *map(str, arguments), "-q", *side.flags]
    started = time.monotonic()
    with open(stdin or os.devnull, "rb") as file:
        done = subprocess.run(command, stdin=file, stdout=subprocess.PIPE, env=environment, preexec_fn=hold, check=True)
    return Done(time.monotonic() - started, hashlib.sha256(done.stdout).hexdigest())


def beside(
    title: str, sides: Sequence[Side], arguments: Sequence[object], rounds: int, stdin: Path | None = None
) -> Rows:
    """A row for each side: the median of its seconds, how often that fits into the first side's, and its bytes."""
    runs: dict[str, list[Done]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            runs[side.name].append(run(side, arguments, stdin))
    medians = {name: statistics.median(done.seconds for done in own) for name, own in runs.items()}
    first = sides[0].name
    expected = runs[first][0].digest
    return [
        (
            title,
            name,
            f"{medians[name]:.2f}",
            f"{medians[first] / medians[name]:.2f}",
            "equal" if all(done.digest == expected for done in own) else "DIFFERENT",
        )
        for name, own in runs.items()
    ]


def usual_sides(before: Path | None, *, threads: bool) -> list[Side]:
    """The sides of a filter; `threads` says that threads are its default."""
    sides = [
        Side("1 process, 1 core", ("--processes", "1"), one_core=True),
        Side(f"1 process, {CORES} cores", ("--processes", "1")),
        Side(f"{CORES} processes", ("--processes", str(CORES))),
    ]
    if threads:
        sides[1] = Side(f"default: threads on {CORES} cores")
    return sides + ([Side(f"before, {CORES} cores", package=before)] if before else [])


class Setting(NamedTuple):
    """What all parts need."""

    lines: Path
    sources: Path  # of the translator that scores the lines
    model: str
    rounds: int
    before: Path | None


def translate(setting: Setting) -> Rows:
    """The usual beam."""
    arguments = ("translate", "-m", setting.model, setting.lines)
    return beside("translate", usual_sides(setting.before, threads=False), arguments, setting.rounds)


def classify(setting: Setting) -> Rows:
    """The bundled classifier."""
    arguments = ("classify", "-m", "reviews", setting.lines)
    return beside("classify", usual_sides(setting.before, threads=True), arguments, setting.rounds)


def score(setting: Setting) -> Rows:
    """The bundled language model."""
    arguments = ("score", "-m", "stories", setting.lines)
    return beside("score", usual_sides(setting.before, threads=True), arguments, setting.rounds)


def sources(setting: Setting) -> Rows:
    """The lines as translations of themselves."""
    arguments = ("score", "-m", setting.model, "--source", setting.sources, setting.lines)
    return beside("score --source", usual_sides(setting.before, threads=False), arguments, setting.rounds)


def _head(setting: Setting, folder: Path, count: int) -> Path:
    path = folder / f"{count}.txt"
    with setting.lines.open("rb") as file:
        path.write_bytes(b"".join(line for line, _ in zip(file, range(count), strict=False)))
    return path


def few(setting: Setting) -> Rows:
    """A single text, and few lines."""
    sides = [Side("now"), Side("before", package=setting.before)] if setting.before else [Side("now")]
    model = ("-m", setting.model)
    with tempfile.TemporaryDirectory() as folder:
        hundred = _head(setting, Path(folder), 100)
        rows = beside("translate, one text", sides, ("translate", *model, "A man is sleeping."), 3 * setting.rounds)
        return rows + beside("translate, 100 lines", sides, ("translate", *model, hundred), 3 * setting.rounds)


def crossover(setting: Setting) -> Rows:
    """More and more lines."""
    rows: Rows = []
    sides = [Side("1 process", ("--processes", "1")), Side("default")]
    with tempfile.TemporaryDirectory() as folder:
        for count in (250, 500, 1000, 1500, 2000, 4000):
            arguments = ("translate", "-m", setting.model, _head(setting, Path(folder), count))
            rows += beside(f"translate, {count:,} lines", sides, arguments, setting.rounds)
    return rows


def _peaks(arguments: Sequence[object]) -> tuple[int, list[int]]:
    """The peak memory of a command and of each of its workers, in kB."""
    command = [sys.executable, "-P", "-m", "nlpseq", *map(str, arguments), "-q"]
    peaks: dict[int, int] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                for number in (process.pid, *map(int, children)):
                    status = Path(f"/proc/{number}/status").read_text()
                    peaks[number] = int(status.split("VmHWM:")[1].split()[0])
            except (OSError, IndexError):  # it has just ended
                pass
            time.sleep(0.05)
        return peaks.pop(process.pid, 0), list(peaks.values())


def memory(setting: Setting) -> Rows:
    """The peaks with one process and with workers."""
    rows: Rows = []
    for processes in (1, CORES):
        own, workers = _peaks(("translate", "-m", setting.model, setting.lines, "--processes", processes))
        name = f"{processes} process{'es' * (processes > 1)}"
        told = f"{own // 1024} + {' + '.join(str(peak // 1024) for peak in workers) or 0}"
        rows.append(("translate, peak MiB", name, told, f"{(own + sum(workers)) // 1024}", ""))
    return rows


PARTS: dict[str, Callable[[Setting], Rows]] = {
    part.__name__: part for part in (translate, classify, score, sources, few, crossover, memory)
}


def main() -> None:
    """Run the parts, and write a table."""
    parser = argparse.ArgumentParser(description="Filters with worker processes, measured.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--lines", type=Path, help="English lines [default: 10,000 of the bundled english-german]")
    parser.add_argument("--model", default="english-german", help="the translator")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another checkout to measure beside this one")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = chosen.lines
        if lines is None:
            pairs = list(BUNDLED["english-german"].read())
            lines = Path(folder) / "lines.txt"
            lines.write_text("".join(pairs[number % len(pairs)].split("\t")[0] + "\n" for number in range(10_000)))
        setting = Setting(lines.resolve(), lines.resolve(), chosen.model, chosen.rounds, chosen.before)
        head = f"{platform.machine()}, {CORES} cores, load {os.getloadavg()[0]:.1f}, medians of {chosen.rounds}\n\n"
        text = head + "| what | side | seconds | times | bytes |\n|---|---|---|---|---|\n"
        for name in chosen.parts or PARTS:
            for row in PARTS[name](setting):
                text += f"| {' | '.join(row)} |\n"
                print(text.splitlines()[-1], file=sys.stderr)
    if chosen.out:
        chosen.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
