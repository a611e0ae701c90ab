"""What several processes cost, on paper and measured: `python benchmarks/scaling.py [--part NAME ...] [--write FILE]`.

    network   seconds of a sum over two processes of this machine, by its size
    steps     seconds of a step by the sequences in it, what a process sends, and where more processes stop paying
    predict   tokens a second with one and two processes: predicted and measured
    price     one epoch over a billion words on named hardware; `--price h100=2.5` sets dollars an hour

Tables in Markdown go to standard output; `--write docs/scaling.md` puts each between its marks in that page as well.
docs/scaling.md explains the model of cost, which is the arithmetic at the top of this file. A process has one core
wherever this machine is measured. GPU figures are those of the dated records in this folder. Data are those of
`--data`, and the bundled corpora where a file is not there. About five minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [folder for folder in (str(ROOT), str(ROOT / "benchmarks")) if folder not in sys.path]

import scaling_runs  # noqa: E402
from scaling_runs import COUNTS, WORKLOADS  # noqa: E402

TOGETHER = 1 << 18  # numbers of gradients that are sent together, as in nlpseq/training/distribution/exchange.py
AFTER_BUNDLES = 2  # more messages in a step: the loss, and what all processes agree on
LEAST_GAIN = 0.5  # of a process's speed, that each added process has to bring
MOST = 64  # processes
WORDS = 1e9
RECORDS = ("2026-11-28-gpu.json", "2026-11-28-gpu-second.json")  # the later one counts


class Network(NamedTuple):
    """A network between processes."""

    name: str
    bandwidth: float  # bytes a second, in each direction
    latency: float  # seconds from one process to the next


# Line rates, and assumed latencies of a message. NVLink: 900 GB/s of an H100 SXM are 450 GB/s in each direction.
ETHERNETS = (
    Network("Ethernet, 1 Gbit/s", 1.25e8, 50e-6),
    Network("Ethernet, 10 Gbit/s", 1.25e9, 30e-6),
    Network("Ethernet, 100 Gbit/s", 1.25e10, 15e-6),
)
NVLINK = Network("NVLink", 4.5e11, 2e-6)

PRICES = {"cpu2": 0.10, "cpu16": 0.82, "h100": 2.99, "h100x8": 23.92}  # dollars an hour: see docs/scaling.md
HARDWARE = {"cpu2": "this machine", "cpu16": "16 such cores", "h100": "one H100", "h100x8": "eight H100"}


class Line(NamedTuple):
    """Seconds that grow by a step for each unit of something."""

    fixed: float
    each: float

    def at(self, amount: float) -> float:
        """The seconds for an amount."""
        return self.fixed + self.each * amount

    @classmethod
    def through(cls, amounts: Sequence[float], seconds: Sequence[float]) -> Line:
        """The line with the least squares of relative errors; neither of its numbers is negative."""
        rows = np.array([[1 / found, amount / found] for amount, found in zip(amounts, seconds, strict=True)])
        fixed, each = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
        if fixed < 0:
            return cls(0.0, float((rows[:, 1]).sum() / np.square(rows[:, 1]).sum()))
        if each < 0:
            return cls(float(rows[:, 0].sum() / np.square(rows[:, 0]).sum()), 0.0)
        return cls(float(fixed), float(each))


class Power(NamedTuple):
    """Rows of a table that a share of a batch reads: they grow with a power of its sequences."""

    first: float  # rows of one sequence
    exponent: float

    def at(self, sequences: float) -> float:
        """The rows of a share."""
        return float(self.first * sequences**self.exponent)

    @classmethod
    def through(cls, sequences: Sequence[float], rows: Sequence[float]) -> Power:
        """The power with the least squares of logarithms."""
        exponent, first = np.polyfit(np.log(sequences), np.log(rows), 1)
        return cls(math.exp(first), float(exponent))


class Gradients(NamedTuple):
    """What a process sends in a step."""

    dense: float  # numbers
    sparse: tuple[tuple[int, Power], ...]  # width and rows of each table with a sparse gradient
    messages: float

    def dense_bytes(self) -> float:
        """Four bytes for each number."""
        return 4.0 * self.dense

    def sparse_bytes(self, sequences: float) -> float:
        """For each row that the share reads an index of eight bytes and its numbers."""
        return sum(rows.at(sequences) * row_bytes(width) for width, rows in self.sparse)


def row_bytes(width: int) -> int:
    """The bytes of a row of a sparse gradient."""
    return 8 + 4 * width


def bundles(sizes: Iterable[int]) -> int:
    """The number of messages for dense gradients of these sizes, in the order in which they are sent."""
    count, held = 0, TOGETHER
    for size in sizes:
        if held + size > TOGETHER:
            count, held = count + 1, 0
        held += size
    return count


def exchange_seconds(processes: int, gradients: Gradients, sequences: float, network: Network) -> float:
    """The time to sum gradients; `sequences` are those of one process.

    Dense gradients go round a ring twice, in pieces: each process sends 2 (N - 1) / N of them. The rows of sparse ones
    are sent to all: each process sends, or passes on, those of N - 1 others. Each message makes 2 (N - 1) hops.
    """
    others = processes - 1
    sent = 2 * others / processes * gradients.dense_bytes() + others * gradients.sparse_bytes(sequences)
    return sent / network.bandwidth + 2 * others * network.latency * gradients.messages


class Range(NamedTuple):
    """A number if nothing of the exchange is hidden behind the computation, and if as much as possible is."""

    apart: float
    hidden: float


def step_seconds(compute: float, exchange: float) -> Range:
    """The time of a step from its two parts."""
    return Range(compute + exchange, max(compute, exchange))


class Model(NamedTuple):
    """A workload on some hardware: its batch and what a step takes."""

    batch: float  # sequences
    compute: Callable[[float, int], float]  # seconds for a process's sequences, among a number of processes
    gradients: Gradients

    def speed_ups(self, network: Network, *, growing: bool) -> dict[int, Range]:
        """The work done a second by 1, 2, 4, .. processes, over that of one; `growing`: each has a whole batch."""
        found, alone = {}, self.compute(self.batch, 1)
        for count in (1 << power for power in range(MOST.bit_length())):
            if not growing and count > self.batch:
                break
            own = self.batch if growing else math.ceil(self.batch / count)
            exchanged = exchange_seconds(count, self.gradients, own, network)
            work = count if growing else 1
            found[count] = Range(*(work * alone / one for one in step_seconds(self.compute(own, count), exchanged)))
        return found


def last_that_pays(speed_ups: Mapping[int, float]) -> int:
    """The number of processes up to which each doubling adds at least LEAST_GAIN of a process for each one added."""
    last = 1
    while 2 * last in speed_ups and speed_ups[2 * last] - speed_ups[last] >= LEAST_GAIN * last:
        last *= 2
    return last


# Measurements of one call.


class Measured:
    """What was measured so far; each is measured when it is first asked for."""

    def __init__(self, data: Path | None, folder: Path, *, trains: bool) -> None:
        """`trains` is whether `training` is wanted."""
        self.data, self.folder, self.trains = data, folder, trains
        self.training: dict[str, dict[int, float]] = {}  # seconds of a step of each workload, by processes

    @cached_property
    def sums(self) -> list[list[float]]:
        """Bytes and seconds of sums."""
        _say("sums over two processes")
        return scaling_runs.network()

    @cached_property
    def loopback(self) -> Network:
        """The network inside this machine, by the sums: two processes make two hops, and send as much as they sum."""
        line = Line.through(*zip(*self.sums, strict=True))
        return Network("inside this machine", 1 / line.each, line.fixed / 2)

    @cached_property
    def shares(self) -> dict[str, dict[str, Any]]:
        """The steps of each workload; where `training` is wanted, it is measured right after them."""
        found = {}
        for name, workload in WORKLOADS.items():
            _say(f"steps of {workload.name}")
            data = None if self.data is None else str(self.data)
            job = {"function": "shares", "workload": name, "data": data, "folder": str(self.folder / name)}
            found[name] = scaling_runs.result(scaling_runs.start(job))
            if self.trains:
                self.training[name] = self._trained(name)
        return found

    @cached_property
    def models(self) -> dict[str, Model]:
        """The workloads with one core for each process."""
        return {name: _model(shares) for name, shares in self.shares.items()}

    def _trained(self, name: str) -> dict[int, float]:
        """The seconds of a step of a workload by one and by two processes, in turn."""
        _say(f"training of {WORKLOADS[name].name}")
        rows: dict[int, list[list[float]]] = {1: [], 2: []}
        for _ in range(scaling_runs.ROUNDS):
            for count, seconds in rows.items():
                folder = str(self.folder / name)
                job = {"function": "training", "workload": name, "folder": folder, "processes": count}
                seconds.append(scaling_runs.result(scaling_runs.start(job)))
        return {count: float(np.median(seconds, 0).mean()) for count, seconds in rows.items()}


def _say(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)


def _model(shares: Mapping[str, Any]) -> Model:
    batch = shares["sequences"]
    seconds = [shares["seconds"][str(count)] for count in COUNTS]
    line = Line.through([batch / count for count in COUNTS], seconds)
    sent = shares["sent"]
    tables = []
    for index, (width, _) in enumerate(sent["2"]["sparse"]):
        rows = [sent[str(count)]["sparse"][index][1] for count in COUNTS[1:]]
        tables.append((width, Power.through([batch / count for count in COUNTS[1:]], rows)))
    gradients = Gradients(sent["2"]["dense"], tuple(tables), sent["2"]["messages"] + 1)
    return Model(batch, lambda own, _: line.at(own), gradients)


# GPU figures: the records' steps, and what a GPU of several cannot do.


class GpuStep(NamedTuple):
    """A training step on one H100."""

    name: str
    batch: float
    graph: float  # seconds as a graph: one process
    launch: float  # seconds of the host to launch it kernel by kernel: several processes do not record graphs
    gradients: Gradients

    def model(self) -> Model:
        """The best that sharing can do: the GPU's own time falls with the sequences, and launching stays."""

        def compute(own: float, count: int) -> float:
            own_time = self.graph * own / self.batch
            return own_time if count == 1 else max(own_time, self.launch)

        return Model(self.batch, compute, self.gradients)


