"""Functions of tensors that are recorded and replayed, by a stand-in for CUDA's graphs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from nlpseq.kernels import replay
from nlpseq.kernels.replay import CudaRecorder, Replay
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
    assert doubled.refusal == "the device's memory does not hold graphs as well"


def test_on_the_cpu_a_function_is_simply_called() -> None:
    body = Doubling()
    doubled = Replay(body)
    assert [float(doubled(torch.ones(1))[0]) for _ in range(3)] == [2.0] * 3
    assert body.calls == 3


class FakeGraph:
    """A graph that says what was done with it."""

    done: list[str] = []  # noqa: RUF012

    def register_generator_state(self, generator: object) -> None:
        self.done.append("register")

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        self.done.append(f"begin {pool}")

    def capture_end(self) -> None:
        self.done.append("end")

    def replay(self) -> None:
        self.done.append("replay")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """CUDA's calls of a recording, told instead of made."""
    FakeGraph.done = []
    for name, value in (
        ("CUDAGraph", FakeGraph),
        ("graph_pool_handle", lambda: "pool"),
        ("Stream", lambda: "stream"),
        ("stream", lambda stream: nullcontext()),
        ("synchronize", lambda: None),
        ("empty_cache", lambda: None),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    return FakeGraph.done


def test_all_graphs_of_a_recorder_share_a_pool_and_no_garbage_is_collected(cuda: list[str]) -> None:
    recorder = CudaRecorder([torch.Generator()])
    for _ in range(2):
        recorder.record(lambda: (torch.tensor([float(gc.isenabled())]),))
    assert cuda == ["register", "begin pool", "end"] * 2
    assert gc.isenabled()
    assert recorder.record(lambda: (torch.tensor([float(gc.isenabled())]),))[1][0].tolist() == [0.0]


def test_a_refused_recording_is_ended_and_its_generators_can_be_drawn_from(cuda: list[str]) -> None:
    restored: list[int] = []

    class Generator(torch.Generator):
        def graphsafe_set_state(self, state: torch.Generator) -> None:
            restored.append(state.initial_seed())

    def refuse() -> tuple[Tensor, ...]:
        raise RuntimeError("operation not permitted when stream is capturing")

    generator = Generator()
    generator.manual_seed(7)
    with pytest.raises(RuntimeError, match="not permitted"):
        CudaRecorder([generator]).record(refuse)
    assert cuda == ["register", "begin pool", "end"] and restored == [7]
    assert gc.isenabled()
