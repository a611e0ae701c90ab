"""Files that are damaged or made to do harm: `python benchmarks/fuzz_files.py --flips 500 --truncations 100`.

Small models of all tasks are trained, and every kind of file that is read back is damaged: models (of every task, whole
and packed), states of language models, resume files, token files, configurations and histories. A file is damaged by

    flips         one bit
    truncations   the file ends early
    crafted       a file that is sound, with a right checksum, but says what no training writes: tensors that are
                  missing, shortened, of another type or not finite, headers of wrong types, deep or huge, tokenisers
                  that lie, tokens and counters that cannot be

Then commands run that read it. Each must either do what it does with the sound file, or say one sentence and end with
status 1 or 2. What counts as a finding: another output with status 0, a traceback, a crash (a signal), a hang, more
memory than the sound file takes and MEMORY bytes. A changed digit in a history or an edited configuration is no
finding if it is still a sound one: a history has no checksum, and the options of a configuration that was edited with
its checksum are those of another run.

Commands run in worker processes of limited memory, many in each; a worker that dies is replaced. 500 flips, 100
truncations and 1,000 crafted files take about ten minutes of a core. With `--sanitize` the compiled code is built with
address and undefined-behaviour sanitizers first, and the tests of compiled code run with it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import sanitized
from crafted_files import CRAFTED, Craft

HERE = Path(__file__).parent
MEMORY = 3 << 30  # bytes of address space beyond what a worker has mapped when it starts
SECONDS = 60.0  # for a command; more is a hang
JOBS = 400  # commands of a worker, which is then replaced
STEPS = 12
STATUSES = (0, 1, 2)
FACTS = ("inspect", "model")  # shows what the header says, so that another sound header is another output
SURE = ("flips", "truncations")
TEXT = "The cat sat on the mat.\nThe dog sat on the log.\nA bird sang in the tree, où es-tu?\n" * 30


class Case(NamedTuple):
    """A file of a run, and the commands that read it. Paths in the commands are below the run's folder, as @NAME."""

    kind: str
    source: Path  # the folder that is copied
    files: tuple[str, ...]  # in it; one of them is damaged
    commands: tuple[tuple[str, ...], ...]
    output: str | None = None  # a file whose tensors are the output, too
    exact: tuple[str, ...] = ("flips", "truncations", "crafted")  # after which another output is a finding


class Outcome(NamedTuple):
    """What a command did."""

    status: int | None  # None: the worker died or hung
    output: str
    errors: str


class Worker:
    """A process that runs commands of nlpseq, one after the other, in itself."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._done = 0

    def run(self, folder: Path, arguments: Sequence[str]) -> Outcome:
        """Run a command in a folder."""
        if self._process is None or self._done >= JOBS:
            self._start()
        process, self._done = self._process, self._done + 1
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([str(folder), list(arguments)]).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else b""
        if line:
            return Outcome(*json.loads(line))
        code = self._end(process)
        said = "hang" if not ready else f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return Outcome(None, "", f"{said}\n{self._log}")

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """End a process, and keep what it said last in `_log`: its status."""
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        with process:
            code = process.wait()
        with self._errors:
            self._errors.seek(0)
            self._log = self._errors.read().decode("utf-8", "replace")[-2000:]
        self._process = None
        return code

    def _start(self) -> None:
        self.stop()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fuzz_worker.py"), str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment,
        )
        self._done = 0

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end(self._process)


def main() -> int:
    """Damage files, and show what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=500, help="number of flipped bits [default: 500]")
    parser.add_argument("--truncations", type=int, default=100, help="number of truncations [default: 100]")
    parser.add_argument("--crafted", type=int, default=1000, help="number of crafted files [default: 1000]")
    parser.add_argument("--seed", type=int, default=1, help="of all draws")
    parser.add_argument("--kinds", nargs="*", help="kinds of files; all, if none is named")
    parser.add_argument("--sanitize", action="store_true", help="build the compiled code with sanitizers first")
    parser.add_argument("--runs", type=Path, help="a folder for the sound runs, which are made only once")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, environment, findings = Path(name), {}, 0
        if arguments.sanitize:
            if reason := sanitized.why_not():
                print(f"there are no sanitizers: {reason}", file=sys.stderr)
                return 2
            (folder / "sanitized").mkdir()
            environment = sanitized.environment(sanitized.build(folder / "sanitized"))
            done = sanitized.run_tests(environment, sanitized.TESTS)
            findings += done.returncode != 0
            print(f"tests of compiled code with sanitizers: {done.stdout.strip().splitlines()[-1:]}\n{done.stderr}")
        worker = Worker(environment)
        cases = [
            case
            for case in make_cases(arguments.runs or folder / "runs")
            if not arguments.kinds or case.kind in arguments.kinds
        ]
        counts = {"flips": arguments.flips, "truncations": arguments.truncations, "crafted": arguments.crafted}
        table, found = fuzz(cases, counts, arguments.seed, worker, folder / "tried")
        worker.stop()
    print(table)
    if arguments.out:
        arguments.out.write_text(table)
    return int(bool(findings + found))


