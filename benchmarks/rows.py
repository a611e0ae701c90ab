"""Training on tables of any number of rows, measured: `python benchmarks/rows.py [PART...] [--earlier CHECKOUT]`.

    translation   `train translation --steps 20` on tables of pairs of growing size
    sentiment     `train sentiment --steps 20` on tables of labelled texts of growing size
    batches       batches of 64 rows, by chance, from a file of tokens, beside the same array in memory
    shuffle       the order of a hundred million rows whose lengths are on the disk
    crossover     encoding with one process and with two, by the number of rows

Tables are made by repeating real rows in a new order each time. Each command's time to its first step, its peak memory
(VmHWM) and that of its child processes are measured; with `--earlier`, those of another checkout in turn. The model and
the vocabulary have one size, and batches are small, because a long text in a batch costs more memory than a million
rows. The slope is the memory of the largest table over that of the smallest, for each row that it has more.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measured import measure

ROOT = Path(__file__).resolve().parents[1]
DATA = (ROOT / "../shared/data").resolve()
TABLES = {"translation": DATA / "fra-eng/train.tsv", "sentiment": DATA / "rt-polarity/train.tsv"}
SAME = shlex.split("--steps 20 --tokens bpe --vocab-size 4096 --hidden-size 128 --batch-size 8 --longest 60")
SHUFFLED = 100_000_000  # rows
PAUSE = 0.05  # seconds between two looks at a process

Rows = list[tuple[str, str]]


class Cost(NamedTuple):
    """What a command took: seconds to the first step, and peak memory in MB, its own and its children's."""

    seconds: float
    memory: float
    children: float


def make_table(source: Path, rows: int, path: Path) -> None:
    """Write a table of `rows` rows: those of `source` over and over, each time in another order."""
    header, *lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    has_header = header.startswith("label\t")
    lines = lines if has_header else [header, *lines]
    generator = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        file.write(header if has_header else "")
        for start in range(0, rows, len(lines)):
            generator.shuffle(lines)
            file.writelines(lines[: rows - start])


def train(task: str, table: Path, folder: Path, checkout: Path) -> Cost:
    """Train for twenty steps with the code of a checkout."""
    words = [sys.executable, "-m", "nlpseq", "train", task, str(table), *SAME, "--out", "run", "--overwrite"]
    started = time.monotonic()
    with (folder / "said.txt").open("w+") as said:
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        process = subprocess.Popen(words, cwd=folder, stdout=said, stderr=said, env=environment)
        seconds, peaks = 0.0, dict[int, float]()
        while process.poll() is None:
            for number in tree(process.pid):
                peaks[number] = peak_memory(number) or peaks.get(number, 0.0)  # a new child has its parent's at first
            if not seconds and "\nstep 1/" in (folder / "said.txt").read_text():
                seconds = time.monotonic() - started
            time.sleep(PAUSE)
    if process.returncode:
        sys.exit((folder / "said.txt").read_text())
    return Cost(seconds, peaks.pop(process.pid), sum(peaks.values()))


