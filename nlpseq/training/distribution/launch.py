"""Opens the processes of a run: it starts them on this machine, or joins those that torchrun has started.

The process that the user has started is the first one. With `--processes N` it starts N - 1 others, which find it by a
file in a folder of the user's own, so no port is opened to the network. They end when it ends, because they read from
a pipe that it holds; and it ends when one of them ends. They are not in its process group, so Ctrl-C goes to the first
process, which stops all of them after the same step. torch is imported once they are started, because that takes a
second in each of them.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nlpseq.errors import Interrupted, OptionError, RunError
from nlpseq.process import THREADS
from nlpseq.tasks import LANGUAGE_MODEL, TASKS, Task
from nlpseq.training.continuing import in_as_many_processes
from nlpseq.training.distribution.processes import ALONE, Processes, ProcessLost, too_few_streams
from nlpseq.training.parts import followed
from nlpseq.training.requests import Request
from nlpseq.training.signals import stopping_on_signals
from nlpseq.workers import available_cores, threads_each

FOLLOWER = "nlpseq.training.distribution.follower"
# gloo asks the network of the machine itself, even if the machine has no name in any other
LOOPBACK = {"linux": {"GLOO_SOCKET_IFNAME": "lo"}, "darwin": {"GLOO_SOCKET_IFNAME": "lo0"}}.get(sys.platform, {})
MOST_ON_A_CORE = 4
LAST_SECONDS = 5.0  # that a started process has to end by itself


@dataclass(frozen=True)
class Hello:
    """What a process is told when it is started."""

    task: str  # the name
    request: Request
    index: int
    count: int
    store: str  # the file in which the processes find each other


def is_follower() -> bool:
    """Whether torchrun has started this process, and another one before it."""
    return started_by_torchrun() and os.environ.get("RANK") != "0"


def started_by_torchrun() -> bool:
    """Whether torchrun has started this process among others, by its variables."""
    count = os.environ.get("WORLD_SIZE", "1")
    return count.isdecimal() and int(count) > 1 and "RANK" in os.environ


@contextmanager
def open_processes(task: Task, request: Request) -> Iterator[Processes]:
    """The processes of a run, seen from this one; a run that is continued has as many as before, if not said otherwise.

    Raises OptionError if there are too few GPUs or if another process was asked for something else, and RunError if the
    processes do not find each other.
    """
    if started_by_torchrun():
        if request.processes > 1:
            what = f"is for one machine without torchrun, which has started {os.environ['WORLD_SIZE']} processes"
            raise OptionError("processes", what, "leave out --processes")
        with _found(task, request) as processes:
            yield processes
        return
    request = in_as_many_processes(request)
    if request.processes > 1:
        _refuse_too_many(task, request)
        with _started(task, request) as processes:
            yield processes
    else:
        yield ALONE


def _refuse_too_many(task: Task, request: Request) -> None:
    """Raises OptionError, before any is started, if there are more processes than the machine or a batch can use."""
    count, cores = request.processes, available_cores()
    if count > MOST_ON_A_CORE * cores:
        what = f"must be at most {MOST_ON_A_CORE} for each core, {MOST_ON_A_CORE * cores} here, was {count}"
        raise OptionError("processes", what, f"--processes {cores}")
    batch_size = request.training.batch_size
    if task is LANGUAGE_MODEL and batch_size is not None and batch_size < count:
        raise too_few_streams(batch_size, count)


@contextmanager
def _found(task: Task, request: Request) -> Iterator[Processes]:
    """The processes that torchrun has started."""
    from nlpseq.training.distribution.group import Group, torchrun_store

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    local = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    uses_gpu = take_device(request, *local)
    try:
        with _dying_of_signals():
            store, index, count = torchrun_store()
            group = Group(index, count, store, uses_gpu=uses_gpu, on_one_machine=local[1] == count)
    except (RuntimeError, ValueError, ProcessLost) as error:
        reason = str(error).splitlines()[0]
        raise RunError("torchrun", f"the processes do not find each other: {reason}", "torchrun --standalone") from None
    try:
        own = task.name, _asked(request)
        group.confirm(_difference(group.from_first(own), own))
        yield group
    except ProcessLost as lost:
        if group.first_has_ended():
            raise SystemExit(1) from None
        raise RunError(str(request.out), str(lost)) from lost
    finally:
        group.close()


@contextmanager
def _dying_of_signals() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end the process at once: Python's own handlers would wait for torch's code."""
    in_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    held = {number: signal.signal(number, signal.SIG_DFL) for number in heard}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)


