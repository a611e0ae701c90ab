"""The model that a command runs: the one that was named, else the usual one of its task."""

from __future__ import annotations

from pathlib import Path

from nlpseq.commands import output
from nlpseq.models.model_path import model_path
from nlpseq.tasks import Task


def chosen_model(given: Path | None, task: Task, *, quiet: bool) -> Path:
    """The path of the model; a note says if it is a bundled one because none was trained yet."""
    return model_path(given, task, lambda note: output.note(f"note: {note}", quiet=quiet))