def gpu_steps() -> list[GpuStep]:
    """The steps of the dated records that were timed both as graphs and called.

    The time to launch a step of a task is its shortest step that was called, in which the GPU waited for the host.
    """
    found = {}
    for record in RECORDS:
        for row in json.loads((ROOT / "benchmarks" / record).read_text())["parts"].get("steps", ()):
            if row.get("ours graph") and row.get("lengths") == "equal":
                sizes = tuple(int(size) for size in row["H, B, T, V"].split(","))
                found[row["task"], sizes] = (row["ours graph"] / 1e3, row["ours called"] / 1e3)
    steps = []
    for (task, (hidden, batch, time, vocabulary)), (graph, _) in found.items():
        name = f"{task}, {hidden} units, {batch} x {time}"
        launch = min(called for (other, _), (_, called) in found.items() if other == task)
        steps.append(GpuStep(name, batch, graph, launch, gpu_gradients(task, hidden, vocabulary)))
    return steps


def gpu_gradients(task: str, hidden: int, vocabulary: int) -> Gradients:
    """The gradients of the model that benchmarks/gpu_steps.py times, all dense."""
    from nlpseq.models import classifier, language_model, translator

    sizes: dict[str, Any] = {"hidden_size": hidden, "embedding_size": hidden, "initial": "normal"}
    if task == "language model":
        own = language_model.LanguageModelOptions(layers=2, tied=False, ngrams=1, **sizes)
        weights = language_model.initial_weights(own, vocabulary, seed=1)
    elif task == "translation":
        weights = translator.initial_weights(translator.TranslatorOptions(**sizes), vocabulary, seed=1)
    else:
        other = classifier.ClassifierOptions(layers=2, bidirectional=True, ngrams=1, evidence=0, **sizes)
        weights = classifier.initial_weights(other, vocabulary, np.ones(2), seed=1)
    numbers = [value.size for value in weights.values()]
    return Gradients(sum(numbers), (), bundles(numbers) + AFTER_BUNDLES)


