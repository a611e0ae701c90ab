"""A function of tensors as a CUDA graph: recorded once for each set of shapes, then launched as one.

A step of a small model is about a hundred kernels of a few microseconds each, and launching them one by one takes the
processor longer than the GPU needs to run them. A graph is launched in one call. It always uses the same memory: inputs
are copied into it, and results stay in it until the next replay of any graph. A caller that needs a result for longer
copies it.

The first call with new shapes runs the function directly, which also compiles its kernels; the second call records it.
The function must not wait for the device, read a value from it or make a tensor from host memory. If it does, CUDA
refuses to record it, and from then on the function is called directly. The same happens if memory does not hold the
graphs. `refusal` gives the reason. At most MOST_GRAPHS sets of shapes are recorded. All graphs of one object share one
pool of memory; the price is that only one of them may hold results that are still needed.

If the tensors are not on a GPU, the function is simply called.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from nlpseq.device import is_out_of_memory

MOST_GRAPHS = 128

Results = tuple[Tensor, ...]
Body = Callable[..., Results]


class Graph(Protocol):
    """A recorded function."""

    def replay(self) -> None:
        """Run it again, on the same memory."""


class Recorder(Protocol):
    """Records functions without arguments."""

    def record(self, body: Callable[[], Results]) -> tuple[Graph, Results]:
        """The graph of the kernels that `body` launches, and its results, which are not computed yet."""


class CudaRecorder:
    """Records CUDA graphs; `generators` are the random generators that the function draws from.

    All graphs are recorded on one stream and into one pool. This class starts and ends recordings itself, because
    torch's own context empties its caches before every recording, and stays on the wrong stream after a refusal.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self.generators = generators
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()  # a recording cannot use memory that other work keeps in reserve

    def record(self, body: Callable[[], Results]) -> tuple[Graph, Results]:
        """As `Recorder.record`. Raises RuntimeError if `body` cannot be recorded."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        torch.cuda.synchronize()
        try:
            with torch.cuda.stream(self.stream), _uncollected():
                graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
                try:
                    results = body()
                finally:
                    graph.capture_end()
        except RuntimeError:
            for generator in self.generators:  # before torch 2.13 they keep the state of a recording
                fresh = torch.Generator(generator.device).manual_seed(generator.initial_seed())
                generator.graphsafe_set_state(fresh)
            raise
        return graph, results


@contextmanager
def _uncollected() -> Iterator[None]:
    """Inside, Python collects no garbage, because a recording does not allow the destruction of another graph."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Replay:
    """A function of tensors that is recorded and replayed if its tensors are on a GPU."""

    def __init__(
        self, body: Body, generators: Sequence[torch.Generator] = (), recorder: Recorder | None = None
    ) -> None:
        """`recorder` records the graphs; by default CUDA's for tensors on a GPU, and none elsewhere."""
        self.body = body
        self.recorder = self._first_recorder = recorder
        self._generators = generators
        self.usual = True  # whether the last call neither had new shapes nor was recorded
        self.refusal: str | None = None  # why the function cannot be recorded
        self._seen: dict[
            Hashable, tuple[Graph, Results, Results] | None
        ] = {}  # graph, inputs, results; None after the first call

    def __call__(self, *inputs: Tensor, key: Hashable = None) -> Results:
        """The results of the function; `key` identifies what it depends on besides shapes and types of `inputs`."""
        if self.recorder is None:
            if not inputs[0].is_cuda:
                return self.body(*inputs)
            self.recorder = CudaRecorder(self._generators)
        shapes = key, tuple((value.shape, value.dtype) for value in inputs)
        recording = self._seen.get(shapes)
        self.usual = shapes in self._seen and (recording is not None or not self._may_record())
        if recording is None and shapes in self._seen and self._may_record():
            recording = self._seen[shapes] = self._record(self.recorder, inputs)
        if recording is None:
            self._seen.setdefault(shapes, None)
            return self.body(*inputs)
        graph, buffers, results = recording
        for buffer, value in zip(buffers, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        graph.replay()
        return results

    def _may_record(self) -> bool:
        return self.refusal is None and sum(graph is not None for graph in self._seen.values()) < MOST_GRAPHS

    def _record(self, recorder: Recorder, inputs: Results) -> tuple[Graph, Results, Results] | None:
        buffers = tuple(value.clone() for value in inputs)
        try:
            graph, results = recorder.record(lambda: self.body(*buffers))
        except RuntimeError as error:
            self.refusal = str(error).strip().splitlines()[0]
            if is_out_of_memory(error):
                self.refusal = "the device's memory does not hold graphs as well"
                self._free_graphs()
            return None
        return graph, buffers, results

    @property
    def has_graphs(self) -> bool:
        """Whether graphs hold memory."""
        return any(graph is not None for graph in self._seen.values())

    def _free_graphs(self) -> None:
        """Free all graphs, but remember the shapes."""
        self._seen = dict.fromkeys(self._seen)
        self.recorder = self._first_recorder

    def forget(self) -> None:
        """Free all graphs, and forget the shapes."""
        self._seen.clear()
        self.recorder = self._first_recorder
