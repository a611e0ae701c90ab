"""`nlpseq corpus`: what is bundled, and what is wrong with a text."""

from __future__ import annotations

from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import Json, Quiet, application, command
from nlpseq.text.bundled import BUNDLED
from nlpseq.text.corpus_check import Finding, check_text
from nlpseq.text.formats import open_corpus

app = application("List, show and check corpora.")

Names = Annotated[
    list[str],
    typer.Argument(metavar="CORPUS", help="Text files (.gz and .xz too), bundled corpora, or hf:NAME[:CONFIG]."),
]
Against = Annotated[
    str | None, typer.Option("--against", metavar="CORPUS", help="Count the lines that stand in this text too.")
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
def check(corpus: Names, against: Against = None, json: Json = False, quiet: Quiet = False) -> int:
    """Look corpora through for faults, before hours are spent on them; the status is 1 if there are any.

    A fault stops or spoils training; a note is worth knowing. With --quiet only faults are written.

    \b
      nlpseq corpus check train.txt --against valid.txt
    """
    found: list[dict[str, object]] = []
    faults = 0
    for name in corpus:
        for one in check_text(name, against):
            faults += one.level == "fault"
            if quiet and one.level != "fault":
                continue
            found.append({"corpus": name, **one._asdict()})
            if not json:
                output.write_text(_lines(name, one))
    if json:
        output.write_json(found)
    return int(faults > 0)


def _lines(name: str, finding: Finding) -> str:
    where = f"{name}:{finding.line}" if finding.line else name
    hint = f"hint:  {finding.hint}\n" if finding.hint else ""
    return f"{finding.level}: {where}: {finding.what}\n{hint}"