class GpuRun(NamedTuple):
    """A whole training run on one H100 in the last record."""

    corpus: str  # in the record
    task: str  # in the record's steps
    batch_tokens: float | None = None  # in a step; None: those of the workload here


GPU_RUNS = {
    "words": GpuRun("WikiText-2, words", "language model", 64 * 70),
    "translator": GpuRun("Multi30k, English to German", "translation"),
}


def gpu_speeds(name: str, shares: Mapping[str, Any], messages: float) -> tuple[float, float] | None:
    """Tokens a second of a workload on one H100, measured, and on eight, by the model; None if it was not measured."""
    if name not in GPU_RUNS:
        return None
    run, parts = GPU_RUNS[name], json.loads((ROOT / "benchmarks" / RECORDS[-1]).read_text())["parts"]
    one = next(row["tokens/s"] for row in parts["train"] if row.get("corpus") == run.corpus and "tokens/s" in row)
    launch = min(step.launch for step in gpu_steps() if step.name.startswith(run.task))
    gradients = Gradients(shares["parameters"], (), messages)
    step = GpuStep(name, 1.0, (run.batch_tokens or shares["tokens"]) / one, launch, gradients)
    return one, one * step.model().speed_ups(NVLINK, growing=True)[8].apart


# Tables.

Table = tuple[Sequence[str], list[Sequence[str]]]


