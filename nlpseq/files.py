"""Names of files, and files that are replaced whole.

Files are written under a temporary name, flushed to the disk and renamed: a kill or a full disk leaves the old file.

The cost is that for a moment both files are on the disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nlpseq.errors import OptionError, RunError


def file_name(value: object, parameter: str, kind: str = "a path") -> str:
    """The name of a file given as str, bytes or a path. Raises OptionError for anything else, which is no `kind`."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise OptionError(parameter, f"must be {kind}, was {value!r}")
    return os.fsdecode(value)


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to a file in one step, in place of what it held.

    Raises RunError if the file cannot be written; the old file then stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunError(str(path), f"cannot be written: {error.strerror}", "choose another folder with --out") from error
