"""Processes that speak through torch.distributed: gloo between processors, NCCL between GPUs.

Tensors are summed by collective operations, which fail at once if another process ends, and else wait for half an hour.
What may take longer, such as the reading of a corpus or a validation, is waited for at the store in which the processes
found each other. It holds pickled values, as torch's own collectives on objects send them: a program that can reach
the store of a run on several machines can run code in it.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from nlpseq.errors import NlpseqError
from nlpseq.training.distribution.exchange import GradientExchange
from nlpseq.training.distribution.processes import Exchange, Moment, Processes, ProcessLost, Value
from nlpseq.training.distribution.shared_memory import SharedMemory

Store = Any  # torch's, which holds bytes by name

PATIENCE = timedelta(minutes=30)  # of a collective operation
POLL_SECONDS = 0.01
EXPLAINED_AFTER = 50  # polls, at most
LAST_SECONDS = 2.0
ENDED = "ended"  # the key that the first process sets when it ends, however it ends


def file_store(path: str, count: int) -> Store:
    """A store for `count` processes on one machine, in a file."""
    return dist.FileStore(path, count)  # type: ignore[attr-defined]


def torchrun_store() -> tuple[Store, int, int]:
    """The store of the processes that torchrun has started, the index of this process, and their number.

    Raises RuntimeError or ValueError if it cannot be reached.
    """
    store, index, count = next(dist.rendezvous("env://", timeout=PATIENCE))  # type: ignore[attr-defined]
    return store, index, count


def know_nothing() -> None:
    """Raises ProcessLost if another process is known to have ended; here nothing is known."""


class Group(Processes):
    """One of several processes. To be closed."""

    def __init__(
        self,
        index: int,
        count: int,
        store: Store,
        *,
        uses_gpu: bool,
        on_one_machine: bool,
        check: Callable[[], None] = know_nothing,
    ) -> None:
        """Waits for the others. `check` is called meanwhile, and raises ProcessLost if it knows that one has ended."""
        self.index = index
        self.count = count
        self.store = store
        self.check = check
        self.on_one_machine = on_one_machine
        self.memory: SharedMemory | None = None  # once gradients are summed in it
        self._values = 0  # number of values that were passed through the store
        with self._losing():
            store.set(f"here/{index}", pickle.dumps(True))
        for other in range(count):
            self._wait(f"here/{other}")
        backend = "cpu:gloo,cuda:nccl" if uses_gpu else "gloo"
        with self._losing():
            dist.init_process_group(backend, store=store, rank=index, world_size=count, timeout=PATIENCE)

    def close(self) -> None:
        """Leave the other processes."""
        if self.is_first:
            with suppress(RuntimeError):
                self.store.set(ENDED, pickle.dumps(True))
        with suppress(RuntimeError):
            dist.destroy_process_group()

    def first_has_ended(self) -> bool:
        """Whether the first process closes its group within LAST_SECONDS: then it has said what was wrong."""
        with suppress(RuntimeError):
            last = time.monotonic() + LAST_SECONDS
            while time.monotonic() < last:
                if self.store.check([ENDED]):
                    return True
                time.sleep(POLL_SECONDS)
        return False

    def wait_for_end(self) -> None:
        """As `Processes.wait_for_end`."""
        self._wait(ENDED)

    def explain(self) -> None:
        """Raises ProcessLost if it becomes known how a process ended: one that was killed takes a moment to end."""
        for _ in range(EXPLAINED_AFTER):
            self.check()
            time.sleep(POLL_SECONDS)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Inside, torch's errors are raised as ProcessLost."""
        try:
            yield
        except RuntimeError as error:
            self.explain()
            raise ProcessLost("another process has ended") from error

    def agree(self, moment: Moment) -> Moment:
        """As `Processes.agree`."""
        if self.memory is not None:
            moments = self.memory.tell(moment).astype(np.int64)
        else:
            own = torch.tensor(list(map(int, moment)), dtype=torch.int64)
            told = [torch.empty_like(own) for _ in range(self.count)]
            with self._losing():
                dist.all_gather(told, own)
            moments = torch.stack(told).numpy()
        _, save, total = moments[0].tolist()
        return Moment(next(filter(None, moments[:, 0].tolist()), 0), bool(save), total)

    def from_first(self, value: Value) -> Value:
        """As `Processes.from_first`."""
        self._values += 1
        key = f"value/{self._values}"
        if not self.is_first:
            received: Value = self._wait(key)
            return received
        with self._losing():
            self.store.set(key, pickle.dumps(value))
        return value

    def confirm(self, error: NlpseqError | None) -> None:
        """As `Processes.confirm`."""
        self._values += 1
        key = f"value/{self._values}"
        with self._losing():
            self.store.set(f"{key}/{self.index}", pickle.dumps(error))
        errors = [self._wait(f"{key}/{index}") for index in range(self.count)]
        for index, found in enumerate(errors):
            if found is not None and self.is_first:
                found.what += f" (process {index + 1} of {self.count})"
                raise found
            if found is not None:
                raise ProcessLost("another process has ended")

    def _wait(self, key: str) -> Any:
        """The value of a key, once it is set."""
        with self._losing():
            while not self.store.check([key]):
                self.check()
                time.sleep(POLL_SECONDS)
            return pickle.loads(self.store.get(key))

    def copy_from_first(self, tensors: Mapping[str, Tensor]) -> None:
        """As `Processes.copy_from_first`."""
        for tensor in tensors.values():
            with self._losing():
                dist.broadcast(tensor.detach(), 0)

    def sum(self, array: NDArray[Any]) -> NDArray[Any]:
        """As `Processes.sum`."""
        tensor = torch.from_numpy(np.array(array))
        self.wait(self.start_sum(tensor))
        return tensor.numpy()

    def exchange(self, parameters: Mapping[str, Tensor]) -> Exchange:
        """As `Processes.exchange`."""
        return GradientExchange(parameters, self)

    def start_sum(self, tensor: Tensor) -> Any:
        """Start to replace a tensor by its sum over all processes; `wait` ends it."""
        with self._losing():
            return dist.all_reduce(tensor, async_op=True)

    def wait(self, work: Any) -> None:
        """Wait for what `start_sum` has started."""
        with self._losing():
            work.wait()
