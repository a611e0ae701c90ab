"""Sums in shared memory, against sums of the same gradients in one place. Each process is a thread of the test."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nlpseq.training.distribution.local_exchange import LocalExchange, most_rows, room_each
from nlpseq.training.distribution.processes import ProcessLost
from nlpseq.training.distribution.shared_memory import PAGE, SharedMemory, is_alive

WORDS, SIZE = 9000, 5
SHAPES = {"matrix": (7, 3), "bias": (11,), "table": (WORDS, SIZE)}


class Elsewhere:
    """Sums by other means, for gradients that do not fit: here by a barrier."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.gradients: list[Tensor] = []

    def start_sum(self, gradient: Tensor) -> None:
        self.gradients.append(gradient.clone())
        self.barrier.wait(30)
        total = sum(value.to_dense() for value in self.gradients)
        self.barrier.wait(30)
        assert isinstance(total, Tensor)
        summed = total.to_sparse(1).coalesce()
        gradient.resize_as_(summed).copy_(summed)

    def wait(self, work: None) -> None:
        """Nothing is left to do."""


def _gradients(index: int, rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(index)
    chosen = torch.randint(WORDS, (1, rows), generator=generator)
    values = torch.randn(rows, SIZE, generator=generator)
    return {
        "matrix": torch.randn(SHAPES["matrix"], generator=generator),
        "bias": torch.randn(SHAPES["bias"], generator=generator),
        "table": torch.sparse_coo_tensor(chosen, values, SHAPES["table"], check_invariants=False),
    }


def _together(count: int, run: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def _with_gradients(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    parameters = {name: torch.zeros(shape, requires_grad=True) for name, shape in SHAPES.items()}
    for name, parameter in parameters.items():
        parameter.grad = gradients[name].clone()
    return parameters


@pytest.mark.parametrize("rows", [[40, 3, 0], [40, 8900, 40]], ids=["few rows", "more rows than there is room for"])
@pytest.mark.parametrize("count", [2, 3])
def test_gradients_are_summed(count: int, rows: list[int]) -> None:
    steps = 3
    room = room_each(_with_gradients(_gradients(0, 4)))
    memory = np.zeros(count * PAGE + count * room + 4 * 32, np.uint8)
    elsewhere: Any = Elsewhere(count)

    def run(index: int) -> list[tuple[dict[str, Tensor], Tensor]]:
        shared = SharedMemory(memory, index, count, lambda: None)
        parameters = _with_gradients(_gradients(index, 4))
        exchange = LocalExchange(parameters, elsewhere, shared)
        results = []
        for step in range(steps):
            for name, gradient in _gradients(10 * step + index, rows[index]).items():
                parameters[name].grad = gradient
            exchange.begin()
            loss = exchange.finish(torch.tensor(0.1 * index + step, dtype=torch.float64))
            results.append(({n: p.grad.to_dense().clone() for n, p in parameters.items() if p.grad is not None}, loss))
            if step < steps - 1:
                elsewhere.barrier.wait(30)
                elsewhere.gradients.clear()
                elsewhere.barrier.wait(30)
        return results

    results = _together(count, run)
    for step in range(steps):
        wanted = [_gradients(10 * step + index, rows[index]) for index in range(count)]
        for name in SHAPES:
            total = sum(gradients[name].to_dense().double() for gradients in wanted)
            for result in results:
                torch.testing.assert_close(result[step][0][name].double(), total, rtol=1e-6, atol=1e-6)
                assert torch.equal(result[step][0][name], results[0][step][0][name]), "all have the same bits"
        assert all(float(result[step][1]) == float(results[0][step][1]) for result in results)
        assert float(results[0][step][1]) == pytest.approx(sum(0.1 * index + step for index in range(count)))


def test_there_is_room_for_the_rows_of_a_small_table() -> None:
    assert most_rows(torch.zeros(100, 2)) == 100
    assert most_rows(torch.zeros(1 << 20, 2)) == 1 << 17


def test_numbers_are_told_to_all_in_every_round() -> None:
    count, memory = 3, np.zeros(3 * PAGE, np.uint8)

    def run(index: int) -> list[list[list[float]]]:
        shared = SharedMemory(memory, index, count, lambda: None)
        return [shared.tell([index + 0.5, turn]).tolist() for turn in range(200)]

    for told in _together(count, run):
        assert told == [[[0.5, turn], [1.5, turn], [2.5, turn]] for turn in range(200)]


@pytest.fixture
def dead() -> Iterator[int]:
    """The identity of a process that has ended, but whose parent has not asked for its status."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="/proc is needed to tell a dead process")
def test_a_process_that_has_ended_is_not_waited_for(dead: int) -> None:
    assert is_alive(os.getpid()) and not is_alive(dead)
    memory = np.zeros(2 * PAGE, np.uint8)
    shared = SharedMemory(memory, 0, 2, lambda: None)
    memory[PAGE:].view(np.int64)[1] = dead
    with pytest.raises(ProcessLost, match="process 2 of 2 has ended"):
        shared.meet()
