"""What a student loses and gains: `python benchmarks/distil.py TRAIN VALID [TRAIN VALID ...] --out FILE.md`.

Each pair of files is a data set of labelled texts. On each, with every random seed of --seeds:

    teacher     `nlpseq train sentiment --minutes M`
    student     `nlpseq distil`: about a quarter of the teacher's file, with the teacher's number of passes
    alone       the same small model without a teacher

The table has, for each data set, the mean accuracy of the three, how much the student loses and how much a teacher
helps, the sizes of the files, and the speed of both in texts per second, measured in turns with the median over rounds.
Two sets, three seeds and --minutes 3 take about an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from measured import measure

NLPSEQ = [sys.executable, "-m", "nlpseq"]


def nlpseq(*arguments: object, folder: Path) -> list[dict[str, Any]]:
    """The objects that a command writes."""
    words = [*NLPSEQ, *map(str, arguments), "--json"]
    done = subprocess.run(words, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def accuracy(scores: Sequence[dict[str, Any]]) -> float:
    """In per cent; micro-F1 of texts with several labels."""
    return float(next(score["value"] for score in scores if score["name"] in ("accuracy", "micro_f1")))


def without_teacher(run: Path) -> list[str]:
    """The options of a student's model and its number of steps, as words."""
    config = json.loads((run / "config.json").read_text())
    words = ["--steps", str(config["training"]["steps"])]
    for name in ("hidden_size", "embedding_size", "evidence", "linear"):
        words += [f"--{name.replace('_', '-')}", str(config["model"][name])]
    return words


def measured(train: Path, valid: Path, minutes: float, seeds: int, options: Sequence[str], folder: Path) -> Rows:
    """Train the three models on one data set with each seed."""
    found: dict[str, list[float]] = {name: [] for name in ("teacher", "student", "alone", "size", "speed")}
    for seed in range(1, seeds + 1):
        data = [train.resolve(), "--valid", valid.resolve(), "--random-seed", seed]
        nlpseq("train", "sentiment", *data, "--minutes", minutes, "--out", f"t{seed}", folder=folder)
        steps = json.loads((folder / f"t{seed}" / "config.json").read_text())["training"]["steps"]
        shared = ["--random-seed", seed, "--steps", steps, *options]
        teacher, student = nlpseq("distil", f"t{seed}", *shared, "--out", f"s{seed}", folder=folder)[-1]["models"]
        small = without_teacher(folder / f"s{seed}")
        nlpseq("train", "sentiment", *data, *small, "--out", f"a{seed}", folder=folder)
        alone = nlpseq("evaluate", valid.resolve(), "-m", f"a{seed}", folder=folder)[-1]
        found["teacher"].append(accuracy(teacher["scores"]))
        found["student"].append(accuracy(student["scores"]))
        found["alone"].append(accuracy(alone["scores"]))
        found["size"].append(student["bytes"] / teacher["bytes"])
        found["speed"].append(student["per_second"] / teacher["per_second"])
    mean = {name: statistics.mean(values) for name, values in found.items()}
    scores = ", ".join(f"{name} {mean[name]:.2f}" for name in ("teacher", "student", "alone"))
    lost, gained = mean["teacher"] - mean["student"], mean["student"] - mean["alone"]
    yield (
        f"{valid.parent.name}, accuracy in %, {seeds} seeds",
        f"{scores}: lost {lost:.2f}, by the teacher +{gained:.2f}",
    )
    yield (
        f"{valid.parent.name}, student beside teacher",
        f"{mean['size']:.2f} of the bytes, {mean['speed']:.1f} times as fast",
    )


Rows = Iterator[tuple[str, str]]


def main() -> None:
    """Measure each data set, and print a table; `--out` writes it too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="TRAIN VALID of each data set")
    parser.add_argument("--minutes", type=float, default=3.0, help="of a teacher")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--options", default="", help="further options of the students, in one argument")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if len(given.files) % 2:
        parser.error("each data set is two files: TRAIN VALID")
    pairs = zip(given.files[::2], given.files[1::2], strict=True)
    words = given.options.split()
    measure([partial(measured, *pair, given.minutes, given.seeds, words) for pair in pairs], given.out)


if __name__ == "__main__":
    main()
