"""Faults in parallel text, found before hours are spent on it.

A fault makes a model learn nonsense, or makes its scores too good: files whose lines are shifted, test pairs in the
training data. A note is worth knowing: sides that are blank, equal, of very unequal length or in another script.
Findings rest on lengths, letters and equality alone, so they do not depend on the language; the price is that a wrong
translation is not found.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import CorpusError
from nlpseq.text.checks.finding import (
    OVERLAP_FAULT,
    Finding,
    Level,
    faults_first,
    percentage,
    reading_fault,
    reading_notes,
)
from nlpseq.text.checks.pair_counts import PairCounts, SharedSources, Tally, shared_sources
from nlpseq.text.checks.pair_features import source_hash
from nlpseq.text.checks.shifts import Values, chunks, first_shift, median
from nlpseq.text.checks.spill import HashedRows
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.readers.rows import text_lines
from nlpseq.text.readers.table import one_line
from nlpseq.text.tables.notes import gather
from nlpseq.text.tables.pair_tables import Columns, Pair, read_table
from nlpseq.text.tables.parallel import FEWEST, read_two_files

SHOWN = 8  # pairs before and after the first one that is out of step
UNEQUAL = 4  # times the usual ratio of the two lengths
LONG_TEXT = 800  # characters; training leaves out longer texts, roughly
IDENTICAL_FAULT = 0.2  # fraction of the pairs
HASHES_AT_ONCE = 1 << 14
PASSES = 20  # over the pairs, for the estimate
BYTES_PER_TOKEN = 4  # with a vocabulary of a few thousand word pieces
OPERATIONS_PER_TOKEN = 20e6  # for each token of a target, with the default model
EFFICIENCY = 0.75  # of training, compared with matrix products alone


def check_pairs(
    names: Sequence[str],
    *,
    two_files: bool,
    columns: Columns | None = None,
    against: Sequence[str] = (),
    watch: Watch = unwatched,
) -> list[Finding]:
    """Check the pairs of tables, or of two files, and count the sources that are also in `against`.

    `watch` is told how many pairs were read. First comes a note of the size, then the faults, then the notes, and last
    an estimate of the training time. Raises CorpusError if `against` cannot be read, and RunError if a temporary file
    cannot be written; if the pairs themselves cannot be read, that is a fault.
    """
    pairs, notes, lines = PairCounts(), dict[str, list[str]]((name, []) for name in names), [0, 0]
    try:
        rows = _two_files(names, lines) if two_files else _tables(names, columns, notes)
        pairs.read(watched_rows(rows, watch, "reading"), compared=bool(against))
        if not pairs.count and not two_files:
            raise CorpusError(names[0], "it has no pair with text on both sides, only 0 with a blank side")
    except CorpusError as error:
        return [reading_fault(error, names)]
    if lines[0] != lines[1]:
        return [_unequal(lines, shlex.join(names)), *_steps(pairs, shlex.join(names))]
    pairs.compare()
    findings = [
        *_too_few(pairs),
        *_steps(pairs, shlex.join(names)),
        *_tally("note", pairs.blank, pairs, "with a blank side; training drops such pairs"),
        *_equal(pairs),
        *_repeated(pairs),
        *_lengths(pairs),
        *_scripts(pairs),
    ]
    if against:
        hashes = _hashes(against, columns, watch, two_files=len(against) == 2 and two_files)
        findings += _shared(shared_sources(pairs, hashes), " ".join(against))
    found = faults_first([*reading_notes(gather(notes), names), *findings])
    flags = _flags(names, two_files=two_files, columns=columns)
    return [_summary(pairs), *found, *([_estimate(pairs, flags)] if pairs.count >= FEWEST else [])]


def _tables(names: Sequence[str], columns: Columns | None, notes: dict[str, list[str]]) -> Iterator[Pair]:
    return chain.from_iterable(read_table(name, columns, notes[name]) for name in names)


def _two_files(names: Sequence[str], lines: list[int]) -> Iterator[Pair]:
    """The lines of two files in pairs, up to the end of the shorter one; `lines` becomes the number of both."""
    sources, targets = (map(one_line, text_lines(name)) for name in names)
    for source, target in zip_longest(sources, targets):
        lines[0] += source is not None
        lines[1] += target is not None
        if source is not None and target is not None:
            yield source, target


def _hashes(names: Sequence[str], columns: Columns | None, watch: Watch, *, two_files: bool) -> HashedRows:
    """The hashes of the sources of other pairs, those with a blank side aside. Raises CorpusError without any."""
    rows: Iterable[Pair] = (
        read_two_files(*names) if two_files else _tables(names, columns, {name: [] for name in names})
    )
    hashes, waiting, blank = HashedRows(1), list[int](), 0
    for source, target in watched_rows(rows, watch, "reading the other text"):
        if not (source.strip() and target.strip()):
            blank += 1
            continue
        waiting.append(source_hash(source.strip()))
        if len(waiting) == HASHES_AT_ONCE:
            hashes.add(np.array(waiting)[:, None])
            waiting.clear()
    if not (waiting or hashes.count):
        raise CorpusError(names[0], f"it has no pair with text on both sides, only {blank:,} with a blank side")
    hashes.add(np.array(waiting, np.int64)[:, None])
    return hashes


def _summary(pairs: PairCounts) -> Finding:
    sides = (
        f"{pairs.words[side]:,} words and {pairs.characters[side]:,} characters of {('source', 'target')[side]}"
        for side in (0, 1)
    )
    return Finding("note", 0, f"{_pairs(pairs.count)}, {', '.join(sides)}")


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"


def _tally(level: Level, found: Tally, pairs: PairCounts, what: str, hint: str = "") -> Iterator[Finding]:
    """A finding on pairs, if there are any."""
    if found.count:
        counted = f"{found.count:,} of {_pairs(pairs.count)} ({percentage(found.count, pairs.count)})"
        yield Finding(level, found.first + 1, f"{counted} {what}", hint)


def _unequal(lines: Sequence[int], names: str) -> Finding:
    what = "the files must have the same number of lines"
    return Finding("fault", 0, f"{what}, but have {lines[0]:,} and {lines[1]:,}", f"paste {names} | less")


def _too_few(pairs: PairCounts) -> Iterator[Finding]:
    filled = pairs.count - pairs.blank.count
    if filled < FEWEST:
        what = f"training needs at least {FEWEST} pairs with text on both sides, but there are {filled}"
        yield Finding("fault", 0, what, "more pairs; for a first try the bundled ones: nlpseq train translation")


def _steps(pairs: PairCounts, names: str) -> Iterator[Finding]:
    """A line from which one side has lines too many."""
    shift = first_shift(pairs.records)
    if shift is not None:
        sides = ("target", "source") if shift.lines > 0 else ("source", "target")
        count = abs(shift.lines)
        what = f"out of step from about here on: the {sides[0]} has {count} line{'s' * (count > 1)} too many"
        line = shift.first + 1
        hint = f"paste {names} | sed -n {max(1, line - SHOWN)},{line + SHOWN}p"
        yield Finding("fault", line, f"{what}, or the {sides[1]} too few", hint)


def _equal(pairs: PairCounts) -> Iterator[Finding]:
    level: Level = "fault" if pairs.equal.count > IDENTICAL_FAULT * pairs.count else "note"
    what = "with two equal sides; untranslated text teaches a model to copy"
    yield from _tally(level, pairs.equal, pairs, what)


def _repeated(pairs: PairCounts) -> Iterator[Finding]:
    what = "that were there before; repeated text is learned by heart"
    yield from _tally("note", pairs.repeated, pairs, what)
    yield from _tally("note", pairs.contradicting, pairs, "whose source was there before, with another target")


def _lengths(pairs: PairCounts) -> Iterator[Finding]:
    """Pairs whose sides have unusually unequal lengths, and very long pairs."""

    def ratios() -> Iterator[tuple[int, Values, NDArray[np.bool_]]]:
        for start, records in chunks(pairs.records):
            source, target = records["filled"].T
            yield start, np.log((source + 5) / (target + 5)), (source > 0) & (target > 0)

    usual = median(lambda: (values[filled] for _, values, filled in ratios()))
    odd, long = Tally(), Tally()
    for start, values, filled in ratios():
        odd.add(start + np.flatnonzero(filled & (np.abs(values - usual) > np.log(UNEQUAL))))
    for start, records in chunks(pairs.records):
        long.add(start + np.flatnonzero(records["filled"].max(axis=1) > LONG_TEXT))
    what = f"whose sides differ {UNEQUAL} times more in length than is usual here"
    yield from _tally("note", odd, pairs, what, "look at some: they may not be translations")
    what = f"with more than {LONG_TEXT} characters; training leaves out very long pairs"
    yield from _tally("note", long, pairs, what, "--longest N, to set how long")


def _scripts(pairs: PairCounts) -> Iterator[Finding]:
    """Texts in another script than most of their side."""
    for name, side in zip(("source", "target"), pairs.scripts, strict=True):
        if not side.usual:
            continue
        what = f"whose {name} is not in {_spelled(side.usual)} letters, as most are"
        hint = "look at some: they may be in the wrong language, or their sides exchanged"
        yield from _tally("note", side.others, pairs, what, hint)


def _spelled(script: str) -> str:
    return script if script == "CJK" else script.title()


def _shared(found: SharedSources, name: str) -> Iterator[Finding]:
    """Sources that are also in the other pairs."""
    if not found.count:
        yield Finding("note", 0, f"none of the sources of {name} is here too")
    else:
        level: Level = "fault" if found.count >= OVERLAP_FAULT * found.total else "note"
        what = f"{percentage(found.count, found.total)} of the sources of {name} are here too"
        yield Finding(level, found.first + 1, what, "take them out, or scores are too good")


def _flags(names: Sequence[str], *, two_files: bool, columns: Columns | None) -> str:
    """The arguments of training that name the same pairs, quoted for a shell."""
    if two_files:
        return f"--source {shlex.quote(names[0])} --target {shlex.quote(names[1])}"
    return shlex.join([*names, *(["--columns", ",".join(columns)] if columns else [])])


def _estimate(pairs: PairCounts, flags: str) -> Finding:
    """An estimate of the training time, from the speed of matrix products on this machine."""
    tokens = pairs.target_bytes / BYTES_PER_TOKEN + pairs.count
    speed = EFFICIENCY * _products_per_second() / OPERATIONS_PER_TOKEN
    minutes = PASSES * tokens / speed / 60
    shown = f"{minutes / 60:.0f} hours" if minutes > 100 else "a minute" if minutes < 1.5 else f"{minutes:.0f} minutes"
    hint = f"nlpseq train translation {flags} --minutes {max(1, round(minutes))}"
    return Finding("note", 0, f"{PASSES} passes of training take about {shown} here, very roughly", hint)


def _products_per_second() -> float:
    matrix = np.ones((768, 768), np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return 2 * 768**3 / sorted(times)[2]
