"""Scores on a screen: a line for each, and below them what their signatures have in common, once.

Lines have at most WIDTH characters as far as that is possible: a name that is longer is not cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq.commands import output
from nlpseq.evaluation.scores import Score
from nlpseq.evaluation.signatures import BAR, DETAILS, Family, families

WIDTH = 80
INDENT = "  "


def score_lines(scores: Sequence[Score], indent: str = "") -> list[str]:
    """The table of scores, an empty line, and the signatures."""
    groups = families(scores)
    rows = [
        (score.name, score.shown, score.unit, details)
        for family in groups
        for score, details in zip(family.scores, family.details, strict=True)
    ]
    lines = [*output.table_lines(rows), ""]
    for family in groups:
        lines += _signature_lines(family, "" if len(groups) == 1 else _names(family), WIDTH - len(indent))
    return [(indent + line).rstrip() for line in lines]


def _names(family: Family) -> str:
    return f" of {', '.join(dict.fromkeys(score.name for score in family.scores))}"


def _signature_lines(family: Family, names: str, width: int) -> list[str]:
    """A heading, and the pattern of the signatures below it, broken after bars."""
    explained = f" ({DETAILS} are in the last column)" if DETAILS in family.pattern.split(BAR) else ""
    return [f"signature{names}{explained}:", *broken(family.pattern, width)]


def broken(signature: str, width: int = WIDTH) -> list[str]:
    """A signature in indented lines of at most `width` characters, broken after bars."""
    *fields, last = signature.split(BAR)
    lines: list[str] = []
    line = INDENT
    for piece in [*(field + BAR for field in fields), last]:
        if line.strip() and len(line) + len(piece) > width:
            lines.append(line)
            line = INDENT
        line += piece
    return [*lines, line]
