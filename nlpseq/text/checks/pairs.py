"""Faults in parallel text, found before hours are spent on it.

A fault makes a model learn nonsense, or makes its scores too good: files whose lines are shifted, test pairs in the
training data. A note is worth knowing: sides that are blank, equal, of very unequal length or in another script.
Findings rest on lengths, letters and equality alone, so they do not depend on the language; the price is that a wrong
translation is not found.
"""

from __future__ import annotations

import shlex
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

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
from nlpseq.text.checks.shifts import first_shift
from nlpseq.text.readers.rows import text_lines
from nlpseq.text.readers.table import one_line
from nlpseq.text.tables.pair_tables import Columns
from nlpseq.text.tables.parallel import FEWEST, Pairs, read_parallel

SHOWN = 8  # pairs before and after the first one that is out of step
UNEQUAL = 4  # times the usual ratio of the two lengths
FEW_LETTERS = 5  # fewer do not show a script
LONG_TEXT = 800  # characters; training leaves out longer texts, roughly
IDENTICAL_FAULT = 0.2  # fraction of the pairs
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
) -> list[Finding]:
    """Check the parallel text that `read_parallel` reads, and count the sources that are also in `against`.

    First comes a note of the size, then the faults, then the notes, and last an estimate of the training time. Raises
    CorpusError if `against` cannot be read; if the pairs themselves cannot be read, that is a fault.
    """
    try:
        pairs = (
            Pairs(_lines(names[0]), _lines(names[1]))
            if two_files
            else read_parallel(names, two_files=False, columns=columns, keep_blank=True)
        )
    except CorpusError as error:
        return [reading_fault(error, names)]
    if len(pairs.sources) != len(pairs.targets):
        return [_unequal(pairs, shlex.join(names)), *_steps(pairs, shlex.join(names))]
    other = read_parallel(against, two_files=len(against) == 2 and two_files, columns=columns) if against else None
    findings = [
        *_too_few(pairs),
        *_steps(pairs, shlex.join(names)),
        *_blank(pairs),
        *_equal(pairs),
        *_repeated(pairs),
        *_lengths(pairs),
        *_scripts(pairs),
    ]
    if other is not None:
        findings += _shared(pairs, other, " ".join(against))
    found = faults_first([*reading_notes(pairs.notes, names), *findings])
    flags = _flags(names, two_files=two_files, columns=columns)
    return [_summary(pairs), *found, *([_estimate(pairs, flags)] if len(pairs) >= FEWEST else [])]


def _summary(pairs: Pairs) -> Finding:
    characters = [sum(map(len, side)) for side in (pairs.sources, pairs.targets)]
    words = [sum(len(text.split()) for text in side) for side in (pairs.sources, pairs.targets)]
    sides = (
        f"{words[side]:,} words and {characters[side]:,} characters of {('source', 'target')[side]}" for side in (0, 1)
    )
    return Finding("note", 0, f"{_pairs(len(pairs))}, {', '.join(sides)}")


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"


def _tally(
    level: Level, indices: Sequence[int] | NDArray[np.int64], total: int, what: str, hint: str = ""
) -> Iterator[Finding]:
    """A finding on the pairs at `indices`, if there are any."""
    if len(indices):
        yield Finding(
            level,
            int(indices[0]) + 1,
            f"{len(indices):,} of {_pairs(total)} ({percentage(len(indices), total)}) {what}",
            hint,
        )


def _lines(name: str) -> list[str]:
    return [one_line(line) for line in text_lines(name)]


def _unequal(pairs: Pairs, names: str) -> Finding:
    what = "the files must have the same number of lines"
    counts = f"{len(pairs.sources):,} and {len(pairs.targets):,}"
    return Finding("fault", 0, f"{what}, but have {counts}", f"paste {names} | less")


def _too_few(pairs: Pairs) -> Iterator[Finding]:
    filled = sum(
        bool(source.strip() and target.strip()) for source, target in zip(pairs.sources, pairs.targets, strict=True)
    )
    if filled < FEWEST:
        what = f"training needs at least {FEWEST} pairs with text on both sides, but there are {filled}"
        yield Finding("fault", 0, what, "more pairs; for a first try the bundled ones: nlpseq train translation")


def _steps(pairs: Pairs, names: str) -> Iterator[Finding]:
    """A line from which one side has lines too many."""
    shift = first_shift(pairs.sources, pairs.targets)
    if shift is not None:
        sides = ("target", "source") if shift.lines > 0 else ("source", "target")
        count = abs(shift.lines)
        what = f"out of step from about here on: the {sides[0]} has {count} line{'s' * (count > 1)} too many"
        line = shift.first + 1
        hint = f"paste {names} | sed -n {max(1, line - SHOWN)},{line + SHOWN}p"
        yield Finding("fault", line, f"{what}, or the {sides[1]} too few", hint)


