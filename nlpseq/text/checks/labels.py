"""Faults in labelled texts, found before time is spent on them.

A fault makes a model learn nonsense, or makes its scores too good: a single label, many texts with two labels, test
texts in the training data. A note is worth knowing: the balance of labels, repeated and blank texts, labels that are
seen once or look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import LabelledTexts, label_names, read_labelled, repeated, shared

UNBALANCED = 10  # ratio of the numbers of texts of the most frequent and the rarest label
CONTRADICTING_FAULT = 0.02  # fraction of the texts
LONG_TEXT = 20_000  # characters
SHOWN = 12  # labels


def check_labelled(
    names: Sequence[str], *, columns: LabelColumns | None = None, against: Sequence[str] = ()
) -> list[Finding]:
    """Check labelled texts, and count those that are also in `against`, such as a test set.

    First comes a note of the labels, then the faults, then the notes. Raises CorpusError if `against` cannot be read;
    if the texts themselves cannot be read, that is a fault.
    """
    try:
        texts = read_labelled(names, columns)
    except CorpusError as error:
        return [reading_fault(error, names)]
    findings = [*_labels(texts, names[0]), *_repeated(texts), *_blank_and_long(texts)]
    if against:
        findings += _shared(texts, read_labelled(against, columns), " ".join(against))
    return [_summary(texts), *faults_first([*reading_notes(texts.notes, names), *findings])]


def _summary(texts: LabelledTexts) -> Finding:
    counts = texts.counts.most_common()
    shown = ", ".join(f"{label!r} {count:,} ({percentage(count, len(texts))})" for label, count in counts[:SHOWN])
    more = f", and {len(counts) - SHOWN:,} more labels" if len(counts) > SHOWN else ""
    characters = sum(map(len, texts.texts))
    return Finding("note", 0, f"{len(texts):,} texts, {characters:,} characters: {shown}{more}")


def _labels(texts: LabelledTexts, name: str) -> Iterator[Finding]:
    counts = texts.counts
    try:
        label_names(texts, name)
    except CorpusError as error:
        yield Finding("fault", 0, error.what, error.hint)
    (most, many), (rarest, few) = counts.most_common()[0], counts.most_common()[-1]
    if many > UNBALANCED * few > UNBALANCED:
        what = f"there are {many / few:.0f} times as many texts of {most!r} as of {rarest!r}"
        yield Finding("note", 0, what, "--class-weights balanced, and --criterion macro-f1")
    for label in [label for label, count in counts.items() if count == 1][:SHOWN]:
        what = f"the label {label!r} is seen once and cannot be learned"
        yield Finding("note", _line(texts, texts.labels.index(label)), what)
    alike: dict[str, str] = {}
    for label in counts:
        other = alike.setdefault(" ".join(label.lower().split()), label)
        if other != label:
            yield Finding("note", _line(texts, texts.labels.index(label)), f"{other!r} and {label!r} are two labels")


def _repeated(texts: LabelledTexts) -> Iterator[Finding]:
    same, other = repeated(texts)
    yield from _tally("note", same, texts, "were there before")
    level: Level = "fault" if len(other) > CONTRADICTING_FAULT * len(texts) else "note"
    yield from _tally(level, other, texts, "were there before with another label: no model can get both right")


def _blank_and_long(texts: LabelledTexts) -> Iterator[Finding]:
    if texts.blank:
        what = "1 row has" if texts.blank == 1 else f"{texts.blank:,} rows have"
        yield Finding("note", 0, f"{what} a blank label or text; training leaves such rows out")
    long = [index for index, text in enumerate(texts.texts) if len(text) > LONG_TEXT]
    what = f"have more than {LONG_TEXT:,} characters; training reads the start and the end of a long text"
    yield from _tally("note", long, texts, what, "--longest N, to set how much")


def _shared(texts: LabelledTexts, other: LabelledTexts, name: str) -> Iterator[Finding]:
    """Texts that are also among the other texts, and labels that only the other texts have."""
    indices = shared(texts, other)
    if not indices:
        yield Finding("note", 0, f"none of the texts of {name} is here too")
    else:
        count = len(shared(other, texts))
        level: Level = "fault" if count >= OVERLAP_FAULT * len(other) else "note"
        what = f"{percentage(count, len(other))} of the texts of {name} are here too"
        yield Finding(level, _line(texts, indices[0]), what, "take them out, or scores are too good")
    if unknown := sorted(set(other.labels) - set(texts.labels)):
        yield Finding("fault", 0, f"{name} has labels that are not here: {', '.join(unknown[:SHOWN])}")


def _tally(level: Level, indices: Sequence[int], texts: LabelledTexts, what: str, hint: str = "") -> Iterator[Finding]:
    if indices:
        counted = f"{len(indices):,} of {len(texts):,} texts ({percentage(len(indices), len(texts))})"
        yield Finding(level, _line(texts, indices[0]), f"{counted} {what}", hint)


def _line(texts: LabelledTexts, index: int) -> int:
    """The line of a text in its file; 0 if the text is a whole file."""
    number = texts.origins[index].rpartition(":")[2]
    return int(number) if number.isdecimal() else 0
