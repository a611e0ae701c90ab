"""Many small launches as one: a CUDA graph for each set of addresses that recurs.

A way that launches each step costs the processor some microseconds for each launch, more than the GPU needs for the
step. If arguments and addresses are the same again, the launches can be replayed as one graph, without a copy. In
training torch's allocator returns the same addresses step after step. So the first time kernels are launched one by
one, the second time they are recorded, and from then on replayed. If addresses never recur, only a look-up in a table
is lost. The price is the memory of the graphs, so their number is limited.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor

MOST_GRAPHS = 64
MOST_SEEN = 1024

_seen: dict[Hashable, Any] = {}  # a graph, or None after the first time


def run(body: Callable[[], None], tensors: Iterable[Tensor | None], *settings: Hashable) -> None:
    """Run `body`, which launches kernels on `tensors` and changes nothing else, or replay it.

    `settings` are everything that decides what `body` launches, besides the tensors' shapes and addresses.
    """
    used = [tensor for tensor in tensors if tensor is not None]
    if not used[0].is_cuda or torch.cuda.is_current_stream_capturing():
        body()
        return
    key = (*settings, tuple((tensor.data_ptr(), tensor.shape, tensor.dtype) for tensor in used))
    if key not in _seen:
        if len(_seen) < MOST_SEEN:
            _seen[key] = None
        body()
    elif _seen[key] is not None:
        _seen[key].replay()
    elif sum(graph is not None for graph in _seen.values()) < MOST_GRAPHS:
        _seen[key] = _record(body)
        _seen[key].replay()
    else:
        body()


def forget() -> None:
    """Free all graphs."""
    _seen.clear()


def _record(body: Callable[[], None]) -> Any:
    """The graph of the kernels that `body` launches; nothing runs. The kernels must have been compiled before."""
    graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(current)
    with torch.cuda.stream(side):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            body()
        finally:
            graph.capture_end()
    current.wait_stream(side)
    return graph
