"""`nlpseq train`: one command for each task of the table, made from the task's request."""

from __future__ import annotations

import time
from typing import Any

from nlpseq.commands import output
from nlpseq.commands.flags import Json, Quiet, application, command
from nlpseq.tasks import TASKS, Task

STARTED = time.monotonic()
SHOWN = (  # scores of a run: the name, the words and the format
    ("accuracy", "accuracy", ".2f"),
    ("macro_f1", "macro-F1", ".2f"),
    ("expected_calibration_error", "calibration error", ".4f"),
    ("loss", "loss", ".4f"),
    ("perplexity", "perplexity", ".2f"),
    ("bits_per_byte", "bits per byte", ".4f"),
)

app = application("Train a model of your own text.")


@app.callback()
def train() -> None:
    """Train a model of your own text."""


def _add_command(task: Task) -> None:
    """Make `nlpseq train TASK`."""
    request_class = task.load("request")

    def run(*, request: Any, quiet: Quiet = False, json: Json = False) -> None:
        from nlpseq.commands.training_display import show_training

        result = show_training(task.load("run")(request, STARTED), quiet=quiet)
        output.write_json(result) if json else output.write_text(_line(result))

    run.__annotations__["request"] = request_class
    run.__doc__ = request_class.__doc__
    command(app, task.command)(run)


for _task in TASKS.values():
    _add_command(_task)


def _line(result: dict[str, Any]) -> str:
    valid = result["valid"]
    shown = "  ".join(f"{words} {valid[name]:{form}}" for name, words, form in SHOWN if name in valid)
    return f"{result['model']}  {result['steps']} steps in {result['seconds']} s  {shown}  {valid['signature']}\n"
