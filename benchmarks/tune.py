"""What a search gains: `python benchmarks/tune.py TRAIN TEST [TRAIN TEST ...] --minutes 20 --out FILE.md`.

Each pair of files is a data set: labelled texts to train on, and the third part that decides, which nothing is chosen
by. A tenth of the training texts, those with the smallest hashes, is the validation part of all three:

    default     `nlpseq train sentiment --minutes M`
    tune        `nlpseq tune sentiment --minutes M`
    fasttext    `train_supervised` with autotune on the validation part for M minutes, all cores; texts in lower case,
                punctuation apart; left out if it is not installed (pip install fasttext-wheel)

They run one after the other. The table has the accuracy on the third part, and what each chose. Three data sets with
--minutes 20 take two to three hours, less if runs end by themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from measured import measure

from nlpseq.text.tables.labelled import LabelledTexts, read_labelled

NLPSEQ = [sys.executable, "-m", "nlpseq"]
HELD_OUT = 10  # one of so many training texts is for validation
CORES = len(os.sched_getaffinity(0))
FASTTEXT = """
import json, sys, time
import fasttext
train, valid, test, seconds, threads = sys.argv[1:]
model = fasttext.train_supervised(
    input=train, autotuneValidationFile=valid, autotuneDuration=int(float(seconds)), thread=int(threads), verbose=0
)
count, precision, _ = model.test(test)
args = model.f.getArgs()
names = ("dim", "lr", "epoch", "wordNgrams", "minn", "maxn", "bucket")
chosen = {name: getattr(args, name) for name in names}
print(json.dumps({"accuracy": 100 * precision, "texts": count, "chosen": chosen}))
"""


class Parts(NamedTuple):
    """The three parts of a data set, as files."""

    train: Path
    valid: Path
    test: Path


def make_parts(train: Path, test: Path, folder: Path) -> Parts:
    """Hold a tenth of the training texts out."""
    texts, others = read_labelled([str(train)]), read_labelled([str(test)])
    ranks = [hashlib.blake2b(text.strip().encode("utf-8", "replace")).digest() for text in texts.texts]
    order = sorted(range(len(texts)), key=ranks.__getitem__)
    held_out = set(order[: len(texts) // HELD_OUT])
    own = [texts.chosen(index for index in range(len(texts)) if (index in held_out) == is_valid) for is_valid in (0, 1)]
    return Parts(*(write(folder, name, part) for name, part in zip(Parts._fields, (*own, others), strict=True)))


def write(folder: Path, name: str, texts: LabelledTexts) -> Path:
    """Write texts as JSON lines for nlpseq and as fastText's lines; returns the former."""
    path = folder / f"{name}.jsonl"
    rows = list(zip(texts.labels, texts.texts, strict=True))
    path.write_text("".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in rows))
    lines = (f"__label__{'_'.join(label.split())} {spaced(text)}\n" for label, text in rows)
    path.with_suffix(".txt").write_text("".join(lines))
    return path


def spaced(text: str) -> str:
    """A text in lower case, punctuation apart."""
    return " ".join(re.sub(r"([.!?,'/()\":;])", r" \1 ", text.lower()).split())


def nlpseq(*words: object, folder: Path) -> dict[str, Any]:
    """What a command writes last, as JSON."""
    command = [*NLPSEQ, *map(str, words), "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def accuracy(scores: Sequence[dict[str, Any]]) -> float:
    """The accuracy among scores, in per cent."""
    return float(next(score["value"] for score in scores if score["name"] == "accuracy"))


def default(parts: Parts, minutes: float, seed: int, folder: Path) -> tuple[float, str]:
    """Train with the defaults."""
    options = ("--valid", parts.valid, "--minutes", minutes, "--random-seed", seed, "--out", "default", "--overwrite")
    nlpseq("train", "sentiment", parts.train, *options, folder=folder)
    return accuracy(nlpseq("evaluate", parts.test, "-m", "default", folder=folder)["scores"]), ""


def tune(parts: Parts, minutes: float, seed: int, folder: Path) -> tuple[float, str]:
    """Search; the seed is that of the defaults, and of the trials unless it is 1, with which seeds are free."""
    seeds = () if seed == 1 else ("--random-seed", seed)
    options = ("--valid", parts.valid, "--test", parts.test, "--minutes", minutes, "--out", "tuned", "--overwrite")
    report = nlpseq("tune", "sentiment", parts.train, *options, *seeds, folder=folder)
    best = report["trials"][report["best"]]
    chosen = ", ".join(f"{name} {value}" for name, value in best["options"].items()) or "the defaults"
    states = [trial["state"] for trial in report["trials"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    within = f"{report['seconds'] / (60 * minutes):.0%} of the time"
    own = accuracy(report["test"][0]["scores"])
    what = f"trial {best['number']} ({counts}; {within}): {chosen}; its run with the defaults {own:.2f}"
    return accuracy(report["test"][-1]["scores"]), what


def fasttext(parts: Parts, minutes: float, seed: int, folder: Path) -> tuple[float, str] | None:
    """fastText's autotune; None if it is not installed."""
    if subprocess.run([sys.executable, "-c", "import fasttext"], capture_output=True, check=False).returncode:
        return None
    files = [str(path.with_suffix(".txt")) for path in parts]
    words = [sys.executable, "-c", FASTTEXT, *files, str(60 * minutes), str(CORES)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["accuracy"], ", ".join(f"{name} {value:.4g}" for name, value in found["chosen"].items())


SIDES = {side.__name__: side for side in (default, tune, fasttext)}


def compare(
    folder: Path, *, train: Path, test: Path, minutes: float, sides: Iterable[str], seed: int
) -> Iterator[tuple[str, str]]:
    """Train with each side on one data set."""
    parts = make_parts(train, test, folder)
    sizes = ", ".join(f"{name} {sum(1 for _ in path.open()):,}" for name, path in parts._asdict().items())
    found: dict[str, float] = {}
    name = f"{train.parent.name}/{train.name}"
    yield name, f"texts: {sizes}"
    for side in sides:
        started = time.monotonic()
        result = SIDES[side](parts, minutes, seed, folder)
        if result is None:
            yield f"{name}: {side}", "not installed: pip install fasttext-wheel"
            continue
        found[side], what = result
        seconds = time.monotonic() - started
        yield f"{name}: {side}", f"accuracy {found[side]:.2f} in {seconds:,.0f} s" + (f"; {what}" if what else "")
    for side, value in found.items():
        if "tune" in found and side != "tune":
            yield f"{name}: tune ahead of {side}", f"{found['tune'] - value:+.2f}"


def main() -> None:
    """Compare on the named data sets and print a table; `--out` writes it too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="TRAIN TEST", help="the two files of each data set")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if len(arguments.files) % 2:
        parser.error("a data set is two files: TRAIN TEST")
    files = [path.resolve() for path in arguments.files]
    settings = {"minutes": arguments.minutes, "sides": arguments.sides, "seed": arguments.seed}
    pairs = zip(files[::2], files[1::2], strict=True)
    measure([partial(compare, train=train, test=test, **settings) for train, test in pairs], arguments.out)


if __name__ == "__main__":
    main()
