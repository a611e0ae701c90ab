"""`nlpseq distil`: a small model from large ones, and both side by side."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import RARE, Json, Quiet, application, command
from nlpseq.commands.inputs import note_training_input
from nlpseq.commands.tables.model_table import model_lines, model_objects
from nlpseq.commands.training.display import show_training
from nlpseq.errors import NlpseqError
from nlpseq.training.distillation.options import StudentOptions, given_values
from nlpseq.training.distillation.student import Lesson, lesson, sort_arguments
from nlpseq.training.distribution.launch import is_follower

STARTED = time.monotonic()

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Models to learn from; then corpora. [default: the first model's training corpus]",
    ),
]

app = application("Train a small model from large ones.")


def distil(
    *,
    arguments: Arguments = None,
    student: Any,
    quiet: Quiet = False,
    json: Annotated[Json, RARE] = False,
) -> None:
    """Train a small model from one or several large ones of the same task.

    It learns the probabilities that they give to tokens or labels, or their
    translations. Other options are those of nlpseq train. A classifier's corpus
    may be plain text without labels.

    \b
      nlpseq distil checkpoints/sentiment --hidden-size 32
      nlpseq distil checkpoints/sentiment reviews.txt
    """
    models, corpora = sort_arguments(arguments or [])
    found = lesson(models, [*corpora, *student.corpus], given_values(student))
    request: Any = found.request
    if is_follower():
        return show_training(found.task, request, STARTED, quiet=quiet, json=json)
    note_training_input(found.task, (*request.files(), *request.valid), is_bundled=False, quiet=quiet or json)
    for note in found.notes:
        output.note(f"note: {note}", quiet=quiet)
    show_training(found.task, request, STARTED, quiet=quiet, json=json)
    _compare(found, quiet=quiet, json=json)


distil.__annotations__["student"] = StudentOptions
command(app)(distil)


def _compare(found: Lesson, *, quiet: bool, json: bool) -> None:
    """Show teachers and student side by side; the student is there whatever happens to a teacher."""
    from nlpseq.timing.students import measure_rates
    from nlpseq.training.distillation.comparison import compared, validation_lines

    def note(text: str) -> None:
        output.note(f"note: {text}", quiet=quiet or json)

    try:
        rows = compared(found.teachers, found.request.out, note)
        unit, rates = measure_rates([(row.model, row.options) for row in rows], validation_lines(rows[-1].model))
    except NlpseqError as error:
        note(f"teacher and student cannot be compared: {error}")
        return
    if json:
        output.write_json({"event": "compared", "unit": f"{unit} per second", "models": model_objects(rows, rates)})
    else:
        output.write_lines(model_lines(rows, unit, rates))
