"""Clocks: contenders take turns, and a device is waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from nlpseq.errors import OptionError
from nlpseq.timing import clocks
from nlpseq.timing.clocks import WARM_UP, Turn, device_seconds, median_seconds, recorded


def test_turns_are_interleaved_and_the_warm_up_is_not_counted() -> None:
    taken: list[str] = []
    seconds = median_seconds([lambda: taken.append("ours"), lambda: taken.append("torch")], repeats=3)
    assert taken == ["ours", "torch"] * (WARM_UP + 3)
    assert len(seconds) == 2
    assert all(0 <= value < 60 for value in seconds)


def test_a_device_that_works_on_its_own_is_waited_for() -> None:
    taken: list[str] = []
    median_seconds([lambda: taken.append("turn")], 1, lambda: taken.append("wait"))
    assert taken == ["wait", "turn", "wait"] * (WARM_UP + 1)


def test_there_is_at_least_one_round() -> None:
    with pytest.raises(OptionError, match="repeats: must be at least 1, was 0"):
        median_seconds([lambda: None], 0)


class FakeGraph:
    def __init__(self, body: Callable[[], object]) -> None:
        self.replay = body


class FakeRecorder:
    def __init__(self, generators: Any) -> None:
        assert generators == ()

    def record(self, body: Callable[[], Any]) -> tuple[FakeGraph, Any]:
        return FakeGraph(body), body()


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


def test_what_waits_for_the_device_is_found_before_anything_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that fails would leave torch's generators unusable."""
    modes = ["default"]
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(clocks, "CudaRecorder", FakeRecorder)
    taken: list[str] = []
    recorded(lambda: taken.append(modes[-1]))()
    assert taken == ["default", "error", "default", "default"], "once to compile, once watched, recorded, replayed"

    def waits() -> None:
        if modes[-1] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing"):
        recorded(waits)
    assert modes[-1] == "default"


def test_time_on_a_device_is_that_between_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        clock = 0.0

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = Event.clock

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, other: Any) -> float:
            return float(other.at - self.at)

    def work(milliseconds: float) -> Turn:
        def turn() -> None:
            Event.clock += milliseconds

        return turn

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert device_seconds([work(2.0), work(500.0)], 3) == pytest.approx([0.002, 0.5])
