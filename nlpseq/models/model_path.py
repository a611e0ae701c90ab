"""Which file a model is read from: a run folder's, a file, or that of a bundled model.

Bundled models are small ones that `make models` trains on the bundled corpora; each has the name of its corpus. They
are in the checkout's checkpoints/bundled and in the installed package. A file or a run folder of the same name wins.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from nlpseq.paths import exists, is_file
from nlpseq.tasks import TASKS, Task

NAME = "model.safetensors"  # in a run folder
UNLABELLED = ".unlabelled"  # in a run folder: texts that are made for a run, and removed when it no longer needs them
BUNDLED = tuple(task.bundled for task in TASKS.values())
PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "checkpoints" / "bundled", PACKAGE.parent / "checkpoints" / "bundled")


def _unheard(note: str) -> None:
    """The default for callers that show no notes."""


def model_path(given: Path | None, task: Task | None = None, note: Callable[[str], object] = _unheard) -> Path:
    """The run folder or model file of a model that was named, or of the usual model of a task.

    The usual model is that of the task's folder, or the bundled one, which `note` is told in one sentence. Whether
    there is a model at the path is found out by reading it.
    """
    if given is None:
        assert task is not None
        bundled = bundled_file(task.bundled)
        if bundled is None or exists(task.folder / NAME):
            return task.folder
        note(
            f"no model in {task.folder} yet: using the bundled model {task.bundled} ({task.bundled_text}); "
            f"nlpseq train {task.command} trains your own"
        )
        return bundled
    exists(given)
    if str(given) in BUNDLED and not (is_file(given) or is_run(given)):
        return bundled_file(str(given)) or given
    return given


def usual_model(task: Task) -> str:
    """What `-m` takes for the usual model of a task: its folder, or the name of the bundled model."""
    return str(task.folder) if exists(task.folder / NAME) or not bundled_file(task.bundled) else task.bundled


def bundled_file(name: str) -> Path | None:
    """The file of a bundled model, or None if it is missing: in the installed package, else in the checkout."""
    files = (folder / f"{name}.safetensors" for folder in FOLDERS)
    return next((file for file in files if file.exists()), None)


def shown(path: Path) -> str:
    """The path of a model in a message: a bundled model's is its name."""
    return path.stem if path.parent in FOLDERS and path.stem in BUNDLED else str(path)


def argument(path: Path) -> str:
    """A model's file as `-m` takes it: a run folder, a file, or the name of a bundled model."""
    return shlex.quote(shown(path.parent if path.name == NAME else path))


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run, with or without a model."""
    return exists(folder / NAME) or exists(folder / "config.json")
