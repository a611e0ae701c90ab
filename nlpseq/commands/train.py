"""`nlpseq train`: one command for each task of the table, made from the task's request."""

from __future__ import annotations

import time
from typing import Annotated, Any

from nlpseq.commands.flags import RARE, Json, Like, Quiet, application, command
from nlpseq.commands.inputs import note_training_input, note_typed_corpus
from nlpseq.commands.training.display import show_training
from nlpseq.tasks import TASKS, Task
from nlpseq.text.compression import STANDARD_INPUT
from nlpseq.training.distribution.launch import is_follower

STARTED = time.monotonic()

app = application("Train a model of your own text.")


@app.callback()
def train() -> None:
    """Train a model of your own text."""


def _add_command(task: Task) -> None:
    """Make `nlpseq train TASK`."""
    request_class = task.load("request")

    def run(
        *, request: Any, like: Like = None, quiet: Annotated[Quiet, RARE] = False, json: Annotated[Json, RARE] = False
    ) -> None:
        files, before = request.files(), request.files_before()
        is_bundled = not (files or request.resume or STANDARD_INPUT in before)
        if not is_follower():
            note_training_input(task, (*files, *request.valid), is_bundled=is_bundled, quiet=quiet or json)
            note_typed_corpus(before, quiet=quiet or json)
        show_training(task, request, STARTED, quiet=quiet, json=json)

    run.__annotations__["request"] = request_class
    run.__doc__ = request_class.__doc__
    command(app, task.command)(run)


for _task in TASKS.values():
    _add_command(_task)
