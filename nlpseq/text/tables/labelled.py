"""Labelled texts: a label and a text each, read from tables, and how some are held out.

What is held out depends on the texts alone, not on their order or on chance: of each label those whose hashes are the
smallest. So the same corpus is always split the same way, a text that stands there twice is on one side, and adding
texts moves few of the others. Texts are held in memory.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from unicodedata import category

from nlpseq.errors import CorpusError
from nlpseq.text.encodings import to_utf8
from nlpseq.text.signature import rows_sha256
from nlpseq.text.tables.label_tables import LabelColumns, read_labelled_table
from nlpseq.text.tables.notes import gather

HELD_OUT = 0.1  # of each label's texts, where no others are given for validation
MOST_HELD_OUT = 5000
MOST_LABELS = 1000
LONGEST_LABEL = 200  # characters
FEWEST = 20  # texts
SHOWN = 8  # labels
WITHOUT_SPACES = 15  # characters from one space to the next, from which on a text is taken to be written without


@dataclass
class LabelledTexts:
    """Labels and texts in step, and how many rows were dropped because either was blank.

    `notes` say how the tables were read, the chosen columns first of all.
    """

    labels: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)  # FILE:LINE of each
    blank: int = 0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def counts(self) -> Counter[str]:
        """How many texts there are of each label."""
        return Counter(self.labels)

    @property
    def sha256(self) -> str:
        """A hash of all labels and texts."""
        return rows_sha256(zip(self.labels, self.texts, strict=True))

    def chosen(self, which: Iterable[int]) -> LabelledTexts:
        """Some of them."""
        kept = list(which)
        labels, texts, places = ([side[one] for one in kept] for side in (self.labels, self.texts, self.places))
        return LabelledTexts(labels, texts, places)


def read_labelled(names: Sequence[str], columns: LabelColumns | None = None) -> LabelledTexts:
    """All labelled texts of the tables `names`, but for those with a blank label or text.

    Raises CorpusError for a file that cannot be read or is no such table, for a label that no line could hold, and
    where no text is left.
    """
    found = LabelledTexts()
    notes: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for label, text, where in read_labelled_table(name, columns or LabelColumns(), notes[name]):
            if not (label and text.strip()):
                found.blank += 1
                continue
            _check_label(label, where)
            found.labels.append(label)
            found.texts.append(text)
            found.places.append(where)
    if not found:
        blank = f", only {found.blank:,} where one is blank" if found.blank else ""
        raise CorpusError(names[0], f"it holds no text with a label{blank}", "a label and a text in each row")
    found.notes = gather(notes)
    return found


def _check_label(label: str, where: str) -> None:
    if "\t" in label or "\n" in label:
        what = f"its label {label[:40]!r} holds a tab or a line end, which part the columns of what `classify` writes"
        raise CorpusError(where, what, "put a space in its place")
    if any(category(character) in ("Cc", "Cs") for character in label):
        what = f"its label {label[:40]!r} holds a control character or half of a character, which no line shows"
        raise CorpusError(where, what, "leave such characters out")
    if len(label) > LONGEST_LABEL:
        what = f"its label has {len(label):,} characters, and may have {LONGEST_LABEL}: {label[:40]!r}.."
        raise CorpusError(where, what, "--label-column NAME --text-column NAME, if the two are confused")


def label_names(texts: LabelledTexts, name: str) -> list[str]:
    """The labels there are, sorted. Raises CorpusError for fewer than two, for too many, and for too few texts."""
    counts = texts.counts
    if len(counts) < 2:
        what = f"it needs texts of at least two labels, all {len(texts):,} are {texts.labels[0]!r}"
        raise CorpusError(name, what, "--label-column NAME, if that is not the label")
    if len(texts) < FEWEST:
        what = f"it needs at least {FEWEST} texts with labels, has {len(texts)}"
        raise CorpusError(name, what, "more texts; for a first try the bundled ones: nlpseq train sentiment reviews")
    if len(counts) > MOST_LABELS or 2 * len(counts) > len(texts):
        what = f"it has {len(counts):,} different labels for {len(texts):,} texts, as {next(iter(counts))[:40]!r}"
        raise CorpusError(name, what, "--label-column NAME --text-column NAME, if the two are confused")
    return sorted(counts, key=lambda label: (len(label) if label.isdecimal() else 0, label))


def split(texts: LabelledTexts) -> tuple[LabelledTexts, LabelledTexts]:
    """What is trained on, and what is held out of it: a tenth of each label's texts, one at least if there are two."""
    share = min(HELD_OUT, MOST_HELD_OUT / len(texts))
    by_label: dict[str, list[int]] = {}
    for place, label in enumerate(texts.labels):
        by_label.setdefault(label, []).append(place)
    held_out: set[int] = set()
    for places in by_label.values():
        wanted = max(round(share * len(places)), min(1, len(places) - 1))
        held_out.update(sorted(places, key=lambda place: _rank(texts.texts[place]))[:wanted])
    kept = [place for place in range(len(texts)) if place not in held_out]
    train = texts.chosen(kept)
    train.blank, train.notes = texts.blank, texts.notes
    return train, texts.chosen(sorted(held_out))


def read_parts(
    names: Sequence[str], valid: Sequence[str], columns: LabelColumns | None
) -> tuple[LabelledTexts, LabelledTexts]:
    """What is trained on, and what is validated on. Raises CorpusError where there is too little of either."""
    texts = read_labelled(names, columns)
    if not valid:
        label_names(texts, names[0])
        return split(texts)
    held_out = read_labelled(valid, columns)
    check_known(held_out, label_names(texts, names[0]))
    return texts, held_out


def check_known(texts: LabelledTexts, known: Sequence[str]) -> None:
    """Raises CorpusError for a text whose label is not one of those known."""
    unknown = {label: count for label, count in texts.counts.items() if label not in known}
    if unknown:
        first = next(place for label, place in zip(texts.labels, texts.places, strict=True) if label in unknown)
        what = f"labels that were not trained on: {_listed(unknown)}; known are {', '.join(map(repr, known))[:200]}"
        raise CorpusError(first, what, "take such texts out; or --label-column NAME, if that is not the label")


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{label!r} ({count:,} texts)" for label, count in list(counts.items())[:SHOWN]]
    return ", ".join(shown) + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")


def _rank(text: str) -> bytes:
    return hashlib.blake2b(to_utf8(text.strip()), digest_size=8).digest()


def repeated(texts: LabelledTexts) -> tuple[list[int], list[int]]:
    """Places of texts that were there before, with the same label and with another."""
    first: dict[str, int] = {}
    same: list[int] = []
    other: list[int] = []
    for place, text in enumerate(texts.texts):
        before = first.setdefault(text.strip(), place)
        if before != place:
            (same if texts.labels[before] == texts.labels[place] else other).append(place)
    return same, other


def shared(texts: LabelledTexts, others: LabelledTexts) -> list[int]:
    """Places of the texts that stand among the others, too."""
    theirs = {text.strip() for text in others.texts}
    return [place for place, text in enumerate(texts.texts) if text.strip() in theirs]


def has_no_spaces(texts: Sequence[str]) -> bool:
    """Whether texts are of a script that parts no words, as Chinese."""
    return sum(map(len, texts)) > WITHOUT_SPACES * sum(text.count(" ") + 1 for text in texts)
