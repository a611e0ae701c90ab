"""What `scaling.py` measures, each in processes of its own with one core: `python benchmarks/scaling_runs.py JOB`.

JOB is a JSON object with the name of a function below and its arguments. The result is the last line of standard
output, as JSON. Steps are those of the training loop itself, on the same batches whatever the number of processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ONE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
SIZES = (8, 16_384, 262_144, 1_048_576, 4_194_304, 16_777_216)  # bytes of an all-reduce
REPEATS = 30  # of each size
COLD = 1 << 26  # bytes of all tensors of a size, more than a cache holds
COUNTS = (1, 2, 4, 8)  # processes whose shares of a batch are timed
ROUNDS = 3
UNTIMED = 3  # steps before those that are timed
READ_AHEAD = 50_000  # training tokens in which words are counted


class Workload(NamedTuple):
    """A training run: its name, its command, its files under the folder of data, its options, its timed steps."""

    name: str
    command: str
    files: tuple[str, ...]
    options: Mapping[str, Any]
    steps: int


WORKLOADS = {
    "characters": Workload(
        "language model, characters",
        "lm",
        ("tinyshakespeare/input.txt",),
        {"tokens": "char", "hidden_size": 256, "embedding_size": 128, "batch_size": 32, "sequence_length": 64},
        16,
    ),
    "words": Workload(
        "language model, words",
        "lm",
        ("wikitext2/train.txt",),
        {"tokens": "word", "hidden_size": 896, "embedding_size": 320, "batch_size": 32, "sequence_length": 35},
        5,
    ),
    "classifier": Workload("classifier", "sentiment", ("imdb/train.tsv.gz",), {"batch_size": 32}, 8),
    "translator": Workload("translator", "translation", ("multi30k/train.en", "multi30k/train.de"), {}, 6),
}


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def start(job: Mapping[str, Any], environment: Mapping[str, str] = ONE_CORE) -> subprocess.Popen[str]:
    """Start a job in a process of its own."""
    words = [sys.executable, str(Path(__file__).resolve()), json.dumps(job)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    held = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**held, **environment, "PYTHONPATH": path})


def result(process: subprocess.Popen[str]) -> Any:
    """The result of a job. Raises RuntimeError if it failed."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a measurement ended with status {process.returncode}")
    return json.loads(said.splitlines()[-1])