def network_table(measured: Measured) -> dict[str, Table]:
    """Sums inside this machine."""
    line = measured.loopback
    rows: list[Sequence[str]] = []
    for size, seconds in measured.sums:
        fitted = size / line.bandwidth + 2 * line.latency
        rows.append((_bytes(size), f"{1e3 * seconds:.3f}", f"{1e3 * fitted:.3f}"))
    rows.append(("fitted", f"{line.bandwidth / 1e9:.2f} GB/s", f"{1e6 * line.latency:.0f} µs a hop"))
    return {"network": (("summed", "measured, ms", "by the line, ms"), rows)}


def steps_table(measured: Measured) -> dict[str, Table]:
    """Steps by share, what is sent, and where more processes stop paying."""
    steps: list[Sequence[str]] = []
    sent: list[Sequence[str]] = []
    for name, model in measured.models.items():
        shares, title = measured.shares[name], WORKLOADS[name].name
        seconds = [shares["seconds"][str(count)] for count in COUNTS]
        fitted = [model.compute(model.batch / count, count) for count in COUNTS]
        worst = max(abs(line / found - 1) for line, found in zip(fitted, seconds, strict=True))
        times = " / ".join(f"{1e3 * found:.1f}" for found in seconds)
        fixed, each = model.compute(0, 1), model.compute(1, 1) - model.compute(0, 1)
        steps.append(
            (
                title,
                re.sub(r" \| ", ", ", shares["model"].split(" parameters")[0]),
                f"{model.batch:.0f}",
                f"{shares['tokens']:.0f}",
                times,
                f"{1e3 * fixed:.1f} + {1e3 * each:.2f} a sequence",
                f"{100 * worst:.0f} %",
            )
        )
        own = model.batch / 2
        tables = ", ".join(f"{rows.at(own):,.0f} rows of {width}" for width, rows in model.gradients.sparse)
        sent.append(
            (
                title,
                _bytes(model.gradients.dense_bytes()),
                f"{tables}: {_bytes(model.gradients.sparse_bytes(own))}" if tables else "none",
                _bytes(4 * shares["parameters"]),
                f"{model.gradients.messages:.0f}",
                *(f"{1e3 * exchange_seconds(2, model.gradients, own, network):.1f}" for network in ETHERNETS),
            )
        )
    heads = "1, 1/2, 1/4, 1/8 of the batch, ms", "line, ms", "largest error"
    networks = (f"{network.name}, ms" for network in ETHERNETS)
    return {
        "steps": (("workload", "model", "sequences", "tokens", *heads), steps),
        "gradients": (
            ("two processes", "dense", "sparse, of one process", "all parameters", "messages", *networks),
            sent,
        ),
        "pays": _paying_table(((WORKLOADS[name].name, model) for name, model in measured.models.items()), ETHERNETS),
        "gpu": _gpu_table(),
    }


