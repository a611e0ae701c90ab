"""The labels of a text that has any number of them, as one text.

A set of labels is written as its labels, sorted, with a tab after each but the last. No label has a tab in it. So equal
sets are equal texts, which are hashed, kept and compared as a single label is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nlpseq.errors import CorpusError, OptionError

BETWEEN = "\t"
COMMA = ","


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
            what = f"its label {label[:40]!r} has a tab, which separates the columns that `classify` writes"
            raise CorpusError(where, what, "write a space instead")
    return BETWEEN.join(found)


def check_separator(separator: str) -> None:
    """Raises OptionError for a separator that cannot separate labels."""
    if not separator or '"' in separator or "\n" in separator or separator.isalnum():
        what = "must be one or more characters other than letters, digits, quotes and line ends"
        raise OptionError("label_separator", f"{what}, was {separator!r}", "--label-separator ,")


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


def comma_separated(labels: Sequence[str]) -> str:
    """Labels with commas between them, as `split_labels` reads them; those with a comma or a quote are quoted."""
    return COMMA.join(
        '"' + label.replace('"', '""') + '"' if COMMA in label or label.startswith('"') else label for label in labels
    )


def counts_each(labels: int, texts: int) -> str:
    """The average number of labels of texts in words."""
    return f"{labels / max(1, texts):.1f} labels each"
