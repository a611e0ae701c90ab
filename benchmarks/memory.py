"""Memory of the commands whose input has no end: `python benchmarks/memory.py [PART...]`.

    filters     resident memory of each filter after line 1,000 and after the last; it may grow by 5 %
    long        the peak of each filter on one line of 20 MB beside that on a short one
    corpora     the peak of `corpus check` and `tokenize train` on texts of a tenth of the size, and of all of it
    training    resident memory of a tiny training after its second pass and after its last

    python benchmarks/memory.py --lines 1000000 --megabytes 500 --out FILE.md     about two hours on two cores
    python benchmarks/memory.py                                                   about ten minutes

Each command is a process of its own. Resident memory is VmRSS, a peak is VmHWM, both of the process and its children.
Lines of filters are short, and come through a pipe that is always full. Each has a number, so that each has a word that
was never there before. The status is 1 if a filter grows by more than 5 %, or training does.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

PARTS = ("filters", "long", "corpora", "training")
FIRST = 1000  # lines
MOST_GROWTH = 1.05
MEGABYTE = 1_000_000
LONG_LINE = 20 * MEGABYTE
SENTENCE = "a dull film and the cat sat on the mat while it was raining in the town where nobody ever went"
WORDS = SENTENCE.split()


@dataclass(frozen=True)
class Filter:
    """A command that answers line by line, and how many of the lines it gets, as it is slower than others."""

    name: str
    arguments: tuple[str, ...]
    share: float = 1.0
    ids: bool = False

    def lines(self, count: int, draw: random.Random) -> Iterator[bytes]:
        """Short lines, all of them different."""
        for number in range(count):
            if self.ids:
                yield b" ".join(b"%d" % (97 + draw.randrange(26)) for _ in range(8)) + b"\n"
            else:
                yield f"{number} {' '.join(draw.choices(WORDS, k=draw.randrange(1, 9)))}\n".encode()


def filters(models: dict[str, str]) -> list[Filter]:
    """All filters, with the models `classifier`, `lm` and `translator`."""
    classifier, lm, translator = (models[name] for name in ("classifier", "lm", "translator"))
    return [
        Filter("tokenize encode", ("tokenize", "encode", "-m", translator)),
        Filter("tokenize decode", ("tokenize", "decode", "-m", lm), ids=True),
        Filter("classify", ("classify", "-m", classifier)),
        Filter("score", ("score", "-m", lm)),
        Filter("score --follow", ("score", "-m", lm, "--follow"), 0.1),
        Filter("embed", ("embed", "-m", classifier)),
        Filter("translate", ("translate", "-m", translator, "--processes", "1", "--beam", "1"), 0.5),
        Filter("translate, two processes", ("translate", "-m", translator, "--processes", "2", "--beam", "1"), 0.5),
        Filter("generate --seed -", ("generate", "-m", lm, "--seed", "-", "--length", "3"), 0.1),
        Filter("nearest, words", ("nearest", "-m", classifier, "--top", "1"), 0.1),
    ]


class Row(NamedTuple):
    """A line of the table: what was measured, two figures in MB, and whether they may be so far apart."""

    part: str
    what: str
    before: float
    after: float
    bound: float | None = None  # the most that `after` may be, as a multiple of `before`

    @property
    def grows(self) -> bool:
        """Whether memory grew by too much."""
        return self.bound is not None and self.after > self.bound * self.before

    def __str__(self) -> str:
        verdict = "" if self.bound is None else "grows" if self.grows else "holds"
        ratio = f"{self.after / self.before:.2f}"
        return f"| {self.part} | {self.what} | {self.before:.0f} | {self.after:.0f} | {ratio} | {verdict} |"


HEAD = "| part | what | before, MB | after, MB | ratio | |\n|---|---|---|---|---|---|\n"


def resident(process: int, field: str = "VmRSS") -> float:
    """A field of /proc of a process and its children together, in MB; 0 for one that has ended."""
    total = 0.0
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1]) * 1024 / MEGABYTE
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return total
    return total + sum(resident(int(child), field) for child in children)


def start(arguments: Sequence[object], **streams: Any) -> subprocess.Popen[bytes]:
    """Start a command of the package."""
    command = [sys.executable, "-P", "-m", "nlpseq", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, **streams)


def growth(each: Filter, count: int) -> Row:
    """Resident memory of a filter when FIRST lines are answered, and when all of them are."""
    count = max(2 * FIRST, int(count * each.share))
    child = start(each.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    writer = threading.Thread(target=_write, args=(child.stdin, each.lines(count, random.Random(1))))
    writer.start()
    answered, figures = 0, []
    for wanted in (FIRST, count):
        while answered < wanted:
            block = os.read(child.stdout.fileno(), 1 << 16)
            if not block:
                raise SystemExit(f"{each.name} ended after {answered:,} lines")
            answered += block.count(b"\n")
        figures.append(resident(child.pid))
    writer.join()
    child.stdin.close()
    child.stdout.close()
    child.wait()
    return Row("filters", f"`{each.name}`: line {FIRST:,}, line {count:,}", *figures, MOST_GROWTH)


def _write(stream: Any, lines: Iterator[bytes]) -> None:
    while block := b"".join(islice(lines, 1000)):
        stream.write(block)
    stream.flush()


def peak(arguments: Sequence[object], data: bytes | None = None) -> float:
    """The peak memory of a command, in MB, its children included. Its status must be that of success."""
    given = subprocess.DEVNULL if data is None else subprocess.PIPE
    child = start(arguments, stdin=given, stdout=subprocess.DEVNULL)
    figures = [0.0]
    if data is not None and child.stdin is not None:
        stream = child.stdin
        threading.Thread(target=lambda: (stream.write(data), stream.close())).start()
    while child.poll() is None:
        figures.append(resident(child.pid, "VmHWM"))
        try:
            child.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    if child.returncode not in (0, 1):
        raise SystemExit(f"{arguments} ended with status {child.returncode}")
    return max(figures)


def long_lines(each: Filter, size: int) -> Row:
    """The peak of a filter on a short line, and on a line of `size` bytes."""
    word = b"97 98 99 " if each.ids else b"the cat sat on the mat "
    line = word * (size // len(word))
    return Row(
        "long",
        f"`{each.name}`: a line of {size / MEGABYTE:g} MB",
        peak(each.arguments, word + b"\n"),
        peak(each.arguments, line + b"\n"),
    )


def write_text(path: Path, megabytes: float) -> None:
    """A text of made words, a sentence in each line."""
    draw = random.Random(1)
    names = ["".join(draw.choices("bdfgklmnprst", k=1) + draw.choices("aeiou", k=1)) for _ in range(60)]
    vocabulary = ["".join(draw.choices(names, k=draw.randrange(1, 5))) for _ in range(50_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    size = 0
    with path.open("w", encoding="ascii") as file:
        while size < megabytes * MEGABYTE:
            words = draw.choices(vocabulary, weights, k=20_000)
            text = "".join(" ".join(words[at : at + 10]) + ".\n" for at in range(0, len(words), 10))
            size += file.write(text)


def corpora(folder: Path, megabytes: float) -> Iterator[Row]:
    """Peaks on a tenth of a text, and on all of it."""
    whole, tenth = folder / "whole.txt", folder / "tenth.txt"
    write_text(whole, megabytes)
    write_text(tenth, megabytes / 10)
    for name, arguments in {
        "corpus check": ("corpus", "check"),
        "tokenize train --tokens bpe": ("tokenize", "train", "--out", folder / "bpe.json", "--overwrite"),
        "tokenize train --tokens word": (
            *("tokenize", "train", "--tokens", "word", "--out", folder / "word.json", "--overwrite"),
        ),
    }.items():
        yield Row(
            "corpora",
            f"`{name}`: {megabytes / 10:g} MB, {megabytes:g} MB",
            *(peak((*arguments, path)) for path in (tenth, whole)),
        )


def training(folder: Path, passes: int) -> Row:
    """Resident memory after the second pass over a tiny text, and after the last."""
    write_text(folder / "tiny.txt", 0.02)
    sizes = ("--hidden-size", "16", "--embedding-size", "16", "--batch-size", "16", "--device", "cpu")
    command = ("train", "lm", folder / "tiny.txt", "--epochs", passes, *sizes, "--out", folder / "run", "--json", "-q")
    child = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    history = folder / "run" / "history.jsonl"
    looks: list[tuple[int, float]] = []  # steps done, and memory
    while child.poll() is None:
        done = history.read_bytes().count(b'{"step"') if history.exists() else 0
        looks.append((done, resident(child.pid)))
        try:
            child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    steps = max((done for done, _ in looks), default=0)
    later = [figure for done, figure in looks if steps and figure > 0 and done >= 2 * steps / passes]
    if child.returncode or not later:
        raise SystemExit(f"training ended with status {child.returncode} after {len(looks)} looks")
    return Row("training", f"`train lm`: pass 2, pass {passes}", later[0], max(later), MOST_GROWTH)


def rows(arguments: Any, folder: Path) -> Iterator[Row]:
    """All rows that are asked for."""
    parts = arguments.parts or PARTS
    models = {name: getattr(arguments, name) for name in ("classifier", "lm", "translator")}
    chosen = [each for each in filters(models) if not arguments.only or each.name.startswith(tuple(arguments.only))]
    if "filters" in parts:
        yield from (growth(each, arguments.lines) for each in chosen)
    if "long" in parts:
        yield from (long_lines(each, arguments.long) for each in chosen if "two" not in each.name)
    if "corpora" in parts:
        yield from corpora(folder, arguments.megabytes)
    if "training" in parts:
        yield training(folder, arguments.passes)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    parser.add_argument(
        "--only", action="append", metavar="FILTER", help="the beginning of a filter's name; repeatable"
    )
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--long", type=int, default=LONG_LINE, help="bytes of the long line")
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--passes", type=int, default=50)
    parser.add_argument("--out", type=Path)
    for name, usual in (("classifier", "reviews"), ("lm", "stories"), ("translator", "english-german")):
        parser.add_argument(f"--{name}", default=usual)
    arguments = parser.parse_args(words)
    table, found = HEAD, []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(arguments, Path(folder)):
            print(row, flush=True)
            table += f"{row}\n"
            found.append(row.grows)
    print(f"\n{table}")
    if arguments.out is not None:
        arguments.out.write_text(table, encoding="utf-8")
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main())