def fuzz(cases: Sequence[Case], counts: dict[str, int], seed: int, worker: Worker, folder: Path) -> tuple[str, int]:
    """Damage the files of cases by turns, so many of each sort in all: a table, and the number of findings."""
    draws, tried, found = random.Random(seed), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    refused: Counter[tuple[str, str]] = Counter()
    sound = [_sound(case, worker, folder) for case in cases]
    for sort, count in counts.items():
        for number in range(count):
            case, expected = cases[number % len(cases)], sound[number % len(cases)]
            own = random.Random(draws.getrandbits(64))
            _copy(case, folder)
            path = folder / own.choice(case.files)
            what = SORTS[sort](case, path, own)
            if what is None:
                continue
            tried[sort, case.kind] += 1
            for arguments, before in zip(case.commands, expected, strict=True):
                after = _run(case, worker, folder, arguments)
                refused[sort, case.kind] += after.status not in (0, None)
                exact = sort in case.exact and not (sort == "crafted" and arguments[:2] == FACTS)
                if fault := _fault(after, before, exact=exact):
                    found[sort, case.kind] += 1
                    print(f"{sort} {number}, {case.kind} ({what}): nlpseq {' '.join(arguments)}: {fault}", flush=True)
    return _table(counts, cases, tried, refused, found), sum(found.values())


def _sound(case: Case, worker: Worker, folder: Path) -> list[Outcome]:
    """What the commands do with the sound file. Raises RuntimeError if one fails."""
    outcomes = []
    for arguments in case.commands:
        _copy(case, folder)
        outcomes.append(_run(case, worker, folder, arguments))
        if outcomes[-1].status != 0:
            raise RuntimeError(f"{case.kind}: nlpseq {' '.join(arguments)}: {outcomes[-1]}")
    return outcomes


def _run(case: Case, worker: Worker, folder: Path, arguments: Sequence[str]) -> Outcome:
    """Run a command; the tensors of the output file, if the case has one, belong to the output."""
    outcome = worker.run(folder, [word.replace("@", "./") for word in arguments])
    if case.output is not None and outcome.status == 0:
        from nlpseq.models.model_file import read_tensors

        header, tensors = read_tensors(folder / case.output)
        shown = {name: tensor.tobytes().hex() for name, tensor in tensors.items()}
        outcome = outcome._replace(output=json.dumps([header["options"], shown]))
    return outcome


def _fault(after: Outcome, before: Outcome, *, exact: bool) -> str:
    """What is wrong with an outcome; empty if nothing is."""
    if after.status is None:
        return after.errors
    if "Traceback (most recent call last)" in after.errors or after.status not in STATUSES:
        return f"status {after.status}: {after.errors[-1500:]}"
    if after.status == 0:
        return "another output, without an error" if exact and after.output != before.output else ""
    lines = after.errors.strip().splitlines()
    faults = [line for line in lines if line.startswith("error: ")]
    if len(faults) != 1 or len(after.errors) > 4000:
        return f"not one sentence: {after.errors[-1500:]}"
    return ""


