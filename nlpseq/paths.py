"""What is at a path: nothing, a file or a folder, or something that may not be looked at.

Python's own tests hide the last case: `os.path.exists` says that nothing is there, and `Path.exists` raises an OSError
or does not, depending on the version. Here a path that may not be looked at raises PathError, with the reason.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from os import PathLike

from nlpseq.errors import PathError, RunError

NO_SUCH = (errno.ENOENT, errno.ENOTDIR)
OTHERS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
DESCRIPTORS = ("/dev", "/dev/fd", "/proc/self/fd")  # folders of devices, and of links to open files

Path = str | PathLike[str]


def status(path: Path) -> os.stat_result | None:
    """The status of what is at a path, links followed; None if nothing is there.

    Raises PathError if the path may not be looked at, is too long, is a loop of links or has a NUL byte.
    """
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in NO_SUCH:
            return None
        raise unreachable(path, error) from None
    except ValueError as error:  # a NUL byte, or a character that no file name has
        raise PathError(os.fspath(path), f"it cannot be the name of a file: {error}") from None


def exists(path: Path) -> bool:
    """Whether something is at a path. Raises PathError as `status`."""
    return status(path) is not None


def is_file(path: Path) -> bool:
    """Whether a regular file is at a path. Raises PathError as `status`."""
    found = status(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: Path) -> bool:
    """Whether a folder is at a path. Raises PathError as `status`."""
    found = status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_endless(path: Path) -> bool:
    """Whether a path leads to a device whose bytes may never end, such as /dev/zero; not to a terminal or /dev/null."""
    found = status(path)
    if found is None or not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        return False
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    except OSError:
        return True
    try:
        return not os.isatty(descriptor)
    finally:
        os.close(descriptor)


def unreachable(path: Path, error: OSError) -> PathError:
    """The error for a path that may not be looked at; its hint names the folder that may not be entered."""
    name = os.fspath(path)
    hint = ""
    if error.errno == errno.EACCES:
        hint = f"ls -ld {shlex.quote(_closed_folder(name))} shows who may enter it"
    return PathError(name, f"it cannot be looked at: {error.strerror or error}", hint)


def _closed_folder(path: str) -> str:
    """The first folder of a path that may not be entered."""
    folder = os.path.dirname(path) or "."
    while True:
        try:
            os.stat(folder)
        except OSError:
            folder = os.path.dirname(folder) or "."
        else:
            return folder


def need_target(path: Path, flag: str = "--out") -> None:
    """Raises RunError if a path leads to what no file may replace: a folder, a pipe, a device; `flag` named it.

    Files are written beside a path and renamed, which would put a file in the place of a device such as /dev/null.
    """
    name, found = os.fspath(path), status(path)
    kind = "" if found is None else OTHERS.get(stat.S_IFMT(found.st_mode), "")
    if os.path.dirname(os.path.abspath(name)) in DESCRIPTORS:
        kind = "device"
    if kind:
        raise RunError(name, f"is a {kind}, not a file", f"{flag} FILE")
