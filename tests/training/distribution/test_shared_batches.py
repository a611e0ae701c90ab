"""Several processes against one: the same losses, weights and states. Here each process is a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpseq.errors import Interrupted, NlpseqError, OptionError
from nlpseq.models.model_file import read_tensors
from nlpseq.tasks import COMMANDS
from nlpseq.training.distribution.exchange import GradientExchange
from nlpseq.training.distribution.processes import ALONE, Exchange, Moment, Processes, Share
from nlpseq.training.loop import Run
from nlpseq.training.requests import make_request

RARELY_EQUAL = 1e-5  # sums over a batch are rounded otherwise

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lm": ("lm", {"batch_size": 7}),
    "lm, all noise": (
        "lm",
        {
            "batch_size": 7,
            "layers": 2,
            "dropout": 0.2,
            "embedding_dropout": 0.1,
            "input_dropout": 0.1,
            "weight_drop": 0.2,
            "ngram_dropout": 0.3,
            "zoneout": 0.1,
            "accumulate": 2,
            "average": 0.9,
        },
    ),
    "lm, sampled": ("lm", {"batch_size": 8, "softmax": "sampled", "tokens": "word"}),
    "lm, sgd": ("lm", {"batch_size": 8, "cell": "gru", "optimiser": "sgd"}),
    "sentiment": ("sentiment", {"batch_size": 9, "dropout": 0.3}),
    "sentiment, adversarial": ("sentiment", {"batch_size": 9, "adversarial": 0.5}),
    "sentiment, virtual": ("sentiment", {"batch_size": 9, "virtual_adversarial": 0.5, "zoneout": 0.1}),
    "translation": ("translation", {"batch_size": 9, "dropout": 0.3, "layers": 2}),
    "translation, accumulated": ("translation", {"batch_size": 5, "accumulate": 3, "zoneout": 0.1}),
    "translation, cut anew": (
        "translation",
        {"batch_size": 7, "tokens": "bpe", "subword_dropout": 0.4, "word_dropout": 0.2},
    ),
    "translation, one pair": ("translation", {"batch_size": 1}),
}


@dataclass
class Shared:
    """What the threads share."""

    count: int
    values: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.count, timeout=60)


class Thread(Processes):
    """One of several threads, as a process."""

    def __init__(self, index: int, shared: Shared) -> None:
        self.index, self.count, self.shared = index, shared.count, shared

    def _all(self, value: Any) -> list[Any]:
        self.shared.values[self.index] = value
        self.shared.barrier.wait()
        values = [self.shared.values[index] for index in range(self.count)]
        self.shared.barrier.wait()
        return values

    def agree(self, moment: Moment) -> Moment:
        moments = self._all(moment)
        return moments[0]._replace(stop=max(each.stop for each in moments))

    def from_first(self, value: Any) -> Any:
        return self._all(value)[0]

    def confirm(self, error: NlpseqError | None) -> None:
        for found in self._all(error):
            if found is not None:
                raise found

    def copy_from_first(self, tensors: Mapping[str, Tensor]) -> None:
        first = self._all({name: tensor.detach().clone() for name, tensor in tensors.items()})[0]
        for name, tensor in tensors.items():
            tensor.detach().copy_(first[name])

    def sum(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(sum(self._all(array)))

    def exchange(self, parameters: Mapping[str, Tensor]) -> Exchange:
        return GradientExchange(parameters, self)  # type: ignore[arg-type]

    def start_sum(self, tensor: Tensor) -> None:
        copies = self._all(tensor.detach().clone())
        total = copies[0]
        for other in copies[1:]:
            total = total + other
        if tensor.is_sparse:
            summed = total.coalesce()
            tensor.resize_as_(summed).copy_(summed)
        else:
            tensor.copy_(total)

    def wait(self, work: None) -> None:
        """Nothing is left to do."""


WORDS = ["red", "old", "dull", "warm", "fine", "cold"]


def _write_corpus(command: str, path: Path) -> Path:
    """A small corpus of a task."""
    generator = np.random.default_rng(5)
    texts = [" ".join(generator.choice(WORDS, generator.integers(2, 7))) for _ in range(200)]
    rows = {
        "lm": [f"{text}." for text in texts],
        "sentiment": [
            "label\ttext",
            *(f"{'up' if 'warm' in text else 'down'}\t{text} {n}" for n, text in enumerate(texts)),
        ],
        "translation": [f"{text}\t{text.upper()}" for text in texts],
    }
    path.write_text("".join(f"{row}\n" for row in rows[command]))
    return path


Losses = list[float]
Train = Callable[..., tuple[Losses, dict[str, NDArray[Any]]]]


def _train(
    command: str, out: Path, processes: Processes, *, until: int = 0, late: bool = False, **options: Any
) -> Losses:
    task = COMMANDS[command]
    corpora = () if "resume" in options else (out.parent / f"{command}.tsv",)
    request = make_request(task, corpora, {"out": out, "device": "cpu", "precision": "fp32", **options})
    run = task.load("run")(request, processes=processes)
    if late:
        run.run = Run(run.task, run.training, run.folder, late=True, processes=processes)
    losses = []
    try:
        for progress in run.progress():
            if not progress.note:
                losses.append(progress.loss)
            if progress.step == until:
                run.run.signal_number = 15
    except Interrupted:
        pass
    return losses


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`train(3, "lm", steps=4)`: the losses of a run by three processes, and its saved state."""

    def train(count: int, command: str, *, name: str = "", until: int = 0, **options: Any) -> Any:
        out = tmp_path / (name or f"run-{count}")
        _write_corpus(command, tmp_path / f"{command}.tsv")
        results: dict[int, Losses] = {}
        shared = Shared(count)

        def follow(index: int) -> None:
            try:
                results[index] = _train(command, out, Thread(index, shared), **options)
            except threading.BrokenBarrierError:
                pass  # another thread has failed
            except BaseException:
                shared.barrier.abort()
                raise

        threads = [threading.Thread(target=follow, args=(index,)) for index in range(1, count)]
        for thread in threads:
            thread.start()
        try:
            results[0] = _train(command, out, Thread(0, shared) if count > 1 else ALONE, until=until, **options)
        except BaseException:
            shared.barrier.abort()
            raise
        finally:
            for thread in threads:
                thread.join(60)
        assert all(np.array_equal(losses, results[0], equal_nan=True) for losses in results.values())
        return results[0], read_tensors(out / "resume.safetensors")[1]

    return train


