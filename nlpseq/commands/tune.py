"""`nlpseq tune`: one command for each task of the table, made from the request of a training run."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from nlpseq.commands.flags import RARE, Json, Quiet, Without, application, command
from nlpseq.commands.training.trials import show_tuning
from nlpseq.tasks import TASKS, Task
from nlpseq.training.tuning.clock import DEFAULT_MINUTES
from nlpseq.training.tuning.spaces import NOT_TUNED

STARTED = time.monotonic()

Minutes = Annotated[
    float, typer.Option("--minutes", metavar="X", help="Minutes from now, the last evaluation included.")
]
Test = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="FILE", help="Text for the last evaluation. [default: held out of the corpus]"),
]

app = application("Search for better options under a clock.")


@app.callback()
def tune() -> None:
    """Search for better options under a clock, and keep the best model."""


HELP = """Search for better options of train {command} under a clock, and keep the best run.

    Options that are set here stay as they are. The command of the best run is printed at the end, and a search does
    not repeat itself, because the clock decides what is tried. Needs Optuna: pip install 'nlpseq[tune]'

    \b
      nlpseq tune {command} {example} --minutes 30
    """
EXAMPLES = {"lm": "book.txt", "sentiment": "reviews.tsv", "translation": "pairs.tsv"}


def _add_command(task: Task) -> None:
    """Make `nlpseq tune TASK`."""
    request_class = task.load("request")

    def run(
        *,
        request: Any,
        budget: Minutes = DEFAULT_MINUTES,
        test: Test = None,
        quiet: Annotated[Quiet, RARE] = False,
        json: Annotated[Json, RARE] = False,
    ) -> None:
        show_tuning(task, request, test or [], budget, STARTED, quiet=quiet, json=json)

    run.__annotations__["request"] = Annotated[(request_class, *map(Without, NOT_TUNED))]
    run.__doc__ = HELP.format(command=task.command, example=EXAMPLES[task.command])
    command(app, task.command)(run)


for _task in TASKS.values():
    _add_command(_task)