def _blank(pairs: Pairs) -> Iterator[Finding]:
    both = zip(pairs.sources, pairs.targets, strict=True)
    indices = [index for index, (source, target) in enumerate(both) if not (source.strip() and target.strip())]
    yield from _tally("note", indices, len(pairs), "with a blank side; training drops such pairs")


def _equal(pairs: Pairs) -> Iterator[Finding]:
    both = zip(pairs.sources, pairs.targets, strict=True)
    indices = [
        index for index, (source, target) in enumerate(both) if source.strip() and source.strip() == target.strip()
    ]
    level: Level = "fault" if len(indices) > IDENTICAL_FAULT * len(pairs) else "note"
    what = "with two equal sides; untranslated text teaches a model to copy"
    yield from _tally(level, indices, len(pairs), what)


def _repeated(pairs: Pairs) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    sources: dict[str, str] = {}
    repeated, contradicting = [], []
    for index, pair in enumerate(zip(pairs.sources, pairs.targets, strict=True)):
        if not pair[0].strip():
            continue
        if pair in seen:
            repeated.append(index)
        elif sources.setdefault(*pair) != pair[1]:
            contradicting.append(index)
        seen.add(pair)
    what = "that were there before; repeated text is learned by heart"
    yield from _tally("note", repeated, len(pairs), what)
    yield from _tally("note", contradicting, len(pairs), "whose source was there before, with another target")


def _lengths(pairs: Pairs) -> Iterator[Finding]:
    """Pairs whose sides have unusually unequal lengths, and very long pairs."""
    lengths = np.array([[len(text.strip()) for text in side] for side in (pairs.sources, pairs.targets)])
    ratios = np.log((lengths[0] + 5) / (lengths[1] + 5))
    filled = (lengths > 0).all(0)
    usual = float(np.median(ratios[filled])) if filled.any() else 0.0
    odd = np.flatnonzero(filled & (np.abs(ratios - usual) > np.log(UNEQUAL)))
    what = f"whose sides differ {UNEQUAL} times more in length than is usual here"
    yield from _tally("note", odd, len(pairs), what, "look at some: they may not be translations")
    yield from _tally(
        "note",
        np.flatnonzero(lengths.max(0) > LONG_TEXT),
        len(pairs),
        f"with more than {LONG_TEXT} characters; training leaves out very long pairs",
        "--longest N, to set how long",
    )


def _scripts(pairs: Pairs) -> Iterator[Finding]:
    """Texts in another script than most of their side."""
    for name, side in (("source", pairs.sources), ("target", pairs.targets)):
        counted = [_letters(text) for text in side]
        total = sum(counted, Counter[str]())
        if not total:
            continue
        usual = total.most_common(1)[0][0]
        odd = [
            index
            for index, count in enumerate(counted)
            if sum(count.values()) >= FEW_LETTERS and 2 * count[usual] < sum(count.values())
        ]
        what = f"whose {name} is not in {_spelled(usual)} letters, as most are"
        hint = "look at some: they may be in the wrong language, or their sides exchanged"
        yield from _tally("note", odd, len(pairs), what, hint)


def _spelled(script: str) -> str:
    return script if script == "CJK" else script.title()


def _letters(text: str) -> Counter[str]:
    return Counter(script for script in map(_script, text) if script)


@cache
def _script(character: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN; Chinese and Japanese count as one script."""
    if not character.isalpha():
        return ""
    word = unicodedata.name(character, "?").split()[0]
    return "CJK" if word in ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC") else word


def _shared(pairs: Pairs, other: Pairs, name: str) -> Iterator[Finding]:
    """Sources that are also in the other pairs."""
    theirs = {text.strip() for text in other.sources}
    indices = [index for index, text in enumerate(pairs.sources) if text.strip() in theirs]
    if not indices:
        yield Finding("note", 0, f"none of the sources of {name} is here too")
    else:
        count = len({pairs.sources[index].strip() for index in indices})
        level: Level = "fault" if count >= OVERLAP_FAULT * len(theirs) else "note"
        what = f"{percentage(count, len(theirs))} of the sources of {name} are here too"
        yield Finding(level, indices[0] + 1, what, "take them out, or scores are too good")


def _flags(names: Sequence[str], *, two_files: bool, columns: Columns | None) -> str:
    """The arguments of training that name the same pairs, quoted for a shell."""
    if two_files:
        return f"--source {shlex.quote(names[0])} --target {shlex.quote(names[1])}"
    return shlex.join([*names, *(["--columns", ",".join(columns)] if columns else [])])


def _estimate(pairs: Pairs, flags: str) -> Finding:
    """An estimate of the training time, from the speed of matrix products on this machine."""
    tokens = sum(len(text.encode("utf-8", "replace")) for text in pairs.targets) / BYTES_PER_TOKEN + len(pairs)
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