def _assert_close(one: Any, several: Any, tolerance: float = RARELY_EQUAL) -> None:
    losses, states = zip(one, several, strict=True)
    np.testing.assert_allclose(*losses, rtol=0, atol=tolerance)
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=0, atol=5 * tolerance, err_msg=name)


@pytest.mark.parametrize("late", [False, True], ids=["read at once", "read late"])
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(case: str, late: bool, train: Train) -> None:
    command, options = CASES[case]
    asked = {"steps": 6, "hidden_size": 16, "late": late, **options}
    _assert_close(train(1, command, **asked), train(2, command, **asked))


@pytest.mark.parametrize("command", COMMANDS)
def test_three_processes_share_a_batch_that_they_cannot_divide(command: str, train: Train) -> None:
    asked = {"steps": 5, "hidden_size": 16, "batch_size": 8}
    _assert_close(train(1, command, **asked), train(3, command, **asked))


@pytest.mark.parametrize("counts", [(1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_goes_on_with_another_number_of_processes(command: str, counts: tuple[int, int], train: Train) -> None:
    asked = {"steps": 8, "hidden_size": 16, "batch_size": 6, "dropout": 0.2}
    whole = train(1, command, name="whole", **asked)
    first, _ = train(counts[0], command, name="stopped", until=3, **asked)
    assert 3 <= len(first) <= 4
    rest, state = train(counts[1], command, name="stopped", resume=True)
    _assert_close(whole, ([*first, *rest], state))


def test_a_batch_with_fewer_streams_than_processes_is_refused(train: Train) -> None:
    with pytest.raises(OptionError, match="batch_size: is less than the number of processes, 3"):
        train(3, "lm", steps=2, batch_size=2, hidden_size=8)


def test_a_batch_smaller_than_the_number_of_processes_counts_once() -> None:
    shares = [Share(2, index, 3) for index in range(3)]
    assert [share.weight for share in shares] == [1, 1, 0]
    texts = torch.arange(2)
    assert [share.of(texts, 0).tolist() for share in shares] == [[0], [1], [0]]


@pytest.mark.parametrize("axis", [0, 1])
def test_columns_make_up_the_whole(axis: int) -> None:
    whole = np.arange(35.0).reshape(5, 7)
    shared, total = Shared(3), whole.shape[axis]
    made: dict[int, Any] = {}

    def put(index: int) -> None:
        process = Thread(index, shared)
        share = process.share(total)
        made[index] = process.whole(share.of(torch.from_numpy(whole), axis).numpy(), share, axis)

    threads = [threading.Thread(target=put, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(made[index], whole) for index in range(3))
