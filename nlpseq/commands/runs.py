"""`nlpseq runs`: the training runs in a folder, in a table whose first column is typed after -m.

A table for a pipe is written whole. On a terminal it fits the width: the corpus is shortened, then columns are left
out, but never the run's path, which would be of no use if it were shortened.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import Json, application, command
from nlpseq.paths import exists
from nlpseq.text.display import display_width, is_shown, shortened
from nlpseq.training.run_list import DAMAGED, FINISHED, RunFacts, list_runs

USUAL = Path("checkpoints")
GAP = 2  # spaces between two columns
HEADINGS = ("run", "task", "corpus", "steps", "score", "size", "date")
CORPUS, SCORE = 2, 4  # the columns that are shortened, and their shortest widths:
SHORTEST = {CORPUS: 6, SCORE: 16}  # every score fits; the faults of damaged runs may be longer
LEFT_OUT = ("date", "size", "task", "corpus", "score", "steps")  # on a narrow terminal, in turn
SCORES = (  # the first that a run has is shown: the name, the words and the format
    ("bleu", "BLEU", ".1f"),
    ("accuracy", "accuracy", ".1f"),
    ("micro_f1", "micro-F1", ".1f"),
    ("bits_per_byte", "bits/byte", ".3f"),
    ("perplexity", "perplexity", ".4g"),
    ("loss", "loss", ".3f"),
)
UNITS = ("B", "kB", "MB", "GB", "TB")

app = application("List training runs: task, corpus, steps, scores, size and date.")

Folder = Annotated[Path | None, typer.Argument(metavar="DIR", help="Folder of runs. [default: checkpoints]")]


@command(app)
def runs(folder: Folder = None, json: Json = False) -> None:
    """List the training runs in a folder and two levels below it, those that changed last at the end.

    A run that is not finished shows its steps and those of the whole run, as 88/713, and the loss of its best quick
    validation. With --json each run is an object with all that is known of it, one a line.

    \b
      nlpseq runs
      nlpseq runs --json | jq -r 'select(.state == "finished") | .path'
    """
    path = folder or USUAL
    found = list_runs(path) if folder or exists(path) else []
    if not found:
        output.note(f"note: there are no runs in {path}; nlpseq train lm starts one")
    elif json:
        output.write_text("".join(output.to_json(_fields(run)) + "\n" for run in found))
    else:
        rows = [HEADINGS, *map(_row, found)]
        terminal = output.is_terminal()
        output.write_table(_narrowed(rows, shutil.get_terminal_size().columns) if terminal else rows)


def _fields(run: RunFacts) -> dict[str, Any]:
    changed = datetime.fromtimestamp(run.changed, UTC).isoformat(timespec="seconds")
    return {**asdict(run), "path": str(run.path), "changed": changed}


def _row(run: RunFacts) -> tuple[str, ...]:
    date = datetime.fromtimestamp(run.changed).strftime("%Y-%m-%d") if run.changed else "-"
    size = "-" if run.size is None else _bytes(run.size)
    score = run.fault if run.state == DAMAGED else _score(run)
    cells = (shlex.quote(str(run.path)), run.task or "-", " ".join(run.corpus) or "-", _steps(run), score, size, date)
    return tuple("".join(letter if is_shown(letter) else "?" for letter in cell) for cell in cells)


def _steps(run: RunFacts) -> str:
    if run.state == DAMAGED:
        return DAMAGED
    if run.state == FINISHED:
        return "-" if run.step is None else str(run.step)
    return f"{run.step or 0}/{'?' if run.steps is None else run.steps}"


def _score(run: RunFacts) -> str:
    values = {score.get("name"): score.get("value") for score in reversed(run.scores)}  # of two, the first one counts
    for name, words, form in SCORES:
        if isinstance(value := values.get(name), int | float):
            return f"{words} {value:{form}}"
    return "-" if run.quick_loss is None else f"quick {run.quick_loss:.3f}"


def _bytes(count: int) -> str:
    """A size with two or three digits: 1.2 MB."""
    number, unit = float(count), 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {UNITS[unit]}" if unit == 0 or number >= 9.95 else f"{number:.1f} {UNITS[unit]}"


def _narrowed(rows: Sequence[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """The rows in `width` characters: the corpus and faults are shortened, then columns are left out."""
    table = list(rows)
    for index, shortest in SHORTEST.items():
        if (excess := _width(table) - width) > 0:
            most = max(shortest, max(display_width(row[index]) for row in table) - excess)
            cut = _cut if index == CORPUS else _cut_end
            table = [(*row[:index], cut(row[index], most), *row[index + 1 :]) for row in table]
    for heading in LEFT_OUT:
        if _width(table) > width:
            index = table[0].index(heading)
            table = [(*row[:index], *row[index + 1 :]) for row in table]
    return table


def _width(table: Sequence[tuple[str, ...]]) -> int:
    widths = [max(map(display_width, cells)) for cells in zip(*table, strict=True)]
    return sum(widths) + GAP * (len(widths) - 1)


def _cut_end(text: str, width: int) -> str:
    return shortened(text, width, "…")


def _cut(text: str, width: int) -> str:
    """The text with its end kept, which is the file's name in a path."""
    return shortened(text[::-1], width, "…")[::-1]