def network() -> list[list[float]]:
    """Bytes and seconds of sums over two processes of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = [{"function": "sums", "index": index, "store": f"{folder}/store"} for index in range(2)]
        running = [start(job, {**ONE_CORE, "GLOO_SOCKET_IFNAME": "lo"}) for job in jobs]
        rows, _ = [result(process) for process in running]
    return list(rows)


def sums(index: int, store: str) -> list[tuple[int, float]]:
    """The seconds of a sum of each size, in one of two processes: the median.

    Tensors take turns, so that they are not in a cache, as gradients are not that were computed a while ago.
    """
    import torch

    from nlpseq.training.distribution.group import Group, file_store

    rows = []
    group, loss = Group(index, 2, file_store(store, 2), uses_gpu=False, on_one_machine=True), torch.zeros(())
    with closing(group):
        for size in SIZES:
            parameter = torch.zeros(size // 4, requires_grad=True)
            parameter.grad = torch.zeros(size // 4)
            exchange = group.exchange({"all": parameter})
            exchange.finish(loss)  # opens the memory that the processes share
            tensors = [torch.zeros(size // 4) for _ in range(max(1, min(REPEATS, COLD // size)))]
            seconds = []
            for number in range(REPEATS + UNTIMED):
                parameter.grad = tensors[number % len(tensors)]
                started = time.perf_counter()
                exchange.finish(loss)
                seconds.append(time.perf_counter() - started)
            rows.append((size, float(np.median(seconds[UNTIMED:]))))
    return rows


@dataclass
class Counter:
    """Stands for the processes of a sum, and counts what each sends: it never changes a tensor."""

    dense: float = 0.0  # numbers
    sparse: list[tuple[int, int]] = field(default_factory=list)  # rows and their width
    messages: int = 0
    on_one_machine: bool = False

    def from_first(self, value: Any) -> Any:
        """The value."""
        return value

    def start_sum(self, tensor: Any) -> None:
        """Count a tensor; gloo sends the sizes, the indices and the values of a sparse one."""
        self.messages += 3 if tensor.is_sparse else 1
        if tensor.is_sparse:
            self.sparse.append((tensor.values().shape[0], tensor.shape[1]))
        else:
            self.dense += tensor.numel()

    def wait(self, work: None) -> None:
        """Nothing is left to do."""


def request_of(workload: Workload, data: str | None, folder: str) -> tuple[Any, Any]:
    """The task of a workload and a request for a run that is far longer than what is timed."""
    from nlpseq.tasks import COMMANDS
    from nlpseq.training.requests import make_request

    found = [] if data is None else [Path(data, name) for name in workload.files]
    corpora: Sequence[Path] = found if found and all(path.exists() for path in found) else ()
    files = dict(zip(("source", "target"), corpora, strict=False)) if len(corpora) == 2 else {}
    asked = {**workload.options, **files, "steps": 1_000_000, "validations": 1, "device": "cpu", "out": folder}
    task = COMMANDS[workload.command]
    return task, make_request(task, () if files else corpora, asked)


def shares(workload: str, data: str | None, folder: str) -> dict[str, Any]:
    """Steps on the share of one process among each number of COUNTS: seconds, and what it would send.

    The run that it prepares in the folder can be continued by `training`.
    """
    from nlpseq.training.distribution.exchange import GradientExchange
    from nlpseq.training.distribution.processes import Processes
    from nlpseq.training.loop import Run

    class One(Processes):
        """The first of several processes, alone."""

        def __init__(self, count: int) -> None:
            self.count = count
            self.counter = Counter()

        def exchange(self, parameters: Mapping[str, Any]) -> Any:
            """Sums in which no other process takes part."""
            if self.count == 1:
                return super().exchange(parameters)
            return GradientExchange(parameters, self.counter)  # type: ignore[arg-type]

    chosen = WORKLOADS[workload]
    task, request = request_of(chosen, data, folder)
    run = task.load("run")(request)
    sides: dict[int, Run] = {}
    for count in COUNTS:
        run.processes = One(count)
        run.task = run.make_task(None)
        sides[count] = Run(run.task, run.training, run.folder, processes=run.processes)
    seconds = _timed(sides, chosen.steps)
    run.folder.release()
    return {
        "seconds": seconds,
        "sent": {count: _sent(side.processes, ROUNDS * chosen.steps) for count, side in sides.items() if count > 1},
        "parameters": sum(value.numel() for value in run.task.parameters.values()),
        **_batches(run, chosen.steps),
        "model": run.summary(),
    }


def _timed(sides: Mapping[int, Any], steps: int) -> dict[int, float]:
    """The mean seconds of a step of each side, taken in turn: of each step the median over the rounds.

    Untimed steps come first, and what they send is not counted.
    """
    from nlpseq.training.step import Plan

    def take(side: Any, step: int) -> float:
        started = time.perf_counter()
        side.step_taker.take(Plan(step, 0.1, side.length.scales(step), 0.0), lambda: False)
        return time.perf_counter() - started

    for step in range(UNTIMED):
        for side in sides.values():
            take(side, step)
    begun = {count: side.task.arrays() for count, side in sides.items()}
    for side in sides.values():
        side.processes.counter = side.step_taker.exchange.group = Counter()
    rounds: dict[int, list[list[float]]] = {count: [] for count in sides}
    for _ in range(ROUNDS):
        for count, side in sides.items():
            side.task.restore(begun[count])
            rounds[count].append([])
        for step in range(steps):
            for count, side in sides.items():
                rounds[count][-1].append(take(side, step))
    return {count: float(np.median(seconds, 0).mean()) for count, seconds in rounds.items()}


def _sent(processes: Any, steps: int) -> dict[str, Any]:
    """What one process sends in a step, without the loss."""
    counter = processes.counter
    widths = sorted({width for _, width in counter.sparse})
    sparse = [[width, sum(rows for rows, other in counter.sparse if other == width) / steps] for width in widths]
    return {"dense": counter.dense / steps - 1, "sparse": sparse, "messages": counter.messages / steps}


def _batches(run: Any, steps: int) -> dict[str, float]:
    """The mean numbers of sequences and tokens of the timed batches, and the number of tokens for each word."""
    from nlpseq.training.distribution.processes import ALONE

    run.processes = ALONE
    task, corpus = run.make_task(None), run.corpus
    for _ in range(UNTIMED):
        task.next_batch()
    sequences = tokens = 0
    before = getattr(task, "tokens", 0)
    for _ in range(steps):
        batch, units = task.next_batch()
        sequences += batch[0].shape[1]
        tokens += units
    if hasattr(task, "tokens"):
        tokens = task.tokens - before
    texts = getattr(getattr(corpus.train, "targets", None) or getattr(corpus.train, "texts", None), "ids", corpus.train)
    some = [int(token) for token in texts[:READ_AHEAD]]
    words = len(corpus.tokeniser.decode(some).split())
    return {"sequences": sequences / steps, "tokens": tokens / steps, "tokens_a_word": len(some) / words}


def training(workload: str, folder: str, processes: int) -> list[float]:
    """The seconds of steps in the training loop, with one or several processes, from the start of a prepared run."""
    from nlpseq.tasks import COMMANDS
    from nlpseq.training.distribution.launch import open_processes
    from nlpseq.training.requests import make_request
    from nlpseq.training.run_folder import RESUME

    chosen = WORKLOADS[workload]
    task = COMMANDS[chosen.command]
    (Path(folder) / RESUME).unlink(missing_ok=True)  # so that it starts from the beginning
    request = make_request(task, (), {"resume": True, "out": folder, "processes": processes})
    seconds: list[float] = []
    with open_processes(task, request) as opened:
        run = task.load("run")(request, processes=opened)
        with closing(run.progress()) as progress:
            for _ in progress:
                seconds.append(time.perf_counter())
                if len(seconds) == UNTIMED + chosen.steps:
                    break
    return [float(value) for value in np.diff(seconds)[UNTIMED - 1 :]]


JOBS: dict[str, Callable[..., Any]] = {function.__name__: function for function in (sums, shares, training)}


def main() -> None:
    """Do the job that the first argument describes."""
    job = json.loads(sys.argv[1])
    print(json.dumps(JOBS[job.pop("function")](**job)))


if __name__ == "__main__":
    main()
