"""Classifiers beside linear models of the same texts: `python benchmarks/classifiers.py [SET...] [--seeds 1,2,3]`.

Each set is trained with `train sentiment --minutes 3` and nothing else set, so the tenth that training holds out
chooses the model. It is scored on the set's own validation side, which training never saw. The linear models of
`evaluate --baseline` are trained on the same texts as the network. The lead is the mean over the seeds, less the better
one of them, in points of accuracy (of micro-F1 for several labels a text).

IMDB's test part is the last tenth of each label's reviews, whose films the others hardly have. `dates` is the month of
a written date, `titles` the list that a title is from, and two sets are small parts of others.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measured import Rows, measure

DATA = (Path(__file__).resolve().parents[1] / "../shared/data").resolve()
Row = tuple[str, str]  # label, text
Files = tuple[Path, Path]  # for training and for the test


def _write(folder: Path, rows: list[Row], name: str) -> Path:
    path = folder / f"{name}.tsv"
    lines = (f"{label}\t{' '.join(text.split())}\n" for label, text in rows)
    path.write_text("label\ttext\n" + "".join(lines), encoding="utf-8")
    return path


def _rows(path: Path, label: int, text: int, *, header: bool = True) -> list[Row]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    cells = [line.rstrip("\r").split("\t") for line in data.decode().split("\n") if line]
    return [(row[label], row[text]) for row in cells[header:]]


def _by_label(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


def _files(train: str, test: str) -> Callable[[Path], Files]:
    return lambda folder: (DATA / train, DATA / test)


def _imdb(folder: Path) -> Files:
    parts = _by_label(_rows(DATA / "imdb/train.tsv.gz", 1, 3)).values()
    train, test = ([row for rows in parts for row in rows[side]] for side in (slice(11_250), slice(11_250, None)))
    return _write(folder, train, "train"), _write(folder, test, "test")


def _dates(folder: Path) -> Files:
    train, valid = (
        [(date[5:7], text) for date, text in _rows(DATA / f"dates_synthetic/{side}.tsv", 1, 0, header=False)]
        for side in ("train", "valid")
    )
    return _write(folder, train, "train"), _write(folder, valid, "test")


def _titles(folder: Path) -> Files:
    rows = [
        (path.stem, line.strip())
        for path in sorted((DATA / "textgenrnn").glob("*.txt"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    random.Random(5).shuffle(rows)
    return _write(folder, rows[1600:], "train"), _write(folder, rows[:1600], "test")


def _domains(folder: Path) -> Files:
    train, valid, test = (_rows(DATA / f"uci_sentiment/{side}.tsv", 2, 1) for side in ("train", "valid", "test"))
    return _write(folder, train, "train"), _write(folder, valid + test, "test")


def _small(train: str, test: str, count: int, folder: Path) -> Files:
    rows = _rows(DATA / train, 0, 1)
    random.Random(7).shuffle(rows)
    return _write(folder, rows[:count], "train"), DATA / test


SETS: dict[str, Callable[[Path], Files]] = {
    "sst": _files("sst/sst_binary.train.tsv", "sst/sst_binary.dev.tsv"),
    "sst-fine": _files("sst/sst_fine.train.tsv", "sst/sst_fine.dev.tsv"),
    "rt-polarity": _files("rt-polarity/train.tsv", "rt-polarity/valid.tsv"),
    "subj": _files("subj/train.tsv", "subj/valid.tsv"),
    "cr": _files("cr/train.tsv", "cr/valid.tsv"),
    "mpqa": _files("mpqa/train.tsv", "mpqa/valid.tsv"),
    "banking77": _files("banking77/train.csv", "banking77/valid.csv"),
    "nlupp": _files("nlupp_banking/train.jsonl", "nlupp_banking/valid.jsonl"),
    "uci": _files("uci_sentiment/train.tsv", "uci_sentiment/valid.tsv"),
    "chnsenticorp": _files("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv"),
    "imdb": _imdb,
    "dates": _dates,
    "titles": _titles,
    "uci-domains": _domains,
    "rt-500": partial(_small, "rt-polarity/train.tsv", "rt-polarity/valid.tsv", 500),
    "sst-fine-1000": partial(_small, "sst/sst_fine.train.tsv", "sst/sst_fine.dev.tsv", 1000),
}


def _nlpseq(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "nlpseq", *map(str, arguments), "--json", "-q"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def compare(folder: Path, name: str, seeds: list[int], minutes: float) -> Rows:
    """The row of a set."""
    train, test = SETS[name](folder)
    run, values, seconds = folder / "run", [], []
    baselines: dict[str, float] = {}
    for seed in seeds:
        made = _nlpseq(
            "train", "sentiment", train, "--minutes", minutes, "--random-seed", seed, "--out", run, "--overwrite"
        )
        seconds.append(json.loads(made.splitlines()[-1])["seconds"])
        report = json.loads(_nlpseq("evaluate", "-m", run, test, *(() if baselines else ("--baseline",))))
        first = report["scores"][0]
        values.append(first["value"])
        if not baselines:
            baselines = {
                each["name"]: next(score["value"] for score in each["scores"] if score["name"] == first["name"])
                for each in report["baselines"]
            }
    size = (run / "model.safetensors").stat().st_size / 1e6
    mean, lead = statistics.mean(values), statistics.mean(values) - max(baselines.values())
    floors = ", ".join(f"{baseline} {value:.2f}" for baseline, value in baselines.items())
    each = " ".join(f"{value:.2f}" for value in values)
    took = f"{statistics.median(seconds):.0f} s, {size:.1f} MB"
    yield name, f"{first['name']} {mean:.2f} ({each}); {floors}; lead {lead:+.2f}; {took}"


def main() -> None:
    """Measure the named sets, or all; `--out` writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; by default all")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.sets) - SETS.keys():
        parser.error(f"there is no set {', '.join(sorted(unknown))}")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    chosen = arguments.sets or list(SETS)
    measure((partial(compare, name=name, seeds=seeds, minutes=arguments.minutes) for name in chosen), arguments.out)


if __name__ == "__main__":
    main()
