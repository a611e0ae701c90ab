"""The labels of a text that has any number of them, as one text.

A set of labels is written as its labels, sorted, with a tab after each but the last. No label has a tab in it. So equal
sets are equal texts, which are hashed, kept and compared as a single label is.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from nlpseq.errors import CorpusError, OptionError
from nlpseq.text.display import quoted

BETWEEN = "\t"
COMMA = ","
SEPARATORS = (COMMA, ";", "|")  # that are usual between labels
IN_SEVERAL = 0.75  # fraction of the parts of joined labels that occur in other labels too


def label_set(labels: str) -> list[str]:
    """The labels of a text, sorted."""
    return labels.split(BETWEEN) if labels else []


def joined_labels(where: str, labels: Iterable[str]) -> str:
    """The labels of a text as one text; blank ones and repetitions are left out.

    Raises CorpusError for a label with a tab in it.
    """
    found = sorted({label.strip() for label in labels} - {""})
    for label in found:
        if BETWEEN in label:
            what = f"its label {quoted(label[:40])} has a tab, which separates the columns that `classify` writes"
            raise CorpusError(where, what, "write a space instead")
    return BETWEEN.join(found)


def check_separator(separator: str) -> None:
    """Raises OptionError for a separator that cannot separate labels."""
    if not separator or '"' in separator or "\n" in separator or separator.isalnum():
        what = "must be one or more characters other than letters, digits, quotes and line ends"
        raise OptionError("label_separator", f"{what}, was {quoted(separator)}", "--label-separator ,")


def split_labels(text: str, separator: str) -> list[str]:
    """The labels that a cell holds; one in double quotes may have the separator in it, and a quote as two."""
    quoted = r'\s*"((?:[^"]|"")*)"\s*(?:' + re.escape(separator) + "|$)"
    labels = []
    while text:
        match = re.match(quoted, text)
        if match:
            labels.append(match[1].replace('""', '"'))
            text = text[match.end() :]
        else:
            label, _, text = text.partition(separator)
            labels.append(label)
    return labels


def likely_separator(labels: Collection[str]) -> str | None:
    """The separator of labels that look like several labels in one, because they are made of the same parts."""
    for separator in SEPARATORS:
        split = [[part for part in map(str.strip, label.split(separator)) if part] for label in labels]
        labels_with = Counter(part for parts in split for part in set(parts))
        joined = [part for parts in split if len(parts) > 1 for part in parts]
        if joined and sum(labels_with[part] > 1 for part in joined) >= IN_SEVERAL * len(joined):
            return separator
    return None


def several_in_one(labels: Collection[str]) -> tuple[str, str] | None:
    """What to say about labels that look like several labels in one, and a hint; None for other labels."""
    separator = likely_separator(labels)
    if separator is None:
        return None
    count = sum(separator in label for label in labels)
    example = quoted(next(label for label in labels if separator in label)[:40])
    looks = f"1 label looks like several: {example}"
    many = f"{count:,} of {len(labels):,} labels look like several, such as {example}"
    return looks if count == 1 else many, f"--label-separator {shlex.quote(separator)}"


def alike_labels(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of labels that differ in capital letters and spaces only: the first of its kind, and each other one."""
    pairs, firsts = list[tuple[str, str]](), dict[str, str]()
    for label in labels:
        first = firsts.setdefault(" ".join(label.lower().split()), label)
        if first != label:
            pairs.append((first, label))
    return pairs


def comma_separated(labels: Sequence[str]) -> str:
    """Labels with commas between them, as `split_labels` reads them; those with a comma or a quote are quoted."""
    return COMMA.join(
        '"' + label.replace('"', '""') + '"' if COMMA in label or label.startswith('"') else label for label in labels
    )


def counts_each(labels: int, texts: int) -> str:
    """The average number of labels of texts in words."""
    return f"{labels / max(1, texts):.1f} labels each"
