"""Parallel text: pairs of a source and a target, from tables or from two files of parallel lines.

Files of unequal length are refused: an extra line shifts all lines after it, and a model would silently learn nonsense.
A pair with a blank side is dropped and counted. Training keeps its pairs in temporary files (`stored_rows.py`). What
looks at the pairs as a whole, such as a check or an evaluation, keeps them in memory, a few hundred bytes each.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from nlpseq.errors import CorpusError
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.readers.rows import is_table, text_lines
from nlpseq.text.readers.table import one_line
from nlpseq.text.signature import rows_sha256
from nlpseq.text.tables.notes import gather
from nlpseq.text.tables.pair_tables import Columns, Pair, read_table
from nlpseq.text.tables.stored_rows import StoredTexts

HELD_OUT = 0.05  # of the pairs, for validation
MOST_HELD_OUT = 1000
FEWEST = 20  # pairs, of which training can hold one out


@dataclass
class Pairs:
    """Sources and targets in parallel sequences, without line ends, and the number of pairs dropped for a blank side.

    `notes` tell how the tables were read, first the chosen columns.
    """

    sources: Sequence[str] = field(default_factory=list)
    targets: Sequence[str] = field(default_factory=list)
    blank: int = 0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def sha256(self) -> str:
        """A hash of all pairs."""
        return rows_sha256(zip(self.sources, self.targets, strict=True))

    def span(self, start: int, stop: int) -> Pairs:
        """The pairs from `start` up to `stop`."""
        return Pairs(self.sources[start:stop], self.targets[start:stop])


def read_parallel(
    names: Sequence[str],
    *,
    two_files: bool,
    columns: Columns | None = None,
    former: Columns | None = None,
    keep_blank: bool = False,
    watch: Watch = unwatched,
    folder: Path | None = None,
) -> Pairs:
    """All pairs of the tables `names`, or of a source file and a target file, except those with a blank side.

    `columns` are the names or numbers of a table's source and target; see `nlpseq.text.tables.pair_tables`. Without
    them they are `former`, those of other pairs, in each table that has them. `watch` is told the number of pairs that
    were read. With a `folder` the pairs are kept in temporary files there, and not in memory.

    Raises CorpusError for a file that cannot be read or is not a table, for two files of unequal length, and if no pair
    is left; and RunError if the pairs cannot be kept.
    """
    notes: dict[str, list[str]] = {name: [] for name in names}
    sources, targets = _new_side(folder), _new_side(folder)
    blank = 0
    rows = (
        read_two_files(*names)
        if two_files
        else (pair for name in names for pair in read_table(name, columns, notes[name], former))
    )
    for source, target in watched_rows(rows, watch, "reading"):
        if keep_blank or (source.strip() and target.strip()):
            sources.append(source)
            targets.append(target)
        else:
            blank += 1
    if not sources:
        raise CorpusError(names[0], f"it has no pair with text on both sides, only {blank:,} with a blank side")
    return Pairs(sources, targets, blank, gather(notes))


def _new_side(folder: Path | None) -> list[str] | StoredTexts:
    return [] if folder is None else StoredTexts(folder)


def are_two_files(names: Sequence[str]) -> bool:
    """Whether names are those of a source file and a target file, not of tables."""
    return len(names) == 2 and not any(map(is_table, names))


def held_out_count(pairs: int) -> int:
    """The number of pairs that training holds out at the end of this many; 0 if they are too few."""
    return min(MOST_HELD_OUT, int(pairs * HELD_OUT))


def read_split(
    names: Sequence[str],
    valid: Sequence[str],
    *,
    two_files: bool,
    columns: Columns | None = None,
    watch: Watch = unwatched,
    folder: Path | None = None,
) -> tuple[Pairs, Pairs]:
    """The training and the validation pairs; without `valid` these are the last ones of the training text.

    With a `folder` they are kept in temporary files there. Raises CorpusError if they cannot be read or are too few.
    """
    pairs = read_parallel(names, two_files=two_files, columns=columns, watch=watch, folder=folder)
    if valid:
        two_files = are_two_files(valid)
        return pairs, read_parallel(valid, two_files=two_files, columns=columns, watch=watch, folder=folder)
    count = held_out_count(len(pairs))
    if not count:
        hint = "--valid FILE --valid FILE, source and target" if two_files else "--valid FILE"
        raise CorpusError(names[0], f"needs at least {int(1 / HELD_OUT)} pairs, has {len(pairs)}", hint)
    train, held_out = pairs.span(0, len(pairs) - count), pairs.span(len(pairs) - count, len(pairs))
    train.blank, train.notes = pairs.blank, pairs.notes
    return train, held_out


def read_two_files(source: str, target: str) -> Iterator[Pair]:
    """The lines of two files in pairs. Raises CorpusError, at the end, if one file is longer."""
    counts = [0, 0]
    for pair in zip_longest(map(one_line, text_lines(source)), map(one_line, text_lines(target))):
        for side, text in enumerate(pair):
            counts[side] += text is not None
        first, second = pair
        if first is None or second is None:
            continue
        yield first, second
    if counts[0] != counts[1]:
        raise CorpusError(
            f"{source} and {target}",
            f"they must have the same number of lines, but have {counts[0]:,} and {counts[1]:,}",
            f"nlpseq corpus check --source {shlex.quote(source)} --target {shlex.quote(target)}",
        )