def _asked(request: Request) -> dict[str, object]:
    """What all processes must be asked for alike, by name."""
    values: dict[str, object] = {"out": str(request.out), "resume": request.resume, "overwrite": request.overwrite}
    for name, value in request.as_json().items():
        values |= value if isinstance(value, dict) else {name: value}
    return values


def _difference(first: tuple[str, dict[str, object]], own: tuple[str, dict[str, object]]) -> OptionError | None:
    """The error if this process is asked for something else than the first one."""
    hint = "the same command for each process"
    if first[0] != own[0]:
        commands = [f"train {TASKS[name].command}" for name in (first[0], own[0])]
        return OptionError(
            "CORPUS", f"differs between processes: {commands[0]} in the first, {commands[1]} in another", hint
        )
    for name, value in own[1].items():
        if value != (theirs := first[1].get(name)):
            sides = ["not set" if side is None else str(side) for side in (theirs, value)]
            what = f"differs between processes: {sides[0]} in the first, {sides[1]} in another"
            return OptionError(name, what, hint)
    return None


def take_device(request: Request, index: int, count: int) -> bool:
    """Choose the GPU, or else the threads, of one of `count` processes on this machine; whether it is a GPU.

    Raises OptionError if there are fewer GPUs than processes.
    """
    import torch

    if request.training.device != "cpu" and torch.cuda.is_available():
        if count > (gpus := torch.cuda.device_count()):
            what = f"need a GPU each, and this machine has {gpus} for {count} of them"
            raise OptionError("processes", what, f"--processes {gpus}")
        torch.cuda.set_device(index)
        return True
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_each(count))
    return False


@contextmanager
def _started(task: Task, request: Request) -> Iterator[Processes]:
    """This process as the first one, and others that it starts."""
    folder = Path(tempfile.mkdtemp(prefix="nlpseq-"))
    children = Children()
    try:
        for index in range(1, request.processes):
            children.start(Hello(task.name, request, index, request.processes, str(folder / "store")))
        import torch

        from nlpseq.training.distribution.group import Group, file_store

        threads = torch.get_num_threads()
        uses_gpu = take_device(request, 0, request.processes)
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
        try:
            store = file_store(str(folder / "store"), request.processes)
            group = Group(0, request.processes, store, uses_gpu=uses_gpu, on_one_machine=True, check=children.check)
        except ProcessLost as lost:
            raise RunError(str(request.out), f"the processes do not find each other: {lost}") from lost
        try:
            yield group
        except ProcessLost as lost:
            raise RunError(str(request.out), str(lost)) from lost
        finally:
            group.close()
            torch.set_num_threads(threads)
    finally:
        children.end()
        remove_store(folder)


def remove_store(folder: Path) -> None:
    """Remove the folder of a store, in which another process may be about to make its file again."""
    with suppress(OSError):
        shutil.rmtree(folder.rename(folder.with_suffix(".old")))


class Children:
    """The processes that the first one has started."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, hello: Hello) -> None:
        """Start a process."""
        environment = {
            **LOOPBACK,
            **dict.fromkeys(THREADS, str(threads_each(hello.count))),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", FOLLOWER],  # -P: modules of the user's folder are not imported
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self.running.append(child)
        with suppress(BrokenPipeError):
            assert child.stdin is not None
            pickle.dump(hello, child.stdin)
            child.stdin.flush()

    def check(self) -> None:
        """Raises ProcessLost if one of the processes has ended."""
        for index, child in enumerate(self.running):
            if (status := child.poll()) is not None:
                how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
                raise ProcessLost(f"process {index + 2} of {len(self.running) + 1} {how}")

    def end(self) -> None:
        """End all processes, by force if they do not end by themselves."""
        for child in self.running:
            with suppress(OSError):
                assert child.stdin is not None
                child.stdin.close()
        for child in self.running:
            try:
                child.wait(LAST_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def follow(task: Task, request: Request, processes: Processes) -> None:
    """Train as one of the processes that are not the first.

    Raises ProcessLost if another one has ended, and Interrupted after a signal.
    """
    for part, asked in followed(task, request, processes):
        run = part.load("run")(asked, processes=processes)
        with stopping_on_signals(run.run):
            for _ in run.progress():
                pass
        if run.run.signal_number is not None:
            raise Interrupted(run.run.signal_number)


def read_hello(stream: IO[bytes]) -> Hello:
    """What the first process has said."""
    hello = pickle.load(stream)
    assert isinstance(hello, Hello)
    return hello
