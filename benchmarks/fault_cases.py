"""The runs that benchmarks/fault_runs.py disturbs, and what must be true of them afterwards."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fault_child import Changes, Command, Ended, run

from nlpseq.errors import ModelFileError
from nlpseq.models.model_file import read_tensors

WORDS = ("the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "big", "small", "red", "and", "then")
MODEL, STATE = "model.safetensors", "resume.safetensors"
MOST_COMMANDS = 3  # until a run has ended, after a fault
BEGINNING = "starts from the beginning"
FINISHED = "its run is finished"


def write_corpora(folder: Path) -> None:
    """Write a small corpus for each task."""
    draw = random.Random(1)

    def words(count: int) -> str:
        return " ".join(draw.choices(WORDS, k=count))

    texts = {
        "lm.txt": [words(8) for _ in range(200)],
        "plain.txt": [words(8) for _ in range(120)],
        "labels.tsv": [f"{'good' if i % 2 else 'bad'}\t{words(8)} {'nice' if i % 2 else 'awful'}" for i in range(80)],
        "pairs.tsv": [f"{source}\t{source.upper()}" for source in (words(4) for _ in range(80))],
    }
    for name, lines in texts.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


@dataclass(frozen=True)
class Case:
    """A run to disturb."""

    name: str
    command: tuple[str, ...]  # without its folder
    resumable: bool = True
    replaces: bool = False  # whether it replaces an earlier run

    def arguments(self, out: Path, *more: str) -> list[str]:
        """The command with its folder."""
        return [*self.command, *more, "--out", str(out)]


def make_cases(corpora: Path, teacher: Path) -> dict[str, Case]:
    """The runs by name; `teacher` is the folder of a classifier."""
    size = ("--hidden-size", "8", "--embedding-size", "8", "--batch-size", "4", "--steps", "12", "--save-every", "3")
    lm = ("train", "lm", f"{corpora}/lm.txt", "--tokens", "char", "--sequence-length", "16", *size)
    labels, pairs = f"{corpora}/labels.tsv", f"{corpora}/pairs.tsv"
    cases = [
        Case("lm", lm),
        Case("sentiment", ("train", "sentiment", labels, *size)),
        Case("translation", ("train", "translation", pairs, *size)),
        Case("replace", (*lm, "--overwrite"), replaces=True),
        Case(
            "unlabelled",
            ("train", "sentiment", labels, "--unlabelled", f"{corpora}/plain.txt", "--unlabelled-steps", "6", *size),
        ),
        Case("distil", ("distil", str(teacher), labels, *size)),
        Case("two processes", (*lm, "--processes", "2")),
    ]
    return {case.name: case for case in cases}


class Workplace:
    """The folders of one benchmark, with the undisturbed runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        write_corpora(folder)
        self.cases = make_cases(folder, folder / "references/sentiment")
        self.references: dict[str, Path] = {}
        self.seconds: dict[str, float] = {}
        self.earlier = folder / "earlier"  # a finished run that is replaced
        self.count = 0

    @classmethod
    def sibling(cls, other: Workplace) -> Workplace:
        """The same, with a place of its own for what a command writes."""
        own = cls.__new__(cls)
        vars(own).update(vars(other))
        own.scratch = other.folder / "scratch-2"
        own.scratch.mkdir(exist_ok=True)
        return own

    def run(self, arguments: Sequence[object], fault: str = "", at: int = 0) -> Ended:
        """A command with a fault."""
        return run(arguments, self.scratch, fault, at)

    def reference(self, case: Case) -> tuple[Path, int]:
        """The folder of the undisturbed run of a case, and the number of changes of the file system in it."""
        out = self.folder / "references" / case.name.replace(" ", "-")
        if case.name == "distil" and not (self.folder / "references/sentiment").exists():
            self.reference(self.cases["sentiment"])
        self._start(case, out)
        ended = self.run(case.arguments(out))
        if ended.status:
            raise RuntimeError(f"{case.name}: {ended.errors}")
        self.references[case.name] = out
        return out, ended.changes

    def begin(self, case: Case) -> Path:
        """A new folder for a run: missing, or with an earlier run."""
        self.count += 1
        out = self.folder / "runs" / str(self.count)
        self._start(case, out)
        return out

    def _start(self, case: Case, out: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)
        if not case.replaces:
            return
        if not self.earlier.exists():
            before = self.cases["lm"]
            self.run([*before.arguments(self.earlier), "--random-seed", "7"])
        out.parent.mkdir(exist_ok=True, parents=True)
        shutil.copytree(self.earlier, out)

    def command(self, arguments: Sequence[object], before: Callable[[], object] = bool) -> Command:
        """A command that runs while this process goes on."""
        return Command(arguments, self.scratch, Changes(), before)

    def check(self, case: Case, out: Path, ended: Ended) -> list[str]:
        """What is wrong after a run was disturbed, and after it was brought to its end."""
        faults = [] if "Traceback" not in ended.errors else ["traceback: " + ended.errors.strip().splitlines()[-1]]
        if case.replaces:
            faults += self._lost_model(out)
        never_saved = (out / "config.json").exists() and not (out / STATE).exists() and not case.replaces
        more = ["--resume"] if case.resumable else []
        bare = case.command[: 2 if case.command[0] == "train" else 1]  # what is typed to continue a run
        for _ in range(MOST_COMMANDS):
            command = Case(case.name, bare) if "--resume" in more else case
            found = self.run(command.arguments(out, *more))
            if "Traceback" in found.errors:
                return [*faults, "traceback after it: " + found.errors.strip().splitlines()[-1]]
            if not found.status:
                break
            if FINISHED in found.errors and not case.replaces:
                break
            if "leave out --resume" in found.hint or FINISHED in found.errors:
                more = []
            elif "--resume" in found.hint and case.resumable:
                more = ["--resume"]
            elif "--overwrite" in found.hint:
                more = ["--overwrite"]
            else:
                return [*faults, f"cannot go on: {found.errors.strip()}"]
        else:
            return [*faults, f"did not end: {found.errors.strip()}"]
        if never_saved and "--resume" in more and BEGINNING not in found.errors and case.name != "unlabelled":
            faults.append("starts from the beginning and does not say so")
        return faults + self.differences(case, out)

    def _lost_model(self, out: Path) -> list[str]:
        try:
            read_tensors(out / MODEL)
        except ModelFileError as error:
            return [f"the earlier model is lost: {error}"]
        return []

    def differences(self, case: Case, out: Path) -> list[str]:
        """How the folder of a run that has ended differs from that of the undisturbed one."""
        reference = self.references[case.name]
        faults = []
        names, expected = (sorted(str(path.relative_to(root)) for path in root.rglob("*")) for root in (out, reference))
        if names != expected:
            faults.append(f"files {sorted(set(names) ^ set(expected))}")
        for path in [name for name in names if name.endswith((MODEL, STATE)) and name in expected]:
            if path == MODEL:
                is_same = (out / path).read_bytes() == (reference / path).read_bytes()
            else:  # the header has the seconds that a run took, or names its folder
                own, theirs = (read_tensors(root / path)[1] for root in (out, reference))
                is_same = {name: own[name].tobytes() for name in own} == {
                    name: theirs[name].tobytes() for name in theirs
                }
            faults += [] if is_same else [f"{path} differs"]
        return faults
