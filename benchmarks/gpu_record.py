"""All that a GPU is needed for, in one command: a dated record in Markdown and JSON, with the failures in it.

    python benchmarks/gpu_record.py [--out FOLDER] [--only PART ...] [--seconds N] [--data FOLDER]

    compile   kernels, in as many processes as there are processors, into Triton's cache on disk
    check     every cell, option, way and type against a loop in double precision
    steps     training steps of all three tasks beside the same models of torch.nn
    kernels   layers beside cuDNN, called and as CUDA graphs; options, lengths, directions; the card's ceilings
    resume    a run that is killed and taken up again, to the same bits
    train     at most 45 seconds each of two language models and a translator, and their test scores
    decode    lines and tokens a second of the filters

Each part is a process of its own with a share of the time, and what one leaves goes to those after it. A fault on the
GPU ends one part, not the record. Parts of several calls on one day, of one card and commit, make one record, and what
was left out is named. It is meant for two calls of 240 seconds, one with `--only` for each of the first four parts and
one for the last three: a single one cuts every part short. Processes are forked after torch is imported, which saves
seconds for each of them; the price is that this one may never touch the GPU itself. Without a GPU it says so and ends
with status 1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

BEGUN = time.monotonic()  # before torch is imported, so that the seconds are those of the command
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [folder for folder in (str(ROOT), str(ROOT / "benchmarks")) if folder not in sys.path]

import gpu_cells  # noqa: E402
import gpu_check  # noqa: E402
import gpu_runs  # noqa: E402
import gpu_steps  # noqa: E402
import torch  # noqa: E402
from gpu_cells import Row, first_line  # noqa: E402

SECONDS = 240.0
SAME = ("date", "card", "driver", "torch", "Triton", "commit")  # facts of records that may be joined
GRACE = 4.0  # seconds after its time in which a part may end by itself
FINISH = 2.0  # seconds that are kept to write the record


@dataclass(frozen=True)
class Conditions:
    """What every part is told."""

    data: Path | None
    folder: Path  # for what is made on the way
    processes: int


class Part(NamedTuple):
    """A part's share of the time, and what makes its rows until a deadline."""

    share: float
    rows: Callable[[float, Conditions], Iterator[Row]]


def compile_kernels(deadline: float, conditions: Conditions) -> Iterator[Row]:
    """Run each layer and step once, and begin each training run, so that what they need is compiled."""
    jobs = [partial(gpu_steps.warm, *job) for job in gpu_steps.warm_jobs()]
    jobs += [partial(gpu_cells.warm, *job) for job in gpu_cells.warm_jobs()]
    jobs += [
        partial(gpu_cells.warm_directions, cell, shape) for shape in gpu_cells.SOME_SHAPES for cell in ("lstm", "gru")
    ]
    begun = []
    for key, training in gpu_runs.TRAININGS.items():
        if conditions.data is not None and not gpu_runs.missing(training, conditions.data):
            folder = conditions.folder / f"compile-{key}"
            seconds = gpu_runs.LONGEST_TRAINING
            begun.append(gpu_runs.start(gpu_runs.training_words(training, conditions.data, folder, seconds)))
    started = time.monotonic()
    found = list(gpu_check.shared_out(_attempt, jobs, max(1, conditions.processes - len(begun)), deadline))
    for process in begun:
        process.kill()
    reasons = sorted({reason for reason in found if reason})
    took = time.monotonic() - started
    yield {"note": f"{len(found) - sum(map(bool, found))} of {len(jobs)} layers and steps compiled in {took:.0f} s"}
    yield from ({"note": f"not compiled: {reason}"} for reason in reasons[:10])


def _attempt(job: Callable[[], object]) -> str:
    """Why a job failed, or nothing."""
    try:
        job()
    except Exception as error:
        return first_line(error)
    return ""


