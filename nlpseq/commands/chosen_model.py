"""The model that a command runs: the one that was named, else the usual one of its task."""

from __future__ import annotations

from pathlib import Path

from nlpseq.commands import output
from nlpseq.models.model_path import NAME, model_path
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR, Task


def chosen_model(given: Path | None, task: Task, *, quiet: bool) -> Path:
    """The path of the model; a note says if it is a bundled one because none was trained yet."""
    return model_path(given, task, lambda note: output.note(f"note: {note}", quiet=quiet))


def any_model(given: Path | None, *, quiet: bool) -> Path:
    """The path of a model of any task; a note says which it is if none was named.

    By default it is the classifier, the language model or the translator, the first of them that was trained here; else
    the bundled classifier.
    """
    if given is None:
        for task in (CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR):
            if (task.folder / NAME).exists():
                output.note(f"note: the model is {task.folder}", quiet=quiet)
                return task.folder
    return chosen_model(given, CLASSIFIER, quiet=quiet)
