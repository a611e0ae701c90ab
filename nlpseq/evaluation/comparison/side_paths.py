"""The models, or files, of a side: one path, a pattern such as `runs/a-*`, or a folder of runs."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Sequence
from pathlib import Path

from nlpseq.errors import CorpusError, ModelFileError, OptionError
from nlpseq.models.model_path import NAME, is_run, model_path, shown
from nlpseq.paths import exists

PATTERN = "*?["


def side_models(name: str) -> list[Path]:
    """The models of a side, sorted: that of a path or a bundled name, or those of a pattern or a folder of runs.

    Raises ModelFileError for a pattern that no run or model file fits.
    """
    path = model_path(Path(name))
    if exists(path):
        runs = sorted(path.glob(f"*/{NAME}")) if path.is_dir() and not is_run(path) else []
        return [run.parent for run in runs] or [path]
    if not any(character in name for character in PATTERN):
        return [path]  # reading it says what is wrong
    found = [Path(match) for match in sorted(glob.glob(name))]
    models = [match for match in found if is_run(match) or match.suffix == Path(NAME).suffix]
    if not models:
        raise ModelFileError(name, "no run folder or model file fits the pattern", "nlpseq runs")
    return models


def side_files(name: str) -> list[str]:
    """The files of a side, sorted: a file, or those of a pattern. Raises CorpusError for a pattern that none fits."""
    if exists(Path(name)) or not any(character in name for character in PATTERN):
        return [name]
    found = sorted(glob.glob(name))
    if not found:
        raise CorpusError(name, "no file fits the pattern", f"ls {shlex.quote(str(Path(name).parent))}")
    return found


def check_different(names: Sequence[str], members: Sequence[Sequence[Path]]) -> None:
    """Raises OptionError if a side is alone, or if two of them share a model or a file."""
    if len(names) < 2:
        raise OptionError("A B", f"must be at least two, was {names[0] if names else 'none'}", "nlpseq runs")
    owners: dict[Path, int] = {}
    for side, paths in enumerate(members):
        for path in paths:
            known = owners.setdefault(path.resolve(), side)
            if known != side:
                same = shown(path)
                sides = f"{names[known]} and {names[side]}" if names[known] != names[side] else "both sides"
                raise OptionError("A B", f"must differ, and {same} is on {sides}", "name another model")
