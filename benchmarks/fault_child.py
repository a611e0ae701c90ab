"""Commands in forked processes, with a fault at a chosen change of the file system.

A parent that has imported everything forks a child for each command, because starting Python and torch takes longer
than a tiny training run. The parent never trains, so it has one thread and the child starts as a new process would.

A change is what a kill may come before or after: opening a file to write, each write to it, a flush to the disk, and
making, renaming and removing files and folders. A kill inside a write leaves the first half of its bytes.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

KILL, FULL, READ_ONLY, TERMINATE, INTERRUPT, INTERRUPT_TWICE = (
    "kill -9",
    "full disk",
    "read-only disk",
    "SIGTERM",
    "SIGINT",
    "two SIGINT",
)
FAULTS = (KILL, FULL, READ_ONLY, TERMINATE, INTERRUPT, INTERRUPT_TWICE)
SIGNALS = {KILL: [9], TERMINATE: [15], INTERRUPT: [2], INTERRUPT_TWICE: [2, 2]}
AUDITED = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
PRELOADED = (
    "sklearn.linear_model",
    "sklearn.svm",
    "nlpseq.commands.cli",
    "nlpseq.commands.distil",
    "nlpseq.commands.train",
    "nlpseq.training.distillation.comparison",
    "nlpseq.training.pretraining.runs",
    "nlpseq.training.tasks.classification",
    "nlpseq.training.tasks.language_model",
    "nlpseq.training.tasks.translation",
    "nlpseq.timing.students",
)
HANGS = 120.0  # seconds after which a command is taken to hang
WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int  # as a shell would have it: 128 + the number of the signal that killed it
    output: str
    errors: str
    changes: int  # of the file system, if they were counted

    @property
    def hint(self) -> str:
        """The hint of its error."""
        return next((line for line in self.errors.splitlines() if line.startswith("hint:")), "")


class Changes:
    """Counts the changes of the file system in this process, and brings a fault at one of them."""

    def __init__(self, fault: str = "", at: int = 0) -> None:
        """`at` counts from 1."""
        self.fault, self.at = fault, at
        self.count = 0

    def install(self) -> None:
        """Count from now on, until the process ends."""
        self._open, self._fsync = io.open, os.fsync
        builtins.open = io.open = self._opened  # type: ignore[assignment]
        os.fsync = self._flushed
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in AUDITED:
            self._change(is_removal=event in ("os.remove", "os.rmdir", "os.rename"))

    def _flushed(self, descriptor: Any) -> None:
        self._change()
        self._fsync(descriptor)

    def _change(self, half: Callable[[], object] = bool, *, is_removal: bool = False) -> None:
        """Count a change; `half` does half of it, before a fault that ends the process."""
        self.count += 1
        if not self.fault or self.count < self.at:
            return
        if self.fault == READ_ONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if self.fault == FULL and not is_removal:
            half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.count == self.at and self.fault in SIGNALS:
            if self.fault == KILL:
                half()
            for number in SIGNALS[self.fault]:
                os.kill(os.getpid(), number)

    def _opened(
        self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, opener: Any = None, **more: Any
    ) -> Any:
        """As `open`; a file that is opened to write counts its writes."""
        if isinstance(file, int) or not set(mode) & set("wax+") or str(file).startswith("/dev/"):
            return self._open(file, mode, buffering, *rest, opener=opener, **more)
        self._change()
        raw = CountedFile(file, "".join(letter for letter in mode if letter not in "bt"), self._change, opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **more)


class CountedFile(io.FileIO):
    """A file that says when it is written."""

    def __init__(self, path: Any, mode: str, change: Callable[[Callable[[], object]], None], opener: Any) -> None:
        super().__init__(path, mode, opener=opener)
        self._change = change

    def write(self, data: Any, /) -> int:
        """Write, and count it before."""
        view = memoryview(data).cast("B")
        self._change(lambda: super(CountedFile, self).write(view[: len(view) // 2]))
        return super().write(view)


class Command:
    """A command of nlpseq in a process that was forked from this one."""

    def __init__(
        self,
        arguments: Sequence[object],
        scratch: Path,
        changes: Changes | None = None,
        before: Callable[[], object] = bool,
    ) -> None:
        """Start it; `before` is called in its process first."""
        self.texts = [scratch / name for name in ("output", "errors", "changes")]
        for path in self.texts:
            path.write_bytes(b"")
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._run([str(word) for word in arguments], changes or Changes(), before)

    def _run(self, arguments: list[str], changes: Changes, before: Callable[[], object]) -> None:
        """Be the process of the command; never returns."""
        status = 99
        try:
            for number, path in enumerate(self.texts[:2]):
                descriptor = os.open(path, os.O_WRONLY)
                os.dup2(descriptor, number + 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            count = os.open(self.texts[2], os.O_WRONLY)
            sys.argv = ["nlpseq", *arguments]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            before()
            changes.install()
            from nlpseq.__main__ import main

            try:
                main()
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            sys.stdout.flush()
            os.write(count, str(changes.count).encode())
        except BaseException:  # a traceback, as the interpreter would show it
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def send(self, number: int) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> Ended:
        """Wait for its end. A command that hangs is killed and has the status 124."""
        began, status = time.monotonic(), None
        while status is None:
            ended, found = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(found)
            elif time.monotonic() - began > HANGS:
                self.send(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                status = 124
            else:
                time.sleep(0.003)
        output, errors, count = (path.read_text(errors="replace") for path in self.texts)
        return Ended(128 - status if status < 0 else status, output, errors, int(count or 0))


def run(arguments: Sequence[object], scratch: Path, fault: str = "", at: int = 0) -> Ended:
    """A command with a fault at its `at`-th change of the file system, or without one."""
    return Command(arguments, scratch, Changes(fault, at)).wait()


def preload() -> None:
    """Import what the commands use, before the first fork."""
    sys.dont_write_bytecode = True
    os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
    for name in PRELOADED:
        import_module(name)
