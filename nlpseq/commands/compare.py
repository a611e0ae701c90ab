"""`nlpseq compare`: which model is better, by how much, and whether that may be chance."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.api.comparing import compare as compare_sides
from nlpseq.commands import output
from nlpseq.commands.flags import (
    RARE,
    Device,
    Json,
    LabelColumn,
    LabelSeparator,
    PairColumns,
    Quiet,
    Take,
    TextColumn,
    Without,
    application,
    command,
)
from nlpseq.commands.inputs import note_typed_corpus
from nlpseq.commands.tables.comparison_table import comparison_lines
from nlpseq.decoding.beam import BeamOptions
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.text import beginnings

app = application("Which model is better, and by how much.")

Sides = Annotated[
    list[str],
    typer.Argument(
        metavar="A B", help="Models; more are compared with A, too. 'runs/a-*' is one side: seeds of a recipe."
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on", metavar="CORPUS", help="The text; repeat it for more. [default: the validation text of A's training]"
    ),
]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="A translator's source texts.")]
Targets = Annotated[
    list[Path] | None,
    typer.Option("--target", metavar="FILE", help="References, line by line; repeat it for more references."),
]
AsOutputs = Annotated[bool, typer.Option("--outputs", help="A and B are files of labels or translations.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="bits_per_byte, perplexity, accuracy, macro_f1, micro_f1, exact_match, bleu, chrf, ter, loss; repeat it.",
    ),
]
HeldOut = Annotated[bool, typer.Option("--held-out", help="Only the end of the corpus, which training holds out.")]


@command(app)
def compare(
    sides: Sides,
    on: On = None,
    source: Source = None,
    target: Targets = None,
    outputs: AsOutputs = False,
    metric: Metrics = None,
    held_out: Annotated[HeldOut, RARE] = False,
    take: Annotated[Take, RARE] = None,
    columns: Annotated[PairColumns, RARE] = None,
    label_column: Annotated[LabelColumn, RARE] = None,
    text_column: Annotated[TextColumn, RARE] = None,
    label_separator: Annotated[LabelSeparator, RARE] = None,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    resampling: Annotated[ResamplingOptions, RARE],
    search: Annotated[BeamOptions, Without("n_best"), RARE],
    bleu: Annotated[BleuOptions, RARE],
) -> None:
    """Compare models on a text: each score and each difference with a 95 % interval, and p-values.

    The p-values are two-sided, by approximate randomisation and the paired bootstrap over lines or, for language
    models, blocks of lines. For BLEU and chrF those of sacrebleu follow. A side of several seeds has a mean and a
    spread, and the interval of a difference includes the seeds.

    \b
      nlpseq compare checkpoints/lm checkpoints/new --on test.txt
      nlpseq compare 'runs/small-*' 'runs/large-*' --on test.tsv
      nlpseq compare --outputs a.txt b.txt --target ref.txt --metric bleu
    """
    note_typed_corpus(on, quiet=quiet)
    corpora, files = list(beginnings.take(on or (), take)), {"source": source, "target": target, "columns": columns}
    table = {"label_column": label_column, "text_column": text_column, "label_separator": label_separator}
    options = _set(on=corpora, held_out=held_out, **files, **table) | _changed(resampling, search, bleu)
    options |= {"outputs": outputs, "metric": metric or (), "device": device, "note": partial(_note, quiet=quiet)}
    found = compare_sides(*sides, **options)
    write: Any = output.write_json if json else output.write_lines
    write(found.as_json() if json else comparison_lines(found))


def _set(**values: Any) -> dict[str, Any]:
    """The options that were set, by name."""
    return {name: value for name, value in values.items() if not (value is None or value is False or value == [])}


def _changed(*options: Any) -> dict[str, Any]:
    """The fields of options dataclasses that differ from their defaults."""
    every = [(field.name, getattr(each, field.name), field.default) for each in options for field in fields(each)]
    return {name: value for name, value, default in every if value != default}


def _note(text: str, *, quiet: bool) -> None:
    output.note(f"note: {text}", quiet=quiet)
