"""Clocks: how long each of several contenders takes, in one run.

The contenders take turns: in each round every contender runs once, one after the other. Other load on the machine
falls on all of them alike, and the median over the rounds counts. The cost is that each turn begins with a cold cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from nlpseq.errors import OptionError
from nlpseq.kernels.gpu.signals import raise_if_stuck
from nlpseq.kernels.replay import CudaRecorder

QUEUED_CYCLES = 1_000_000  # clock cycles of a GPU: about half a millisecond, enough to launch a graph
WARM_UP = 2  # rounds that are not counted

Turn = Callable[[], object]  # what one contender does once in each round


def median_seconds(turns: Sequence[Turn], repeats: int, wait: Callable[[], object] | None = None) -> list[float]:
    """The median time of each turn in seconds, over `repeats` rounds.

    `wait` is for a device that works asynchronously: it returns when the device is idle, and is called before and after
    each turn. Raises OptionError if `repeats` is below 1.
    """
    settle = wait or (lambda: None)

    def measure(turn: Turn) -> float:
        settle()
        started = time.perf_counter()
        turn()
        settle()
        return time.perf_counter() - started

    return _medians(turns, repeats, measure)


def device_seconds(turns: Sequence[Turn], repeats: int, *, queued: bool = False) -> list[float]:
    """As `median_seconds`, for work on a GPU: the time between an event before each turn and one after it.

    With `queued` the GPU is kept busy until the whole turn is launched, which excludes the host's time. Raises
    BackendError if a kernel gave up, in a graph too.
    """
    medians = _medians(turns, repeats, partial(_seconds_on_device, queued=queued))
    raise_if_stuck(wait=True)
    return medians


def _seconds_on_device(turn: Turn, *, queued: bool) -> float:
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    if queued:
        torch.cuda._sleep(QUEUED_CYCLES)  # type: ignore[no-untyped-call]
    before.record()
    turn()
    after.record()
    after.synchronize()
    milliseconds: float = before.elapsed_time(after)
    return milliseconds / 1000


def _medians(turns: Sequence[Turn], repeats: int, measure: Callable[[Turn], float]) -> list[float]:
    if repeats < 1:
        raise OptionError("repeats", f"must be at least 1, was {repeats}", "--repeats 7")
    seconds: list[list[float]] = [[] for _ in turns]
    for round_number in range(WARM_UP + repeats):
        for turn, measured in zip(turns, seconds, strict=True):
            taken = measure(turn)
            if round_number >= WARM_UP:
                measured.append(taken)
    return [statistics.median(measured) for measured in seconds]


def recorded(turn: Turn, generators: Sequence[torch.Generator] = ()) -> Turn:
    """A turn that replays, as a CUDA graph, everything that `turn` launches; `turn` draws from `generators`.

    Raises RuntimeError if a graph cannot hold what `turn` does, such as waiting for the device.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        turn()
        torch.cuda.set_sync_debug_mode("error")  # a failed recording would leave torch's generators unusable
        try:
            turn()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(side)
    raise_if_stuck(wait=True)
    graph, _ = CudaRecorder(generators).record(lambda: (turn(), ())[1])
    return graph.replay
