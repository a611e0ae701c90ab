"""`nlpseq corpus`: the bundled corpora, and the faults of a text."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    Json,
    LabelColumn,
    LabelSeparator,
    PairColumns,
    Quiet,
    SourceFile,
    Take,
    TargetFile,
    TextColumn,
    application,
    command,
    read_columns,
    two_files,
)
from nlpseq.commands.inputs import note_typed_corpus
from nlpseq.errors import OptionError
from nlpseq.text import beginnings
from nlpseq.text.bundled import BUNDLED, Kind
from nlpseq.text.checks.corpus import check_corpora
from nlpseq.text.checks.finding import Finding
from nlpseq.text.formats import open_corpus, split_lines
from nlpseq.text.tables.label_tables import label_columns
from nlpseq.text.tables.text_column import column_text

if TYPE_CHECKING:
    from nlpseq.commands.training.screen import Screen

app = application("List, show and check corpora.")

CORPUS = typer.Argument(
    metavar="CORPUS",
    help="Texts (.gz, .xz, .zst too), .html, .epub, .docx, .zip, folders, 'books/*.txt', tables, bundled corpora, "
    "hf:NAME[:CONFIG], or -.",
)
Names = Annotated[list[str], CORPUS]
ShownColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column",
        metavar="NAME",
        help="Write only this column of a table, by name or number, a text in each line.",
    ),
]
Checked = Annotated[list[str] | None, CORPUS]
AsLabelled = Annotated[bool, typer.Option("--labels", help="The corpora are texts with labels.")]
AsPairs = Annotated[bool, typer.Option("--pairs", help="The corpora are tables of pairs.")]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="CORPUS",
        help="Count the lines that are in this text too; for pairs: a table, or twice for source and target.",
    ),
]


@command(app, "list")
def list_corpora(json: Json = False) -> None:
    """List the corpora that come with nlpseq."""
    if json:
        fields = ("name", "description", "licence")
        output.write_json([{field: getattr(bundled, field) for field in fields} for bundled in BUNDLED.values()])
    else:
        output.write_table([(bundled.name, bundled.description, bundled.licence) for bundled in BUNDLED.values()])


@command(app)
def show(corpus: Names, text_column: ShownColumn = None, take: Take = None, json: Json = False) -> None:
    """Write the text of corpora to standard output; of tables one column, if it is named.

    With --json each line of the text is an object, with the line under `text`.

    \b
      nlpseq corpus show stories | head
      nlpseq corpus show --text-column review reviews.csv > reviews.txt
      nlpseq corpus show --take 1000 hf:wikitext:wikitext-103-v1
    """
    note_typed_corpus(corpus, quiet=False)
    for name in beginnings.take(corpus, take):
        pieces = open_corpus(name) if text_column is None else column_text(name, text_column)
        for piece in (output.to_json({"text": line}) + "\n" for line in split_lines(pieces)) if json else pieces:
            output.write_text(piece)


@command(app)
def check(
    corpus: Checked = None,
    source: SourceFile = None,
    target: TargetFile = None,
    pairs: AsPairs = False,
    columns: PairColumns = None,
    labels: AsLabelled = False,
    label_column: LabelColumn = None,
    text_column: TextColumn = None,
    label_separator: LabelSeparator = None,
    against: Against = None,
    take: Take = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Look for faults in corpora; the exit status is 1 if there are any.

    A fault stops or spoils training; a note is worth knowing. With --quiet only faults are written. A table is checked
    as pairs or as texts with labels if its header says so, or with --pairs or --labels.

    \b
      nlpseq corpus check train.txt --against valid.txt
      nlpseq corpus check --source train.en --target train.de
      nlpseq corpus check --pairs pairs.tsv
      nlpseq corpus check --labels reviews.tsv --against test.tsv
    """
    kind = _kind(labels=labels, pairs=pairs)
    note_typed_corpus([*(corpus or ()), *(against or ())], quiet=quiet)
    screen = _screen(quiet=quiet)
    taken = beginnings.take(two_files(source, target) or (), take)
    findings = check_corpora(
        beginnings.take(corpus or (), take),
        (taken[0], taken[1]) if taken else None,
        kind=kind,
        columns=read_columns(columns),
        label_columns=label_columns(label_column, text_column, label_separator),
        against=against or (),
        watch=screen.read,
    )
    return _show(findings, screen, as_json=json, quiet=quiet)


def _kind(*, labels: bool, pairs: bool) -> Kind | None:
    """The kind of the corpora that the flags name. Raises OptionError if they name two."""
    if labels and pairs:
        raise OptionError("labels", "is for texts with labels, not for pairs", "leave out --pairs")
    return "labels" if labels else "pairs" if pairs else None


def _screen(*, quiet: bool) -> Screen:
    """Where the reading is shown."""
    from nlpseq.commands.training.screen import open_screen  # 0.1 s

    return open_screen(quiet=quiet, json=False)


def _show(checked: Iterable[tuple[str, list[Finding]]], screen: Screen, *, as_json: bool, quiet: bool) -> int:
    """Write the findings of each corpus, without the bar that shows the reading; returns the exit status."""
    shown: list[dict[str, object]] = []
    faults = 0
    with closing(screen):
        for name, findings in checked:
            screen.close()
            for finding in findings:
                faults += finding.level == "fault"
                if quiet and finding.level != "fault":
                    continue
                shown.append({"corpus": name, **finding._asdict()})
                if not as_json:
                    output.write_text(_lines(name, finding))
    if as_json:
        output.write_json(shown)
    return int(faults > 0)


def _lines(name: str, finding: Finding) -> str:
    where = f"{name}:{finding.line}" if finding.line else name
    hint = f"hint:  {finding.hint}\n" if finding.hint else ""
    return f"{finding.level}: {where}: {finding.what}\n{hint}"