def tree(process: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield process
    with suppress(OSError):
        for threads in Path(f"/proc/{process}/task").iterdir():
            for child in (threads / "children").read_text().split():
                yield from tree(int(child))


def peak_memory(process: int | str) -> float:
    """The peak memory of a process, mapped pages included, in MB; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def trained(task: str, folder: Path, arguments: argparse.Namespace) -> Rows:
    """Time and memory of a task by the number of rows, and of an earlier version in turn."""
    checkouts = {"": ROOT} if arguments.earlier is None else {"before: ": arguments.earlier.resolve(), "after: ": ROOT}
    table, rows, memory = folder / "table.tsv", Rows(), dict[str, list[float]]()
    for size in arguments.sizes:
        make_table(TABLES[task], size, table)
        costs: dict[str, list[Cost]] = {}
        for _ in range(arguments.rounds):
            for name, checkout in checkouts.items():
                costs.setdefault(name, []).append(train(task, table, folder, checkout))
                print(f"{name}{task}, {size:,} rows: {costs[name][-1]}", file=sys.stderr)
        for name, found in costs.items():
            seconds, peak, children = map(statistics.median, zip(*found, strict=True))
            memory.setdefault(name, []).append(peak)
            measured = f"{seconds:.1f} s, {size / seconds:,.0f} rows/s, {peak:,.0f} MB + {children:,.0f} MB of workers"
            rows.append((f"{name}{task}, {size:,} rows: to the first step", measured))
    for name, peaks in memory.items():
        slope = (peaks[-1] - peaks[0]) * 2**20 / max(1, arguments.sizes[-1] - arguments.sizes[0])
        rows.append((f"{name}{task}: memory for each further row", f"{slope:.1f} bytes"))
    return rows


def translation(folder: Path, arguments: argparse.Namespace) -> Rows:
    """Pairs."""
    return trained("translation", folder, arguments)


def sentiment(folder: Path, arguments: argparse.Namespace) -> Rows:
    """Labelled texts."""
    return trained("sentiment", folder, arguments)


def batches(folder: Path, arguments: argparse.Namespace) -> Rows:
    """Batches from a file, and from memory."""
    from nlpseq.training.data.encoding import Encoded
    from nlpseq.training.data.sentences import Sentences, SentenceWriter

    generator = np.random.default_rng(1)
    with SentenceWriter(folder, "texts", 8192) as file:
        for _ in range(10):
            lengths = 1 + generator.poisson(14, 100_000)
            file.append(Encoded(generator.integers(0, 8192, lengths.sum()), lengths))
    stored = Sentences.open(folder, "texts")
    in_memory = Sentences(stored.ids[:], stored.starts[:])
    rows = []
    for name, texts in (("a file", stored), ("memory", in_memory)):
        times = []
        for _ in range(1000):
            chosen = generator.integers(0, 1_000_000, 64)
            started = time.perf_counter()
            texts.padded(chosen)
            times.append(time.perf_counter() - started)
        rows.append((f"64 texts of about 15 tokens from {name}", f"{statistics.median(times) * 1e6:.0f} µs"))
    return rows


def shuffle(folder: Path, arguments: argparse.Namespace) -> Rows:
    """A program of its own, so that nothing else is in its peak memory."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    words = [sys.executable, "-c", "import rows, sys; rows.order(sys.argv[1])", str(folder)]
    told = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    return [(what, measured) for what, _, measured in (line.partition(": ") for line in told.splitlines())]


def order(folder: str) -> None:
    """Print what the order of many rows costs."""
    from nlpseq.text.array_files import ArrayWriter, StoredArray
    from nlpseq.training.data.sentences import Lengths
    from nlpseq.training.data.shuffled import STRIDE, Shuffled

    generator, path, total = np.random.default_rng(1), Path(folder, "starts.npy"), 0
    with ArrayWriter(path, np.int64) as file:
        file.append(np.zeros(1))
        for start in range(0, SHUFFLED, 1 << 20):
            ends = total + (1 + generator.poisson(14, min(1 << 20, SHUFFLED - start))).cumsum()
            file.append(ends)
            total = int(ends[-1])
    lengths, before = Lengths(StoredArray(path)), peak_memory("self")
    for name, limits in (("64 rows", (64, None)), ("4,096 tokens", (None, 4096))):
        shuffled = Shuffled(lengths, limits[0], 1, batch_tokens=limits[1])
        started = time.perf_counter()
        shuffled.next()
        first = time.perf_counter() - started
        shuffled.passes, shuffled.position = 3, 50 * STRIDE + 7
        started = time.perf_counter()
        shuffled.next()
        resumed = time.perf_counter() - started
        started = time.perf_counter()
        count = len(shuffled)
        counted = time.perf_counter() - started
        words = f"first batch {first:.2f} s, resumed {resumed:.2f} s, {count:,} batches planned {counted:.1f} s"
        print(f"{SHUFFLED:,} rows in batches of {name}: {words}, {peak_memory('self') - before:.0f} MB more memory")


def crossover(folder: Path, arguments: argparse.Namespace) -> Rows:
    """Encoding by one process and by two."""
    from nlpseq.text.tokenisers import train_tokeniser
    from nlpseq.training.data import encoding

    encoding.ENOUGH = 0
    pairs = [line.split("\t")[:2] for line in TABLES["translation"].read_text(encoding="utf-8").splitlines()]
    random.Random(1).shuffle(pairs)
    tokeniser = train_tokeniser("bpe", (text for pair in pairs[:20_000] for text in pair), 4096)
    rows = []
    for count in (2_000, 5_000, 10_000, 20_000, 50_000, 100_000):
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(max(3, arguments.rounds)):
            for processes, found in times.items():
                started = time.perf_counter()
                for _ in encoding.encode_pairs(tokeniser, pairs[:count], count, processes):
                    pass
                found.append(time.perf_counter() - started)
        words = ", ".join(f"{processes}: {statistics.median(found):.2f} s" for processes, found in times.items())
        rows.append((f"encoding {count:,} pairs, by processes", words))
    return rows


PARTS: dict[str, Callable[[Path, argparse.Namespace], Rows]] = {
    part.__name__: part for part in (translation, sentiment, batches, shuffle, crossover)
}


def main() -> None:
    """Measure the named parts, or all, and print a table; `--out` writes it too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="parts to measure [default: all]")
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 1_000_000, 5_000_000], metavar="ROWS")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--earlier", type=Path, help="another checkout, to measure beside this one")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    measure([partial(PARTS[name], arguments=arguments) for name in arguments.parts or PARTS], arguments.out)


if __name__ == "__main__":
    main()