# Shares are seconds. The first four are what those parts would take in whole on an H100 beside 16 processors, at the
# rates of 28 November 2026. The others are guesses that fill a second call.
PARTS: dict[str, Part] = {
    "compile": Part(70, compile_kernels),
    "check": Part(40, lambda deadline, given: gpu_check.measure(deadline, given.processes)),
    "steps": Part(20, lambda deadline, given: gpu_steps.measure(deadline)),
    "kernels": Part(95, lambda deadline, given: gpu_cells.measure(deadline)),
    "resume": Part(55, lambda deadline, given: gpu_runs.resume(deadline, given.folder)),
    "train": Part(120, lambda deadline, given: gpu_runs.train(deadline, given.data, given.folder)),
    "decode": Part(55, lambda deadline, given: gpu_runs.decode(deadline, given.data, given.folder)),
}


def part_deadline(name: str, chosen: Sequence[str], now: float, end: float) -> float:
    """When a part has to be done: its share of what is left, among itself and the chosen parts after it."""
    rest = chosen[list(chosen).index(name) :]
    return now + max(0.0, end - now) * PARTS[name].share / sum(PARTS[one].share for one in rest)


def run_part(rows: Callable[[float], Iterator[Row]], deadline: float) -> Iterator[Row]:
    """The rows of a part, from a process of its own that is stopped after the deadline; how it failed is a row too."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(rows, deadline, sender))
    process.start()
    sender.close()
    try:
        while receiver.poll(max(0.0, deadline + GRACE - time.monotonic())):
            yield receiver.recv()
        yield {"left out": "the rest: it was stopped, for its time was over"}
    except EOFError:
        process.join(GRACE)
        if process.exitcode:
            yield {"failure": f"the process ended with status {process.exitcode}"}
    finally:
        _stop(process)


def _send_rows(rows: Callable[[float], Iterator[Row]], deadline: float, sender: Any) -> None:
    os.setsid()
    try:
        for row in rows(deadline):
            sender.send(row)
    except Exception as error:
        sender.send({"failure": f"{type(error).__name__}: {first_line(error)}"})
    sender.close()


def _stop(process: Any) -> None:
    """End a part's process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.join()


def gpu_facts() -> Iterator[Row]:
    """Why there is no GPU to use, or what it is; asked in a process of its own."""
    from nlpseq.kernels.gpu import recurrence

    reason = recurrence.unavailable()
    if reason:
        yield {"reason": reason}
        return
    properties = torch.cuda.get_device_properties(0)
    yield {
        "card": torch.cuda.get_device_name(),
        "multiprocessors": properties.multi_processor_count,
        "memory, GB": round(properties.total_memory / 1e9, 1),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        "cuDNN may use TF32 for fp32": torch.backends.cudnn.allow_tf32,
    }


def command_of(given: argparse.Namespace) -> str:
    """What was asked for, without the folders of the machine."""
    chosen = "".join(f" --only {part}" for part in given.only or ())
    return f"python benchmarks/gpu_record.py{chosen} --seconds {given.seconds:g}"


def host_facts(command: str) -> dict[str, Any]:
    """Versions, date, commit and command."""
    from nlpseq import __version__
    from nlpseq.kernels.machine import processor_name

    return {
        "date": date.today().isoformat(),
        "driver": _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": torch.__version__,
        "Triton": _version("triton"),
        "Python": platform.python_version(),
        "nlpseq": __version__,
        "commit": _commit(),
        "processor": f"{processor_name()}, {_processors()} cores",
        "command": command,
    }


def _commit() -> str:
    if given := os.environ.get("NLPSEQ_COMMIT"):  # for a copy without its history
        return given
    found = _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{found} and changes" if changed not in ("", "unknown") else found


