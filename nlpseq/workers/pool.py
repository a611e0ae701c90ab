"""The pool: items to worker processes, results in the items' order.

Each worker has a thread here that writes an item to it and then reads its result, so neither side ever waits for the
other with a full pipe. Threads pass bytes only: values are pickled and unpickled in the thread that asks for results,
which also starts and ends the workers.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from typing import Any

from nlpseq.errors import NlpseqError, RunError
from nlpseq.process import THREADS
from nlpseq.workers.cores import threads_each
from nlpseq.workers.frames import read_frame, write_frame

READ_AHEAD = 3  # items for each worker

PAUSE = object()  # among the items: all results so far are wanted before the next item is asked for

Results = Generator[Any, None, None]
Answer = bytes | NlpseqError
Task = tuple[bytes, SimpleQueue[Answer]]  # a pickled item, and where its answer goes


def in_order(function: str, settings: Any, items: Iterable[Any], processes: int) -> Results:
    """Results of `function` for the items, in their order, computed by worker processes.

    `function` is "package.module:name"; in each worker it is called once with `settings`, and returns the callable that
    is applied to each item. settings, items and results are pickled. A few items for each worker are read ahead, and a
    worker is started only when an item waits for it. With processes == 1 everything runs in this process.

    An exception that an item raises, here or in a worker, is raised after the results before it. Raises RunError if a
    worker is killed. Closing the iterator ends the workers at once; so does the end of this process.
    """
    if processes == 1 or not sys.executable:  # an interpreter inside another program has no executable
        return _results_here(function, settings, items)
    return _results_of_workers(function, settings, items, processes)


def load(function: str) -> Callable[[Any], Callable[[Any], Any]]:
    """The function that "package.module:name" names."""
    module, _, name = function.partition(":")
    loaded: Callable[[Any], Callable[[Any], Any]] = getattr(import_module(module), name)
    return loaded


def _results_here(function: str, settings: Any, items: Iterable[Any]) -> Results:
    apply = None
    for item in items:
        if item is not PAUSE:
            apply = apply or load(function)(settings)
            yield apply(item)


def _results_of_workers(function: str, settings: Any, items: Iterable[Any], processes: int) -> Results:
    first = pickle.dumps((function, settings), pickle.HIGHEST_PROTOCOL)
    tasks: SimpleQueue[Task | None] = SimpleQueue()
    workers: list[_Worker] = []
    pending: deque[SimpleQueue[Answer]] = deque()
    try:
        for item in _with_faults(items):
            if isinstance(item, _Fault) or item is PAUSE:
                while pending:
                    yield _result(pending.popleft())
                if isinstance(item, _Fault):
                    raise item.error
                continue
            answer: SimpleQueue[Answer] = SimpleQueue()
            tasks.put((pickle.dumps(item, pickle.HIGHEST_PROTOCOL), answer))
            pending.append(answer)
            if len(workers) < processes and len(pending) > len(workers):
                workers.append(_Worker(first, tasks, processes))
            while pending and (len(pending) > READ_AHEAD * processes or not pending[0].empty()):
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())
    finally:
        for worker in workers:
            worker.child.kill()
            tasks.put(None)
        for worker in workers:
            worker.thread.join()
            worker.child.wait()


class _Fault:
    """An exception that the items raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _with_faults(items: Iterable[Any]) -> Iterator[Any]:
    """The items, and then the exception that ended them, if one did."""
    try:
        yield from items
    except Exception as error:
        yield _Fault(error)


def _result(answer: SimpleQueue[Answer]) -> Any:
    """An item's result, as soon as it is there. Raises the item's exception."""
    data = answer.get()
    if isinstance(data, NlpseqError):
        raise data
    succeeded, value = pickle.loads(data)
    if not succeeded:
        raise value
    return value


class _Worker:
    """A child process, and the thread that hands it tasks until there is None."""

    def __init__(self, first: bytes, tasks: SimpleQueue[Task | None], processes: int) -> None:
        self.first, self.tasks = first, tasks
        self.child = _start(processes)
        self.thread = Thread(target=self._hand_over, daemon=True)
        self.thread.start()

    def _hand_over(self) -> None:
        stdin, stdout = self.child.stdin, self.child.stdout
        assert stdin is not None and stdout is not None  # they are pipes
        frame = self.first
        with stdin, stdout:
            while (task := self.tasks.get()) is not None:
                item, answer = task
                try:
                    if frame:
                        write_frame(stdin.fileno(), frame)
                        frame = b""
                    write_frame(stdin.fileno(), item)
                    data = read_frame(stdout)
                except BrokenPipeError:
                    data = None
                answer.put(self._death() if data is None else data)
                if data is None:
                    return

    def _death(self) -> RunError:
        status = self.child.wait()
        if status >= 0:
            return RunError("worker process", f"it ended with status {status}", "--processes 1")
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return RunError("worker process", f"it was ended by {name}, as when memory is short", "--processes 1")


def _start(processes: int) -> Any:
    """A worker that knows the modules of this process, and has its share of the cores for compiled code."""
    import subprocess  # takes longer than all else here

    threads = threads_each(processes)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in THREADS:
        given = environment.get(name, "")
        environment[name] = str(min(int(given), threads) if given.isdecimal() and int(given) else threads)
    own_group: dict[str, Any] = {"process_group": 0}  # so that Ctrl-C goes to this process alone
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    command = [sys.executable, "-P", "-m", "nlpseq.workers"]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, **own_group)
    except OSError as error:
        raise RunError("worker process", f"it cannot be started: {error.strerror or error}", "--processes 1") from None
