"""Names of files, files that are replaced whole, and locks on folders.

Files are written under a temporary name, flushed to the disk and renamed: a kill or a full disk leaves the old file.
The cost is that for a moment both files are on the disk. A temporary file is locked while it is written, so one that a
dead process has left can be told from one that is in use, also if the processes do not see each other, as in two
containers; it is removed when its file is next written.
"""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

from nlpseq.errors import OptionError, RunError
from nlpseq.paths import need_target

try:
    import fcntl
except ImportError:  # on Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]


FULL = (errno.ENOSPC, errno.EDQUOT)  # a disk, or a user's share of it
ATTEMPTS, BETWEEN = 5, 0.01  # to lock a folder, and seconds: `is_locked` holds it for a moment


def file_name(value: object, parameter: str, kind: str = "a path") -> str:
    """The name of a file given as str, bytes or a path. Raises OptionError for anything else, which is no `kind`."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise OptionError(parameter, f"must be {kind}, was {value!r}")
    return os.fsdecode(value)


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to a file in one step, in place of what it held.

    Raises RunError if the file cannot be written; the old file then stays.
    """
    temporary = temporary_path(path)
    try:
        with open_temporary(path) as file:
            file.write(data)
            put_in_place(file, path)
    except OSError as error:
        raise RunError(str(path), f"cannot be written: {error.strerror}", "choose another folder with --out") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporary_path(path: Path) -> Path:
    """The name under which this process writes a file before it takes its own name."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def open_temporary(path: Path) -> BinaryIO:
    """Open `temporary_path` to write, and remove what dead processes have left of the same file.

    Raises OSError if it cannot be opened, and RunError if the path is that of a folder, a pipe or a device.
    """
    need_target(path)
    remove_abandoned(path)
    temporary = temporary_path(path)
    while True:
        file = temporary.open("wb")
        if lock(file.fileno(), wait=True) is None or is_at(file.fileno(), temporary):
            return file
        file.close()  # it was taken for abandoned, and removed, before it was locked


def put_in_place(file: IO[bytes] | IO[str], path: Path) -> None:
    """Flush a file of `open_temporary` to the disk and give it its own name. Raises OSError if that fails."""
    file.flush()
    os.fsync(file.fileno())
    if fcntl is None:
        file.close()
    temporary_path(path).replace(path)


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files of a file that no process writes any more."""
    start = f".{path.name}."
    try:
        names = [name for name in os.listdir(path.parent) if name.startswith(start) and name[len(start) :].isdecimal()]
    except OSError:
        return
    for name in names:
        temporary = path.with_name(name)
        with suppress(OSError):
            if fcntl is None:
                temporary.unlink()
                continue
            descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if lock(descriptor):
                    temporary.unlink()
            finally:
                os.close(descriptor)


def lock(descriptor: int, *, wait: bool = False, shared: bool = False) -> bool | None:
    """Lock an open file or folder until it is closed, or until this process ends in whatever way.

    Locks that are `shared` do not exclude each other. False if another process holds the lock, unless to `wait` for it;
    None if there are no such locks, as on Windows and some network file systems.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder still is what is found at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


class FolderLock:
    """A lock on a folder, which a process holds for as long as it lives or until `release`.

    It needs no cleaning: the operating system takes it from a process that was killed.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._close: Callable[[], object] = bool

    def is_held(self) -> bool:
        """Whether this object holds a lock."""
        return self._descriptor is not None

    def take(self, path: Path) -> bool:
        """Lock a folder, which is made if it is missing; returns False if another run holds it.

        Raises OSError if the folder cannot be made or opened.
        """
        if self._descriptor is not None and is_at(self._descriptor, path):
            return True
        self.release()
        for _ in range(ATTEMPTS):
            path.mkdir(parents=True, exist_ok=True)
            if fcntl is None:
                return True
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            taken = lock(descriptor)
            if taken and is_at(descriptor, path):  # else another run has removed the folder before it was locked
                self._descriptor, self._close = descriptor, weakref.finalize(self, os.close, descriptor)
                return True
            os.close(descriptor)
            if taken is None:
                return True
            time.sleep(BETWEEN)
        return False

    def release(self) -> None:
        """Let others lock the folder."""
        self._close()
        self._descriptor = None


def is_locked(path: Path) -> bool:
    """Whether a process holds a `FolderLock` on a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return False
    try:
        return lock(descriptor, shared=True) is False
    finally:
        os.close(descriptor)