def _said(*words: str) -> str:
    """A program's answer, or `unknown`."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Record:
    """What was found: facts, and the rows and seconds of each part."""

    facts: Mapping[str, Any]
    parts: dict[str, list[Row]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {"facts": dict(self.facts), "seconds": self.seconds, "parts": self.parts}

    def path(self, folder: Path) -> Path:
        """Where it is written."""
        return folder / f"{self.facts['date']}-gpu.md"

    def add_earlier(self, folder: Path) -> None:
        """Take the parts of a record of the same day, card, versions and commit, so that several calls make one."""
        try:
            found = json.loads(self.path(folder).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if all(found["facts"].get(name) == self.facts.get(name) for name in SAME):
            self.parts.update(found["parts"])
            self.seconds.update(found["seconds"])
            self.facts = {**self.facts, "command": f"{found['facts'].get('command')}; {self.facts.get('command')}"}

    def write(self, folder: Path) -> Path:
        """Write both files and say which the Markdown is."""
        folder.mkdir(parents=True, exist_ok=True)
        path = self.path(folder)
        path.write_text(markdown(self), encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(self.as_json(), indent=1, default=str), encoding="utf-8")
        return path


def markdown(record: Record) -> str:
    """The record as a page: facts, failures and what was left out, then the tables of each part."""
    facts = record.facts
    lines = [f"# A GPU: {facts.get('card', 'unknown')}, {facts.get('date', 'no date')}", ""]
    lines += [*table_lines([{"what": name, "is": value} for name, value in facts.items()]), ""]
    for kind, heading in (("failure", "Failures"), ("left out", "Left out")):
        found = [f"- {part}: {row[kind]}" for part, rows in record.parts.items() for row in rows if kind in row]
        lines += [f"## {heading}", "", *(found or ["None."]), ""]
    for part, rows in record.parts.items():
        lines += [f"## {part}, {record.seconds.get(part, 0.0):.0f} s", ""]
        lines += [*(f"- {row['note']}" for row in rows if "note" in row), ""]
        tables: dict[str, list[Row]] = {}
        for row in rows:
            if "table" in row:
                tables.setdefault(row["table"], []).append({name: row[name] for name in row if name != "table"})
        for name, found_rows in tables.items():
            lines += [f"### {name}", "", *table_lines(found_rows), ""]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip("\n") + "\n"


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Rows as a table of Markdown; what a row lacks is a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *cells)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("|", "\\|").replace("\n", " ")


def run(chosen: Sequence[str], end: float, conditions: Conditions, record: Record, out: Path) -> None:
    """Run parts until `end` of `time.monotonic`; the record is written anew after each."""
    for name in chosen:
        begun = time.monotonic()
        rows = record.parts[name] = []
        deadline = part_deadline(name, chosen, begun, end)
        for row in run_part(lambda until, name=name: PARTS[name].rows(until, conditions), deadline):
            rows.append(row)
            shown = {key: value for key, value in row.items() if value is not None}
            print(f"{name}: {json.dumps(shown, default=str)}", file=sys.stderr, flush=True)
        record.seconds[name] = round(time.monotonic() - begun, 1)
        record.write(out)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out = Path(os.environ.get("OUT") or ROOT / "benchmarks")
    parser.add_argument("--out", type=Path, default=out, metavar="FOLDER", help=f"where the record goes [{out.name}/]")
    parser.add_argument("--only", action="append", choices=[*PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="N", help="for all parts together")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="with folders tinyshakespeare, wikitext2 and multi30k; what is missing is left out",
    )
    return parser.parse_args(arguments)


def main(arguments: Iterable[str] | None = None) -> int:
    """Make the record; the exit status is 1 where there is no GPU or anything failed."""
    given = parse(None if arguments is None else [*arguments])
    end = BEGUN + given.seconds - FINISH - GRACE
    found = next(run_part(lambda deadline: gpu_facts(), time.monotonic() + 60))
    reason = found.get("reason") or found.get("failure") or found.get("left out")
    if reason:
        print(f"nothing was measured: {reason}", file=sys.stderr)
        return 1
    record = Record({**found, **host_facts(command_of(given))})
    record.add_earlier(given.out)
    chosen = [name for name in PARTS if not given.only or name in given.only]
    folder = Path(tempfile.mkdtemp(prefix="gpu-record-"))
    try:
        run(
            chosen,
            end,
            Conditions(gpu_runs.find_data(given.data), folder, max(1, _processors() - 1)),
            record,
            given.out,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = record.write(given.out)
    print(path.read_text(encoding="utf-8"))
    return int(any("failure" in row for rows in record.parts.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
