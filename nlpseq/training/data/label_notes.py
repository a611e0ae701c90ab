"""Notes on the labelled texts of a run, from the facts that its model file keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlpseq.text.display import quoted
from nlpseq.text.tables.label_sets import alike_labels, counts_each, several_in_one

SHOWN_LABELS = 6


def text_notes(facts: Mapping[str, Any], longest: int) -> list[str]:
    """Notes for the user: the labels, and the numbers of texts left out, repeated, contradicting or cut."""
    counted = sorted(zip(facts["label_counts"], facts["labels"], strict=True), reverse=True)
    shown = ", ".join(f"{quoted(label)} {count:,}" for count, label in counted[:SHOWN_LABELS])
    rest = f" and {len(counted) - SHOWN_LABELS:,} more labels" if len(counted) > SHOWN_LABELS else ""
    valid = f"{facts['valid_texts']:,} {'given' if facts['valid_is'] == 'given' else 'held out'} for validation"
    several = bool(facts.get("several_labels"))
    each = f", {counts_each(sum(facts['label_counts']), facts['texts'])}" if several else ""
    notes = [f"{_texts(facts['texts'])} to train on{each}: {shown}{rest}; {valid}"]
    for fact, what in (
        ("blank", f"left out, because the {'' if several else 'label or the '}text is blank"),
        ("unlabelled", "without a label: no label applies to them"),
        ("repeated", f"repeated with the same label{'s' * several}"),
        ("contradicting", f"repeated with {'other labels' if several else 'another label'}"),
        ("in_both_parts", "also in the validation part: its scores are too good"),
        ("cut", f"of more than {longest:,} tokens, whose middle is left out (--longest)"),
    ):
        if facts.get(fact):
            notes.append(f"{_texts(facts[fact])} {what}")
    if not several and (told := several_in_one(facts["labels"])):
        notes.append(": ".join(told))
    if alike := [f"{quoted(first)} and {quoted(label)}" for first, label in alike_labels(facts["labels"])]:
        notes.append(f"two labels each, though they look like one: {', '.join(alike[:SHOWN_LABELS])}")
    if rare := [label for count, label in counted if count == 1]:
        notes.append(f"labels with a single text: {', '.join(map(quoted, rare[:SHOWN_LABELS]))}")
    return notes


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count:,} texts"