def _gpu_table() -> Table:
    steps = {step.name: step for step in gpu_steps()}
    models = ((name, step.model()) for name, step in steps.items())
    (first, *head), rows = _paying_table(models, (ETHERNETS[-1], NVLINK))
    widened: list[Sequence[str]] = []
    for name, *row in rows:
        step = steps[name]
        times = f"{1e3 * step.graph:.2f}", f"{1e3 * step.launch:.2f}", _bytes(step.gradients.dense_bytes())
        widened.append((name, *times, *row))
    return (first, "one GPU, ms", "to launch, ms", "gradients", *head), widened


def _paying_table(models: Iterable[tuple[str, Model]], networks: Sequence[Network]) -> Table:
    """Speed-ups, and the last number of processes that pays, for a fixed and a growing batch."""
    head = ["workload", "network"]
    for what in ("same batch", "batch grows"):
        head += [f"{what}: 2", "8", "64", "pays up to"]
    rows: list[Sequence[str]] = []
    for name, model in models:
        for network in networks:
            row = [name, network.name]
            for growing in (False, True):
                found = model.speed_ups(network, growing=growing)
                row += [_range(*found[count]) if count in found else "-" for count in (2, 8, 64)]
                last = [last_that_pays({count: each[end] for count, each in found.items()}) for end in (0, 1)]
                row.append(f"{last[0]}" if last[0] == last[1] else f"{last[0]} to {last[1]}")
            rows.append(row)
    return head, rows


def predict_table(measured: Measured) -> dict[str, Table]:
    """Tokens a second by the model and by the clock."""
    rows: list[Sequence[str]] = []
    for name, model in measured.models.items():
        tokens, found = measured.shares[name]["tokens"], measured.training[name]
        exchange = exchange_seconds(2, model.gradients, model.batch / 2, measured.loopback)
        step = step_seconds(model.compute(model.batch / 2, 2), exchange)
        alone = model.compute(model.batch, 1)
        rows.append(
            (
                WORKLOADS[name].name,
                f"{tokens / alone:,.0f}",
                f"{tokens / found[1]:,.0f}",
                f"{100 * (found[1] / alone - 1):+.0f} %",
                " to ".join(f"{tokens / seconds:,.0f}" for seconds in step),
                f"{tokens / found[2]:,.0f}",
                " to ".join(f"{100 * (found[2] / seconds - 1):+.0f}" for seconds in step) + " %",
                " to ".join(f"{alone / seconds:.2f}" for seconds in step),
                f"{found[1] / found[2]:.2f}",
            )
        )
    one = "one process: predicted", "measured", "error"
    two = "two: predicted", "measured", "error", "speed-up: predicted", "measured"
    return {"predict": (("tokens a second", *one, *two), rows)}


