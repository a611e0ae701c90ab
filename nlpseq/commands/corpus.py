"""`nlpseq corpus`: what is bundled, and what is wrong with a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    Json,
    LabelColumn,
    PairColumns,
    Quiet,
    SourceFile,
    TargetFile,
    TextColumn,
    application,
    command,
    read_columns,
    two_files,
)
from nlpseq.errors import OptionError
from nlpseq.text.bundled import BUNDLED, Kind
from nlpseq.text.checks.corpus import check_corpus, check_two_files
from nlpseq.text.checks.finding import Finding
from nlpseq.text.formats import open_corpus
from nlpseq.text.tables.label_tables import LabelColumns

app = application("List, show and check corpora.")

CORPUS = typer.Argument(
    metavar="CORPUS", help="Text files (.gz, .xz, .zst too), tables, bundled corpora, or hf:NAME[:CONFIG]."
)
Names = Annotated[list[str], CORPUS]
Checked = Annotated[list[str] | None, CORPUS]
AsLabelled = Annotated[bool, typer.Option("--labels", help="The corpora are texts with labels.")]
AsPairs = Annotated[bool, typer.Option("--pairs", help="The corpora are tables of pairs.")]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="CORPUS",
        help="Count what stands in this text too; of pairs a table, or twice: source and target.",
    ),
]


@command(app, "list")
def list_corpora(json: Json = False) -> None:
    """List the corpora that come with nlpseq."""
    if json:
        fields = ("name", "description", "licence")
        output.write_json([{field: getattr(one, field) for field in fields} for one in BUNDLED.values()])
    else:
        output.write_table([(one.name, one.description, one.licence) for one in BUNDLED.values()])


@command(app)
def show(corpus: Names) -> None:
    """Write the text of corpora to standard output.

    \b
      nlpseq corpus show stories | head
    """
    for name in corpus:
        for piece in open_corpus(name):
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
    against: Against = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Look corpora through for faults, before hours are spent on them; the status is 1 if there are any.

    A fault stops or spoils training; a note is worth knowing. With --quiet only faults are written. Parallel text is
    looked through as such: two files with --source and --target, tables with --pairs; texts with labels with --labels.

    \b
      nlpseq corpus check train.txt --against valid.txt
      nlpseq corpus check --source train.en --target train.de --against test.en --against test.de
      nlpseq corpus check --pairs pairs.tsv
      nlpseq corpus check --labels reviews.tsv --against test.tsv
    """
    files = two_files(source, target)
    if bool(corpus) == (files is not None):
        hint = f"nlpseq corpus check {'--labels ' * labels}FILE"
        raise OptionError("CORPUS", "must be corpora, or --source and --target", hint)
    label_columns = LabelColumns(label_column, text_column)
    if labels and pairs:
        raise OptionError("labels", "is for texts with labels, not for pairs", "leave out --pairs")
    if files and (labels or pairs or columns or any(label_columns)):
        raise OptionError("source", "is for two files, which have no columns and no labels", "name a table as CORPUS")
    kind: Kind | None = "labels" if labels else "pairs" if pairs else None
    looked: Iterable[tuple[str, list[Finding]]]
    if files:
        looked = check_two_files(*files, against=against or ())
    else:
        named, others = read_columns(columns), against or ()
        looked = (
            (name, check_corpus(name, kind, columns=named, label_columns=label_columns, against=others))
            for name in corpus or ()
        )
    return _show(looked, as_json=json, quiet=quiet)


def _show(looked: Iterable[tuple[str, list[Finding]]], *, as_json: bool, quiet: bool) -> int:
    """Write the findings of each corpus; the exit status."""
    shown: list[dict[str, object]] = []
    faults = 0
    for name, findings in looked:
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
