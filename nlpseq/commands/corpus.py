"""`nlpseq corpus`: what is bundled, and what is wrong with a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
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
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.checks.labels import check_labelled
from nlpseq.text.checks.pairs import check_pairs
from nlpseq.text.checks.text import Finding, check_text
from nlpseq.text.formats import open_corpus
from nlpseq.text.tables.label_tables import LabelColumns

app = application("List, show and check corpora.")

CORPUS = typer.Argument(metavar="CORPUS", help="Text files (.gz and .xz too), bundled corpora, or hf:NAME[:CONFIG].")
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

ALWAYS_PAIRS = (".po", ".tmx")
DEFAULT_PAIRS = "english-german"
DEFAULT_LABELLED = "reviews"


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
    shown: list[dict[str, object]] = []
    faults = 0
    named = LabelColumns(label_column, text_column)
    if labels or any(named) or corpus == [DEFAULT_LABELLED]:
        if files or pairs or columns:
            raise OptionError("--labels", "is for texts with labels, not for pairs", "leave out what is for pairs")
        looked: Iterator[tuple[str, list[Finding]]] = (
            (name, check_labelled((name,), columns=named, against=against or ())) for name in corpus or []
        )
    else:
        looked = _findings(corpus or [], files, columns, against or [], pairs=pairs)
    for name, findings in looked:
        for one in findings:
            faults += one.level == "fault"
            if quiet and one.level != "fault":
                continue
            shown.append({"corpus": name, **one._asdict()})
            if not json:
                output.write_text(_lines(name, one))
    if json:
        output.write_json(shown)
    return int(faults > 0)


def _findings(
    corpus: Sequence[str],
    files: tuple[str, str] | None,
    columns: str | None,
    against: Sequence[str],
    *,
    pairs: bool,
) -> Iterator[tuple[str, list[Finding]]]:
    """What is found in each corpus."""
    if files is not None:
        sides = {name: [one for one in check_text(name) if one.level == "fault"] for name in files}
        yield from sides.items()
        if not any(sides.values()):
            yield " ".join(files), check_pairs(files, two_files=True, against=against)
        return
    named = read_columns(columns)
    for name in corpus:
        if pairs or named or Path(name).suffix in ALWAYS_PAIRS or name == DEFAULT_PAIRS:
            yield name, check_pairs((name,), two_files=False, columns=named, against=against)
        elif len(against) > 1:
            raise OptionError("--against", f"is one text for a text, was {len(against)}", "--pairs, for parallel text")
        else:
            yield name, check_text(name, against[0] if against else None)


def _lines(name: str, finding: Finding) -> str:
    where = f"{name}:{finding.line}" if finding.line else name
    hint = f"hint:  {finding.hint}\n" if finding.hint else ""
    return f"{finding.level}: {where}: {finding.what}\n{hint}"
