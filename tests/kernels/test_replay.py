"""Functions of tensors that are recorded and replayed, by a stand-in for CUDA's graphs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nlpseq.kernels import replay
from nlpseq.kernels.replay import Replay
from tests.kernels.replayed import StandInGraph, StandInRecorder


class Doubling:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, value: Tensor) -> tuple[Tensor]:
        self.calls += 1
        return (2 * value,)


def test_the_second_call_with_a_shape_is_recorded_and_all_that_follow_are_replayed() -> None:
    recorder = StandInRecorder([(3,)])
    doubled = Replay(Doubling(), recorder=recorder)
    usual = []
    for turn in range(4):
        value = torch.full((3,), float(turn))
        (result,) = doubled(value)
        assert result.tolist() == [2.0 * turn] * 3
        usual.append(doubled.usual)
    assert usual == [False, False, True, True]
    assert [graph.replays for graph in recorder.graphs] == [3]


def test_every_shape_type_and_key_has_its_own_graph_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_GRAPHS", 2)
    recorder = StandInRecorder([(3,)])
    doubled = Replay(Doubling(), recorder=recorder)
    for _ in range(3):
        for key in ("a", "b", "c"):
            assert doubled(torch.ones(3), key=key)[0].tolist() == [2.0] * 3
    assert len(recorder.graphs) == 2
    assert doubled.usual, "what is never recorded is usual from its second call on"
    doubled.forget()
    doubled(torch.ones(3), key="a")
    assert not doubled.usual


def test_what_cannot_be_recorded_is_called_and_says_why() -> None:
    class Refusing:
        def record(self, body: Callable[[], tuple[Tensor, ...]]) -> tuple[StandInGraph, tuple[Tensor, ...]]:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

    doubled = Replay(Doubling(), recorder=Refusing())
    assert [float(doubled(torch.ones(1))[0]) for _ in range(4)] == [2.0] * 4
    assert doubled.refusal == "operation not permitted when stream is capturing"
    assert doubled.usual


def test_graphs_that_memory_does_not_hold_are_given_back() -> None:
    class Filling(StandInRecorder):
        def record(self, body: Callable[[], tuple[Tensor, ...]]) -> tuple[StandInGraph, tuple[Tensor, ...]]:
            if self.graphs:
                raise RuntimeError("CUDA error: out of memory")
            return super().record(body)

    doubled = Replay(Doubling(), recorder=Filling([(1,)]))
    for key in "aabbab":
        assert float(doubled(torch.ones(1), key=key)[0]) == 2.0
        if key == "a":
            had = doubled.has_graphs
    assert not had and not doubled.has_graphs
    assert doubled.refusal == "the device's memory does not hold graphs, too"


def test_on_the_cpu_a_function_is_simply_called() -> None:
    body = Doubling()
    doubled = Replay(body)
    assert [float(doubled(torch.ones(1))[0]) for _ in range(3)] == [2.0] * 3
    assert body.calls == 3