def _copy(case: Case, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(case.source, folder)


def _flip(case: Case, path: Path, draws: random.Random) -> str | None:
    data = bytearray(path.read_bytes())
    if not data:
        return None
    near_start = draws.random() < 0.5  # where headers are
    bit = draws.randrange(8 * (min(len(data), 4096) if near_start else len(data)))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"bit {bit} of {path.name}"


def _truncate(case: Case, path: Path, draws: random.Random) -> str | None:
    data = path.read_bytes()
    length = draws.randrange(len(data)) if data else 0
    path.write_bytes(data[:length])
    return f"{length} of {len(data)} bytes of {path.name}"


def _craft(case: Case, path: Path, draws: random.Random) -> str | None:
    crafts: Sequence[Craft] = CRAFTED[case.kind.split()[0]]
    return draws.choice(crafts)(path, draws)


SORTS: dict[str, Callable[[Case, Path, random.Random], str | None]] = {
    "flips": _flip,
    "truncations": _truncate,
    "crafted": _craft,
}


def _table(
    counts: dict[str, int],
    cases: Sequence[Case],
    tried: Counter[tuple[str, str]],
    refused: Counter[tuple[str, str]],
    found: Counter[tuple[str, str]],
) -> str:
    lines = ["| file | damage | files | commands that refused it | findings |", "|---|---|---|---|---|"]
    for sort in counts:
        for kind in dict.fromkeys(case.kind for case in cases):
            key = sort, kind
            lines.append(f"| {kind} | {sort} | {tried[key]} | {refused[key]} | {found[key]} |")
    lines.append(f"| all | all | {sum(tried.values())} | {sum(refused.values())} | {sum(found.values())} |")
    return "\n".join(lines) + "\n"


# ---- the sound files


def make_cases(folder: Path) -> Iterator[Case]:
    """Train small models of each task, and name the files that are to be damaged."""
    corpora = folder / "corpora"
    corpora.mkdir(parents=True, exist_ok=True)
    (corpora / "text.txt").write_text(TEXT)
    rows = [f"{label}\t{line}" for line in TEXT.splitlines() for label in ("good", "bad")]
    (corpora / "labels.tsv").write_text("".join(f"{row} {number % 7}\n" for number, row in enumerate(rows)))
    pairs = (f"{line} {number}\t{line.upper()} {number}\n" for number, line in enumerate(TEXT.splitlines()))
    (corpora / "pairs.tsv").write_text("".join(pairs))
    yield from _language_model_cases(folder, corpora)
    yield from _classifier_cases(folder, corpora)
    yield from _translator_cases(folder, corpora)


def _train(folder: Path, name: str, *arguments: str) -> tuple[Path, Path]:
    """A finished run, and the same run as it was when half of it was saved."""
    folder = folder / name
    if (folder / "run").exists():
        return folder / "run", folder / "half"
    folder.mkdir(exist_ok=True)
    words = [*arguments, "--steps", str(STEPS), "--hidden-size", "6", "--validations", "2", "--out", "run", "-q"]
    half = folder / "half"
    _nlpseq(folder, "train", *words, "--save-every", str(STEPS // 2), stop_into=half)
    shutil.rmtree(folder / "run", ignore_errors=True)
    _nlpseq(folder, "train", *words)
    return folder / "run", half


def _nlpseq(folder: Path, *arguments: str, stop_into: Path | None = None) -> None:
    """Run a command, or stop it when its run is first saved, and put a copy of the run there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "nlpseq"]
    if stop_into is None:
        subprocess.run([*program, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        return
    stop = f"import {STOPPER} as s; s.main()"
    words = [sys.executable, "-c", stop, *arguments]
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), environment.get("PYTHONPATH", "")])
    subprocess.run(words, cwd=folder, env=environment, check=False, stdout=subprocess.DEVNULL)
    (folder / "run").rename(stop_into)


STOPPER = "fuzz_worker"
RESUMED = ("train", "{}", "--resume", "--out", "@.", "-q")


def _run_cases(task: str, run: Path, half: Path, tokens: Sequence[str]) -> Iterator[Case]:
    """The files of a run of any task."""
    resume = (tuple(word.format(task) for word in RESUMED),)
    listed = (("runs", "@.", "--json"),)
    yield Case(f"resume {task}", half, ("resume.safetensors",), resume, "model.safetensors")
    yield Case(f"config {task}", half, ("config.json",), (*resume, *listed), "model.safetensors", SURE)
    yield Case(f"tokens {task}", half, tuple(f"tokens/{name}" for name in tokens), resume, "model.safetensors", SURE)
    yield Case(f"history {task}", run, ("history.jsonl",), listed, None, ())


def _language_model_cases(folder: Path, corpora: Path) -> Iterator[Case]:
    corpus = str(corpora / "text.txt")
    run, half = _train(folder, "lm", "lm", corpus, "--ngrams", "3", "--ngram-buckets", "64", "--tokens", "char")
    (run / "line.txt").write_text("The cat sat.\n")
    model = ("-m", "@model.safetensors")
    generate = ("generate", *model, "--seed", "The", "--length", "20", "--random-seed", "1")
    if not (run / "s.state").exists():
        _nlpseq(run, *generate[:1], "-m", "model.safetensors", "--length", "9", "--save-state", "s.state", "-q")
    commands = (
        generate,
        ("score", *model, "@line.txt"),
        ("inspect", "model", *model),
        ("embed", *model, "@line.txt"),
        ("nearest", *model, "a"),
        ("evaluate", *model, "@line.txt"),
    )
    yield Case("model lm", run, ("model.safetensors",), commands)
    for store in ("bf16", "int8"):
        yield Case("model lm", _packed(run, store), ("model.safetensors",), commands)
    yield Case(
        "state lm",
        run,
        ("s.state",),
        ((*generate, "--state", "@s.state"), ("score", *model, "--follow", "--state", "@s.state", "@line.txt")),
    )
    yield from _run_cases(
        "lm", run, half, ("train.arrow", "valid.arrow", "frequencies.npy", "tokeniser.json", "corpus.json")
    )


def _classifier_cases(folder: Path, corpora: Path) -> Iterator[Case]:
    corpus = str(corpora / "labels.tsv")
    options = ("--embedding-size", "6", "--pooling", "attention,max,mean", "--evidence", "2", "--tokens", "word")
    run, half = _train(folder, "sentiment", "sentiment", corpus, *options)
    (run / "line.txt").write_text("The cat sat on the mat.\n")
    model = ("-m", "@model.safetensors")
    commands = (
        ("classify", *model, "@line.txt"),
        ("inspect", "model", *model),
        ("inspect", "words", *model, "The cat sat."),
        ("embed", *model, "@line.txt"),
        ("evaluate", *model),
    )
    yield Case("model sentiment", run, ("model.safetensors",), commands)
    yield Case("model sentiment", _packed(run, "int8"), ("model.safetensors",), commands)
    tokens = ("train.texts.ids.npy", "train.texts.starts.npy", "train.labels.npy", "tokeniser.json", "corpus.json")
    yield from _run_cases("sentiment", run, half, tokens)


def _translator_cases(folder: Path, corpora: Path) -> Iterator[Case]:
    corpus = str(corpora / "pairs.tsv")
    run, half = _train(folder, "translation", "translation", corpus, "--embedding-size", "5", "--vocab-size", "300")
    (run / "line.txt").write_text("The cat sat.\n")
    (run / "target.txt").write_text("THE CAT SAT.\n")
    model = ("-m", "@model.safetensors")
    commands = (
        ("translate", *model, "@line.txt"),
        ("inspect", "attention", *model, "The cat."),
        ("embed", *model, "@line.txt"),
        ("score", *model, "--source", "@line.txt", "@target.txt"),
    )
    yield Case("model translation", run, ("model.safetensors",), commands)
    yield Case("model translation", _packed(run, "bf16"), ("model.safetensors",), commands)
    tokens = ("train.sources.ids.npy", "train.targets.starts.npy", "tokeniser.json", "corpus.json")
    yield from _run_cases("translation", run, half, tokens)


def _packed(run: Path, store: str) -> Path:
    """A copy of a run with its model in another format."""
    from nlpseq.models.model_file import CHECKSUM, STORAGE, load_model, save_model

    other = run.with_name(f"{run.name}-{store}")
    if other.exists():
        return other
    shutil.copytree(run, other)
    model = load_model(run)
    own = {"format", "version", "task", "options", STORAGE, CHECKSUM}
    details = {name: value for name, value in model.header.items() if name not in own}
    save_model(other / "model.safetensors", model.task, model.options, model.weights, model.tokeniser, store, **details)
    return other


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"{time.monotonic() - started:.0f} seconds", file=sys.stderr)
    sys.exit(status)
