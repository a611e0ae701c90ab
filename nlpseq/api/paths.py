"""Paths as a Python user may give them: str, bytes or Path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nlpseq.errors import OptionError
from nlpseq.files import file_name


def as_name(path: object, parameter: str = "path") -> str:
    """The name of a file or a bundled corpus. Raises OptionError for anything but str, bytes or a path."""
    name = file_name(path, parameter)
    if not name or "\0" in name:
        raise OptionError(parameter, f"must be a path, was {name!r}")
    return name


def as_names(paths: Iterable[object]) -> list[str]:
    """The names of files or bundled corpora. Raises OptionError as `as_name` does."""
    return [as_name(path, "CORPUS") for path in paths]


def as_path(path: object) -> Path:
    """A path. Raises OptionError as `as_name` does."""
    return Path(as_name(path))
