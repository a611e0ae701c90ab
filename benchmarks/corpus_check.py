"""`nlpseq corpus check` on corpora of any size: `python benchmarks/corpus_check.py [PART...] --megabytes N...`.

    text       a text of long lines, each of them different
    lines      the same text with a sentence in each line
    against    the text of `lines`, and a second one that shares lines with it
    gzip       the text, compressed
    pairs      two files of parallel lines, a sentence in each line
    table      the same pairs in a .tsv
    labels     a .tsv of labels and texts, a sentence in each row

The texts are made from the IMDB reviews in `--data`, repeated with the words of each line in another order, so that no
line is there twice. Each check is a process of its own, whose peak memory is that of `VmHWM`, mapped pages included,
with its child processes. `--base FOLDER` checks with the package in another folder too, in turns, for a comparison.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PARTS = ("text", "lines", "against", "gzip", "pairs", "table", "labels")
ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data/imdb"
MEGABYTE = 1_000_000


class Measured(NamedTuple):
    """One check: its time, its peak memory, that of its child processes together, and what it wrote."""

    seconds: float
    megabytes: float
    children: float
    output: str


def reviews(path: Path) -> list[str]:
    """The lines of the reviews without labels."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def lines(texts: list[str], megabytes: int, *, sentences: bool) -> Iterator[str]:
    """Lines until there are enough bytes; from the second time on, each with its words in another order."""
    draw, written, passes = random.Random(1), 0, 0
    units = [each for text in texts for each in (text.split(". ") if sentences else [text]) if each.strip()]
    while True:
        for unit in units:
            if passes:
                words = unit.split(" ")
                start = draw.randrange(len(words))
                unit = " ".join([*words[start:], str(draw.randrange(10**9)), *words[:start]])
            yield unit
            written += len(unit.encode()) + 1
            if written >= megabytes * MEGABYTE:
                return
        passes += 1


def make(part: str, folder: Path, texts: list[str], megabytes: int) -> list[str]:
    """The files of a part, and the arguments that check them."""
    made = lines(texts, megabytes, sentences=part not in ("text", "gzip"))
    if part in ("text", "gzip"):
        path = folder / ("a.txt" if part == "text" else "a.txt.gz")
        with open(path, "wb") if part == "text" else gzip.open(path, "wb", 1) as file:
            file.writelines(f"{line}\n".encode() for line in made)
        return [str(path)]
    if part in ("lines", "against"):
        with (folder / "a.txt").open("w") as first, (folder / "b.txt").open("w") as second:
            for number, line in enumerate(made):
                first.write(f"{line}\n")
                if number % 100 == 0:
                    second.write(f"{line}{'' if number % 5000 else ' and more'}\n")
        return [str(folder / "a.txt"), *(["--against", str(folder / "b.txt")] if part == "against" else [])]
    if part == "labels":
        with (folder / "a.tsv").open("w") as file:
            file.write("label\ttext\n")
            file.writelines(f"{('bad', 'good')[len(line) % 2]}\t{line.replace(chr(9), ' ')}\n" for line in made)
        return ["--labels", str(folder / "a.tsv")]
    turned = ((line.replace("\t", " "), " ".join(reversed(line.replace("\t", " ").split(" ")))) for line in made)
    if part == "table":
        with (folder / "a.tsv").open("w") as file:
            file.writelines(f"{source}\t{target}\n" for source, target in turned if file.tell() < megabytes * MEGABYTE)
        return ["--pairs", str(folder / "a.tsv")]
    with (folder / "a.en").open("w") as first, (folder / "a.ne").open("w") as second:
        for source, target in turned:
            if first.tell() > megabytes * MEGABYTE / 2:
                break
            first.write(f"{source}\n")
            second.write(f"{target}\n")
    return ["--source", str(folder / "a.en"), "--target", str(folder / "a.ne")]


def measure(arguments: list[str], package: Path) -> Measured:
    """Check once, with the package in a folder."""
    environment = os.environ | {"PYTHONPATH": str(package)}
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "nlpseq", "corpus", "check", *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=package)
        peaks: dict[int, float] = {}
        while process.poll() is None:
            for number in (process.pid, *children(process.pid)):
                peaks[number] = max(peaks.get(number, 0.0), peak_memory(number))
            time.sleep(0.02)
        seconds = time.monotonic() - started
        output.seek(0)
        said = output.read().decode(errors="replace")
    own = peaks.pop(process.pid, 0.0)
    return Measured(seconds, own, sum(peaks.values()), said)


def children(number: int) -> list[int]:
    """The child processes of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    except OSError:
        return []


def peak_memory(number: int) -> float:
    """The peak resident memory of a process in megabytes; 0 if it has ended."""
    try:
        for line in Path(f"/proc/{number}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MEGABYTE
    except OSError:
        pass
    return 0.0


def size(arguments: list[str]) -> int:
    """The bytes of the files among some arguments."""
    return sum(os.path.getsize(name) for name in arguments if os.path.isfile(name))


def main() -> None:
    """Make the texts, check them, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--megabytes", nargs="+", type=int, default=[100, 1000])
    parser.add_argument("--repeats", type=int, default=1, help="number of checks, of which the median is told")
    parser.add_argument("--base", type=Path, help="folder with another version of the package")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--folder", type=Path, help="folder for the texts, which are removed")
    parser.add_argument("--show", action="store_true", help="write the findings too")
    chosen = parser.parse_args()
    texts = reviews(chosen.data / "unsup.txt.gz")
    packages = {"now": ROOT, **({"base": chosen.base} if chosen.base else {})}
    print("| corpus | MB | package | seconds | MB/s | peak memory, MB | of child processes, MB |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for part in chosen.parts or PARTS:
        for megabytes in chosen.megabytes:
            with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
                arguments = make(part, Path(folder), texts, megabytes)
                total = size(arguments) / MEGABYTE
                found: dict[str, list[Measured]] = {name: [] for name in packages}
                for _ in range(chosen.repeats):
                    for name, package in packages.items():
                        found[name].append(measure(arguments, package))
                for name, runs in found.items():
                    seconds = statistics.median(run.seconds for run in runs)
                    peak, more = (max(getattr(run, side) for run in runs) for side in ("megabytes", "children"))
                    values = f"{seconds:.1f} | {total / seconds:.0f} | {peak:.0f} | {more:.0f}"
                    print(f"| {part} | {total:,.0f} | {name} | {values} |", flush=True)
                    if chosen.show:
                        print(runs[-1].output.replace(folder, ""), file=sys.stderr)


if __name__ == "__main__":
    main()
