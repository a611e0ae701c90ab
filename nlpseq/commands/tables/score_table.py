"""Scores on a screen: a line for each, and below them what their signatures have in common, once.

Intervals are in a column, or in a table below if the lines would be too long. Their signature follows, and for scores
of sacrebleu the mean and half-width that its own command prints.

Lines have at most WIDTH characters as far as that is possible: a name that is longer is not cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq.commands import output
from nlpseq.evaluation.scores import Score, ScoreInterval
from nlpseq.evaluation.signatures import BAR, DETAILS, Family, families
from nlpseq.text.display import display_width

WIDTH = 80
INDENT = "  "


def score_lines(scores: Sequence[Score], indent: str = "") -> list[str]:
    """The table of scores, an empty line, and the signatures."""
    groups = families(scores)
    width = WIDTH - len(indent)
    beside = _fits(_rows(groups, beside=True), width)
    lines = [*output.table_lines(_rows(groups, beside=beside)), ""]
    for family in groups:
        lines += _signature_lines(family, "" if len(groups) == 1 else _names(family), width)
    lines += _interval_lines(scores, beside=beside)
    return [(indent + line).rstrip() for line in lines]


def _rows(groups: Sequence[Family], *, beside: bool) -> list[tuple[str, ...]]:
    """A row for each score, with its interval if there are any and they go `beside` the scores."""
    confident = beside and any(score.interval for family in groups for score in family.scores)
    return [
        (score.name, score.shown, *([_between(score.interval)] if confident else []), score.unit, details)
        for family in groups
        for score, details in zip(family.scores, family.details, strict=True)
    ]


def _fits(rows: Sequence[Sequence[str]], width: int) -> bool:
    return max(map(display_width, output.table_lines(rows)), default=0) <= width


def _between(interval: ScoreInterval | None) -> str:
    """An interval in six digits."""
    return "" if interval is None else f"{interval.low:.6g} to {interval.high:.6g}"


def _interval_lines(scores: Sequence[Score], *, beside: bool) -> list[str]:
    """How intervals were found, once; the intervals themselves unless they are `beside` the scores."""
    found = [(score, score.interval) for score in scores if score.interval is not None]
    if not found:
        return []
    lines = ["", "signature of the 95 % intervals:", *broken(found[0][1].signature)]
    if not beside:
        rows = [(f"{INDENT}{score.name}", _between(interval), score.unit) for score, interval in found]
        lines = ["", "95 % intervals:", *output.table_lines(rows), *lines]
    library = [
        f"{score.name} {interval.mean:.2f} ± {interval.half_width:.2f}"
        for score, interval in found
        if interval.mean is not None and interval.half_width is not None
    ]
    return [*lines, "", f"as sacrebleu --confidence: {', '.join(library)}"] if library else lines


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
