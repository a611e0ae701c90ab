"""Counters at which programs wait, and the error if a wait was given up.

Programs of one launch count themselves and wait for each other, so a kernel could hang if some of them do not run.
Therefore a wait is bounded: a program that gives up raises a flag, and the results are wrong. The flag belongs to the
device and stays raised. After a launch it is copied to the host without waiting, and checked before the next launch.
Inside a CUDA graph nothing can be copied or checked, so after replays only `raise_if_stuck(wait=True)` finds it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from nlpseq.errors import BackendError
from nlpseq.kernels.gpu.arguments import Signal

_flags: dict[torch.device, Tensor] = {}
_recorded: list[Tensor] = []  # flags in graphs that were recorded before the device had a flag
_watched: deque[tuple[Any, Tensor]] = deque()  # for each launch with a wait: an event, and its flag on the host


def recording() -> bool:
    """Whether launches are now recorded for a CUDA graph."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def signal_for(device: torch.device, counters: int) -> Signal:
    """Counters at zero, and the device's flag. The zeros are part of a graph that is being recorded."""
    return Signal(torch.zeros(counters, dtype=torch.int32, device=device), _flag(device))


def _flag(device: torch.device) -> Tensor:
    known = _flags.get(device)
    if known is not None:
        return known
    flag = torch.zeros(1, dtype=torch.int32, device=device)
    if recording():  # its memory belongs to the graph
        _recorded.append(flag)
    else:
        _flags[device] = flag
    return flag


def watch(signal: Signal) -> None:
    """Check the flag of a launch once it has ended, without waiting now."""
    flag = signal.failed
    if recording():
        return
    if not flag.is_cuda:
        _watched.append((None, flag))
        return
    copy = torch.empty(1, dtype=torch.int32, pin_memory=True)
    copy.copy_(flag, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    _watched.append((event, copy))


def raise_if_stuck(*, wait: bool = False) -> None:
    """Raise BackendError if programs of a launch that has ended gave up waiting; with `wait`, of any launch so far.

    While a graph is recorded nothing can be checked, so nothing is done.
    """
    if recording():
        return
    stuck = False
    while _watched:
        event, flag = _watched[0]
        if event is not None and wait:
            event.synchronize()
        if event is not None and not event.query():
            break  # later launches have not ended either
        stuck = stuck or bool(flag.item())
        _watched.popleft()
    if wait:
        stuck = stuck or any(bool(flag.item()) for flag in (*_flags.values(), *_recorded))
    if stuck:
        _lower_flags()
        raise BackendError(
            "--device cuda",
            "programs of a kernel waited too long for each other, and its results are wrong: another program may "
            "hold the GPU",
            "nvidia-smi",
        )


def forget() -> None:
    """Drop all flags and all watched launches."""
    _flags.clear()
    _recorded.clear()
    _watched.clear()


def _lower_flags() -> None:
    _watched.clear()
    for flag in (*_flags.values(), *_recorded):
        flag.zero_()
