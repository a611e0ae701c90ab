"""Nothing is lost when a training run is disturbed, tried: `python benchmarks/fault_runs.py [NAME...] --seed 1`.

    kills       kill -9 at random moments
    writes      kill -9 at random changes of the file system: before one, or with half of a write done
    disks       a disk that is full, or can only be read, from a random change on
    signals     SIGTERM, SIGINT and two SIGINT at random moments, start-up included
    locks       two commands at once in one folder, and a command in the folder of a run that goes on
    places      a folder that may not be written, another user, and a clock that jumps

Every run is a command that is forked from this program once it has imported everything, as tiny runs would else be
mostly imports; `signals` alone starts the program anew, because start-up is what it is about. After a fault the run is
brought to its end with `--resume`, or with what the hint of the error says, and its files are compared with those of
an undisturbed run: the model byte by byte, the state by its arrays, the folder by its names. The exit status is 1 if
anything differs, hangs or shows a traceback.

The numbers are for each kind of run. The whole proof, an hour of one quiet core:

    OMP_NUM_THREADS=1 python benchmarks/fault_runs.py --kills 50 --writes 20 --disks 20 --signals 200
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import fault_child
from fault_cases import MODEL, Case, Workplace
from fault_child import FULL, HANGS, INTERRUPT, INTERRUPT_TWICE, KILL, READ_ONLY, SIGNALS, TERMINATE, Ended

NOBODY = 65534
BUSY = "another run is training into it now"
EXPECTED = {TERMINATE: (0, 143), INTERRUPT: (0, 130), INTERRUPT_TWICE: (0, 130)}
NLPSEQ = [sys.executable, "-m", "nlpseq"]
FILTERS = (["classify"], ["score"], ["translate"], ["embed"])  # started with a bundled model, waiting for a line
Finding = tuple[str, str]  # what was tried, and what was wrong; nothing if all was right


def status_faults(fault: str, at: int, ended: Ended) -> list[str]:
    """What is wrong with how a disturbed command has ended; `at` is the change of its fault, 0 for none."""
    if ended.status == 124:
        return [f"hangs for {HANGS:.0f} s"]
    if fault in EXPECTED and ended.status not in EXPECTED[fault]:
        return [f"status {ended.status}: {ended.errors.strip()[-200:]}"]
    is_hit = fault in (FULL, READ_ONLY) and 0 < at <= ended.changes
    if is_hit and ended.status and (ended.status != 1 or "error:" not in ended.errors):  # else it was not needed
        return [f"status {ended.status}: {ended.errors.strip()[-200:]}"]
    return []


class Trials:
    """Everything that is tried, from one seed."""

    def __init__(self, workplace: Workplace, cases: list[Case], seed: int, counts: argparse.Namespace) -> None:
        self.workplace, self.cases, self.counts = workplace, cases, counts
        self.random = random.Random(seed)
        self.changes: dict[str, int] = {}  # in the undisturbed run of a case

    def _prepared(self) -> Iterator[Case]:
        for case in self.cases:
            if case.name not in self.changes:
                began = time.monotonic()
                self.changes[case.name] = self.workplace.reference(case)[1]
                self.workplace.seconds[case.name] = time.monotonic() - began
            yield case

    def _tried(self, case: Case, out: Path, what: str, ended: Ended, faults: list[str]) -> Iterator[Finding]:
        found = [*faults, *self.workplace.check(case, out, ended)]
        shutil.rmtree(out, ignore_errors=True)
        yield from ((what, fault) for fault in found or [""])

    def kills(self) -> Iterator[Finding]:
        """Kill -9 at random moments."""
        for case in self._prepared():
            for _ in range(self.counts.kills):
                out, after = self.workplace.begin(case), self.random.uniform(0, self.workplace.seconds[case.name])
                command = self.workplace.command(case.arguments(out))
                time.sleep(after)
                command.send(signal.SIGKILL)
                yield from self._tried(case, out, f"{case.name}: kill -9 at a moment", command.wait(), [])

    def writes(self) -> Iterator[Finding]:
        """Kill -9 at random changes of the file system."""
        yield from self._at_changes((KILL,), self.counts.writes)

    def disks(self) -> Iterator[Finding]:
        """A disk that is full, or read-only, from a change on."""
        yield from self._at_changes((FULL, READ_ONLY), self.counts.disks)

    def _at_changes(self, faults: tuple[str, ...], count: int) -> Iterator[Finding]:
        for case in self._prepared():
            for fault in faults:
                places = range(1, self.changes[case.name] + 1)
                for at in sorted(self.random.sample(places, min(count, len(places)))):
                    out = self.workplace.begin(case)
                    ended = self.workplace.run(case.arguments(out), fault, at)
                    found = [f"{wrong} (change {at})" for wrong in status_faults(fault, at, ended)]
                    yield from self._tried(case, out, f"{case.name}: {fault} at a change", ended, found)

    def signals(self) -> Iterator[Finding]:
        """Signals at random moments of a program that is started anew."""
        case = self.workplace.cases["lm"]
        self.workplace.reference(case)
        for number in range(self.counts.signals):
            fault = (TERMINATE, INTERRUPT, INTERRUPT_TWICE)[number % 3]
            trains = number % 4 != 3
            out = self.workplace.begin(case)
            words = case.arguments(out) if trains else FILTERS[number // 4 % len(FILTERS)]
            ended, was_early = self._signalled([*NLPSEQ, *words], fault, is_filter=not trains)
            what = f"{'lm' if trains else 'filters'}: {fault} at a moment of a new program"
            if was_early:
                yield f"{what}, in Python's own start", ""
            elif trains:
                yield from self._tried(case, out, what, ended, status_faults(fault, 0, ended))
            else:
                found = status_faults(fault, 0, ended)
                traced = ["traceback: " + ended.errors.strip()[-200:]] if "Traceback" in ended.errors else []
                yield from ((what, wrong) for wrong in [*found, *traced] or [""])

    def _signalled(self, words: list[str], fault: str, *, is_filter: bool) -> tuple[Ended, bool]:
        """A new program with signals at a random moment, and whether they came before its first line."""
        seconds = self._seconds_of(words) if not is_filter else self._seconds_of([*NLPSEQ, "--version"]) * 3
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(self.random.uniform(0, seconds))
        for number in SIGNALS[fault]:
            with suppress(ProcessLookupError):
                child.send_signal(number)
            time.sleep(self.random.choice((0, 0.01, 0.1)))
        try:
            output, errors = child.communicate(timeout=HANGS)
        except subprocess.TimeoutExpired:
            child.kill()
            return Ended(124, "", "", 0), False
        status = 128 - child.returncode if child.returncode < 0 else child.returncode
        ended = Ended(status, output.decode(errors="replace"), errors.decode(errors="replace"), 0)
        return ended, "Traceback" in ended.errors and "nlpseq/" not in ended.errors.replace(str(words), "")

    def _seconds_of(self, words: list[str]) -> float:
        """How long a command takes, measured at its first use."""
        name = words[3]
        if name not in self.workplace.seconds:
            out = self.workplace.folder / "timed"
            began = time.monotonic()
            subprocess.run([*words[:-1], str(out)] if "--out" in words else words, capture_output=True, check=False)
            self.workplace.seconds[name] = time.monotonic() - began
            shutil.rmtree(out, ignore_errors=True)
        return self.workplace.seconds[name]

    def locks(self) -> Iterator[Finding]:
        """Two commands in one folder; one of them trains, and the other is told so."""
        case = next(self._prepared())
        for number in range(self.counts.locks):
            out, overwrites = self.workplace.begin(case), number % 2
            words = case.arguments(out, *(["--overwrite"] if overwrites and not case.replaces else []))
            other = Workplace.sibling(self.workplace)
            first, second = self.workplace.command(words), other.command(words, lambda: time.sleep(0.001))
            if number % 3:
                time.sleep(self.random.uniform(0, self.workplace.seconds[case.name]))
            both = [first.wait(), second.wait()]
            lost = [ended for ended in both if ended.status]
            wrong = [
                f"status {ended.status}: {ended.errors.strip()[-200:]}"
                for ended in lost
                if ended.status != 1 or not (BUSY in ended.errors or "holds a run already" in ended.errors)
            ]
            if len(lost) == 2:
                wrong.append("neither has trained")
            wrong += self.workplace.differences(case, out)
            what = f"two at once{', --overwrite' if overwrites else ''}"
            yield from ((what, fault) for fault in wrong or [""])
            shutil.rmtree(out, ignore_errors=True)

    def places(self) -> Iterator[Finding]:
        """A folder that may not be written, another user's folder, and a clock that jumps."""
        case = next(self._prepared())
        yield from self._closed_folder(case)
        yield from self._clock(case)

    def _closed_folder(self, case: Case) -> Iterator[Finding]:
        """As another user, who may not write the folder of a run."""
        if not hasattr(os, "geteuid") or os.geteuid():
            yield "another user: skipped, not root", ""
            return
        out = self.workplace.begin(case)
        command = self.workplace.command(case.arguments(out))
        while not (out / MODEL).exists():
            time.sleep(0.01)
        command.send(signal.SIGKILL)
        command.wait()
        before = sorted(path.name for path in out.iterdir())
        for folder in (self.workplace.folder, *self.workplace.folder.rglob("*")):
            folder.chmod(0o755 if folder.is_dir() else 0o644)
        (self.workplace.scratch / "output").chmod(0o666)
        ended = self.workplace.command(["train", "lm", "--resume", "--out", out], lambda: os.seteuid(NOBODY)).wait()
        wrong = [] if ended.status == 1 and "error:" in ended.errors else [f"status {ended.status}: {ended.errors}"]
        if sorted(path.name for path in out.iterdir()) != before:
            wrong.append("the folder has changed")
        yield from self._tried(case, out, "another user in a folder that may not be written", ended, wrong)

    def _clock(self, case: Case) -> Iterator[Finding]:
        """With a clock that jumps by days, back and forth."""
        own = random.Random(self.random.random())
        real = time.time

        def jump() -> None:
            time.time = lambda: real() + own.uniform(-1e6, 1e6)

        out = self.workplace.begin(case)
        ended = self.workplace.command(case.arguments(out), jump).wait()
        wrong = [f"status {ended.status}: {ended.errors}"] if ended.status else self.workplace.differences(case, out)
        yield from (("a clock that jumps by days", fault) for fault in wrong or [""])


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in vars(Trials) if not name.startswith("_")]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to try, of {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", help="kinds of runs, with commas between them")
    for name, usual in (("kills", 5), ("writes", 5), ("disks", 3), ("signals", 12), ("locks", 6)):
        parser.add_argument(f"--{name}", type=int, default=usual, metavar="N")
    options = parser.parse_args()
    options.names = options.names or names
    if unknown := set(options.names) - set(names):
        parser.error(f"no such trial: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    """Try everything, and show a table; the exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts a job in the background without it
    options = parse()
    fault_child.preload()
    tried: Counter[str] = Counter()
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        workplace = Workplace(Path(folder))
        cases = list(workplace.cases.values())
        if options.cases:
            cases = [workplace.cases[name] for name in options.cases.split(",")]
        trials = Trials(workplace, cases, options.seed, options)
        for name in options.names:
            run: Callable[[], Iterator[Finding]] = getattr(trials, name)
            for what, wrong in run():
                tried[what] += 1
                print(f"{sum(tried.values())}: {what}", end="\r", file=sys.stderr, flush=True)
                if wrong:
                    found.setdefault(what, []).append(wrong)
                    print(f"{what}: {wrong}", file=sys.stderr, flush=True)
    print("| what | tried | findings |\n|---|---|---|")
    for what, count in tried.items():
        print(f"| {what} | {count} | {len(found.get(what, ()))} |")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
