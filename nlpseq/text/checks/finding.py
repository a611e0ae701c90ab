"""One finding in a corpus, and the order in which findings are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Literal, NamedTuple

from nlpseq.errors import CorpusError
from nlpseq.text.beginnings import whole_name

Level = Literal["fault", "note"]
OVERLAP_FAULT = 0.01  # fraction of the other text's lines; a smaller overlap is a note


class Finding(NamedTuple):
    """A finding: its level, the first line that shows it (0: the whole text), what it is, what to do."""

    level: Level
    line: int
    what: str
    hint: str = ""


def percentage(count: int, total: int) -> str:
    """A share in per cent; 100.0% and 0.0% are exact."""
    shown = f"{count / total:.1%}"
    if shown == "100.0%" and count < total:
        return "more than 99.9%"
    return "less than 0.1%" if shown == "0.0%" and count else shown


def faults_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with the faults before the notes."""
    return sorted(findings, key=lambda finding: finding.level)


def reading_fault(error: CorpusError, names: Sequence[str]) -> Finding:
    """The fault of a corpus that cannot be read, with its line if the error has one."""
    known = [*names, *map(whole_name, names)]
    name, _, line = error.where.rpartition(":")
    if name in known and line.isdecimal():
        return Finding("fault", int(line), error.what, error.hint)
    about_corpus = error.where in (*known, " and ".join(known))
    return Finding("fault", 0, error.what if about_corpus else str(error), error.hint)


def reading_notes(notes: Iterable[str], names: Iterable[str]) -> list[Finding]:
    """Notes of how the tables `names` were read, as findings; a finding shows its table's name itself."""
    names = list(names)
    starts = [f"{name}: " for name in (", ".join(names), *names)]
    return [Finding("note", 0, reduce(str.removeprefix, starts, note)) for note in notes]