def price_table(measured: Measured, prices: Mapping[str, float]) -> dict[str, Table]:
    """Hours and dollars of an epoch."""
    rows: list[Sequence[str]] = []
    for name, model in measured.models.items():
        shares = measured.shares[name]
        alone = shares["tokens"] / model.compute(model.batch, 1)
        speeds = {
            "cpu2": (shares["tokens"] / measured.training[name][2], "measured, two processes"),
            "cpu16": (alone * model.speed_ups(measured.loopback, growing=True)[16].apart, "extrapolated by the model"),
        }
        if on_gpu := gpu_speeds(name, shares, model.gradients.messages):
            speeds["h100"] = (on_gpu[0], f"measured, {RECORDS[-1][:10]}")
            speeds["h100x8"] = (on_gpu[1], "by the model, not measured")
        for hardware, title in HARDWARE.items():
            speed, how = speeds.get(hardware, (None, "not measured"))
            hours = None if speed is None else WORDS * shares["tokens_a_word"] / speed / 3600
            rows.append(
                (
                    WORKLOADS[name].name,
                    title,
                    f"{prices[hardware]:.2f}",
                    "-" if speed is None else f"{_figures(speed)}",
                    "-" if hours is None else _figures(hours),
                    "-" if hours is None else _figures(hours * prices[hardware]),
                    how,
                )
            )
    return {"price": (("workload", "hardware", "$ an hour", "tokens a second", "hours", "$", "speed"), rows)}


def _figures(value: float) -> str:
    """A number with three figures."""
    return f"{float(f'{value:.3g}'):,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _range(apart: float, hidden: float) -> str:
    one, other = (f"{value:.{2 if value < 10 else 1}f}" for value in (apart, hidden))
    return one if one == other else f"{one} to {other}"


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def markdown(table: Table) -> str:
    """A table in Markdown."""
    head, rows = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def written(page: str, name: str, text: str) -> str:
    """The page with a text between the marks of this name. Raises ValueError if it has no such marks."""
    begin, end = f"<!-- scaling: {name} -->\n", "<!-- scaling: end -->"
    start = page.find(begin)
    stop = page.find(end, start)
    if start < 0 or stop < 0:
        raise ValueError(f"the page has no marks {begin.strip()} and {end}")
    return page[: start + len(begin)] + "\n" + text + "\n" + page[stop:]


def machine() -> str:
    """The day and the machine, in a line."""
    import torch

    from nlpseq.kernels.machine import processor_name

    cores = len(scaling_runs.cores())
    return f"{date.today().isoformat()}, {processor_name()}, {cores} cores, torch {torch.__version__}.\n"


PARTS: dict[str, Callable[[Measured, Mapping[str, float]], dict[str, Table]]] = {
    "network": lambda measured, _: network_table(measured),
    "steps": lambda measured, _: steps_table(measured),
    "predict": lambda measured, _: predict_table(measured),
    "price": price_table,
}


def read_price(text: str) -> tuple[str, float]:
    """A price such as `h100=2.5`."""
    name, _, value = text.partition("=")
    if name not in PRICES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PRICES)}")
    return name, float(value)


def main() -> None:
    """Measure the parts that are named, or all, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="to measure [default: all]")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of corpora")
    parser.add_argument("--price", action="append", type=read_price, default=[], metavar="NAME=DOLLARS")
    parser.add_argument("--write", type=Path, metavar="FILE", help="page whose tables are renewed")
    given = parser.parse_args()
    tables = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        parts = given.part or list(PARTS)
        trains = not {"predict", "price"}.isdisjoint(parts)
        measured = Measured(given.data if given.data.is_dir() else None, Path(folder), trains=trains)
        for part in parts:
            for name, table in PARTS[part](measured, PRICES | dict(given.price)).items():
                tables[name] = markdown(table)
    for text in tables.values():
        print(text, flush=True)
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        for name, text in tables.items():
            page = written(page, name, text)
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
