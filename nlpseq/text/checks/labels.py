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
from nlpseq.text.checks.label_counts import LONG_TEXT, MOST_COUNTED, EqualTexts, LabelCounts, Places, compare
from nlpseq.text.display import quoted
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.tables.label_sets import alike_labels, counts_each, several_in_one
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import add_labelled, label_names

UNBALANCED = 10  # ratio of the numbers of texts of the most frequent and the rarest label
CONTRADICTING_FAULT = 0.02  # fraction of the texts
SHOWN = 12  # labels


def check_labelled(
    names: Sequence[str],
    *,
    columns: LabelColumns | None = None,
    against: Sequence[str] = (),
    watch: Watch = unwatched,
) -> list[Finding]:
    """Check labelled texts, and count those that are also in `against`, such as a test set.

    `watch` is told how many texts were read. First comes a note of the labels, then the faults, then the notes. Raises
    CorpusError if `against` cannot be read, and RunError if the temporary file cannot be written; if the texts
    themselves cannot be read, that is a fault.
    """
    texts = LabelCounts()
    try:
        add_labelled(texts, names, columns, watch)
    except CorpusError as error:
        return [reading_fault(error, names)]
    others = LabelCounts(texts.several)
    if against:
        add_labelled(others, against, columns, watch)
    equal = compare(texts, others)
    findings = [*_labels(texts, names[0]), *_repeated(texts, equal), *_blank_and_long(texts)]
    if against:
        findings += _shared(texts, others, equal, " ".join(against))
    return [_summary(texts), *faults_first([*reading_notes(texts.notes, names), *findings])]


def _summary(texts: LabelCounts) -> Finding:
    counts = texts.counts.most_common()
    shown = ", ".join(f"{quoted(label)} {count:,} ({percentage(count, len(texts))})" for label, count in counts[:SHOWN])
    more = f", and {len(counts) - SHOWN:,} more labels" if len(counts) > SHOWN else ""
    each = f", {counts_each(sum(texts.counts.values()), len(texts))}" if texts.several else ""
    return Finding("note", 0, f"{len(texts):,} texts, {texts.characters:,} characters{each}: {shown}{more}")


def _labels(texts: LabelCounts, name: str) -> Iterator[Finding]:
    counts = texts.counts
    try:
        label_names(texts, name)
    except CorpusError as error:
        yield Finding("fault", 0, error.what, error.hint)
    if texts.uncounted:
        what = f"only the first {MOST_COUNTED:,} different labels are counted; {texts.uncounted:,} texts have others"
        yield Finding("note", 0, what)
    if texts.several:
        yield from _label_sets(texts)
    elif told := several_in_one(counts):
        yield Finding("note", 0, *told)
    if not counts:
        return
    (most, many), (rarest, few) = counts.most_common()[0], counts.most_common()[-1]
    if many > UNBALANCED * few > UNBALANCED:
        what = f"there are {many / few:.0f} times as many texts of {quoted(most)} as of {quoted(rarest)}"
        yield Finding("note", 0, what, "--class-weights balanced, and --criterion macro-f1")
    for label in [label for label, count in counts.items() if count == 1][:SHOWN]:
        what = f"the label {quoted(label)} is seen once and cannot be learned"
        yield Finding("note", texts.first_line(label), what)
    for first, label in alike_labels(counts):
        yield Finding("note", texts.first_line(label), f"{quoted(first)} and {quoted(label)} are two labels")


def _label_sets(texts: LabelCounts) -> Iterator[Finding]:
    """What only texts with several labels have."""
    yield from _tally("note", texts.unlabelled, texts, "have no label: training learns that no label applies to them")
    for label in [label for label, count in texts.counts.items() if count == len(texts)]:
        yield Finding("note", 0, f"all texts have the label {quoted(label)}: there is nothing to learn about it")
    if sum(texts.counts.values()) == len(texts) - texts.unlabelled.count:
        hint = "one label a text in place of a list, or no --label-separator, if a text never has several"
        yield Finding("note", 0, "no text has more than one label, but each label is learned by itself", hint)


def _repeated(texts: LabelCounts, equal: EqualTexts) -> Iterator[Finding]:
    yield from _tally("note", equal.same, texts, "were there before")
    level: Level = "fault" if equal.other.count > CONTRADICTING_FAULT * len(texts) else "note"
    yield from _tally(level, equal.other, texts, "were there before with another label: no model can get both right")


def _blank_and_long(texts: LabelCounts) -> Iterator[Finding]:
    if texts.blank:
        what = "1 row has" if texts.blank == 1 else f"{texts.blank:,} rows have"
        side = "text" if texts.several else "label or text"
        yield Finding("note", 0, f"{what} a blank {side}; training leaves such rows out")
    what = f"have more than {LONG_TEXT:,} characters; training reads the start and the end of a long text"
    yield from _tally("note", texts.long, texts, what, "--longest N, to set how much")


def _shared(texts: LabelCounts, others: LabelCounts, equal: EqualTexts, name: str) -> Iterator[Finding]:
    """Texts that are also among the other texts, and labels that only the other texts have."""
    count = equal.shared.count
    if not count:
        yield Finding("note", 0, f"none of the texts of {name} is here too")
    else:
        level: Level = "fault" if count >= OVERLAP_FAULT * len(others) else "note"
        what = f"{percentage(count, len(others))} of the texts of {name} are here too"
        yield Finding(level, equal.shared.line, what, "take them out, or scores are too good")
    unknown = sorted(others.counts.keys() - texts.counts.keys())
    if unknown and not texts.uncounted:
        yield Finding("fault", 0, f"{name} has labels that are not here: {', '.join(unknown[:SHOWN])}")


def _tally(level: Level, found: Places, texts: LabelCounts, what: str, hint: str = "") -> Iterator[Finding]:
    if found.count:
        counted = f"{found.count:,} of {len(texts):,} texts ({percentage(found.count, len(texts))})"
        yield Finding(level, found.line, f"{counted} {what}", hint)
