"""Labelled texts, read from tables into memory, and what is asked of their labels.

Training keeps its texts in temporary files (`stored_labelled.py`). What looks at the texts as a whole, such as a check
or an evaluation, keeps them in memory.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from unicodedata import category

from nlpseq.errors import CorpusError
from nlpseq.text.beginnings import beginning
from nlpseq.text.display import quoted
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.signature import rows_sha256
from nlpseq.text.tables.label_sets import label_set
from nlpseq.text.tables.label_tables import NOT_NAMED, LabelColumns, read_labelled_table
from nlpseq.text.tables.notes import gather

MOST_LABELS = 1000
LONGEST_LABEL = 200  # characters
FEWEST = 20  # texts
SHOWN = 8  # labels
NOT_THE_LABEL = "take such texts out; or --label-column NAME, if that is not the label"
NEW_MODEL = "take such texts out; or train a new model: leave out --resume, and add --out FOLDER"
KEEP_ONE = "keep one of the labels"
SEPARATED = "--label-separator ';', if a text may have several labels"
WITHOUT_SPACES = 15  # average number of characters between two spaces, in scripts without spaces


class Counted(Protocol):
    """Labelled texts of which only the labels' counts matter."""

    @property
    def several(self) -> bool | None:
        """Whether a text has any number of labels; None until the first table tells."""

    def __len__(self) -> int: ...

    @property
    def counts(self) -> Counter[str]:
        """The number of texts of each label, in the order of each label's first text."""


class Texts(Counted, Protocol):
    """Labelled texts, wherever they are kept."""

    several: bool | None
    blank: int
    notes: list[str]

    def add(self, label: str, text: str, origin: str) -> None:
        """Add a text with its label; with `several` its labels, as `joined_labels` writes them."""

    def origin(self, labels: Container[str]) -> str:
        """The origin of the first text that has one of the labels."""


@dataclass
class LabelledTexts:
    """Labels and texts in parallel lists, and the number of rows dropped because either was blank.

    With `several`, a text's label is all of its labels, as `label_sets.joined_labels` writes them, and may be blank.
    `notes` tell how the tables were read, first the chosen columns.
    """

    labels: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)  # FILE:LINE of each
    blank: int = 0
    notes: list[str] = field(default_factory=list)
    several: bool | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, label: str, text: str, origin: str) -> None:
        """Add a text."""
        self.labels.append(label)
        self.texts.append(text)
        self.origins.append(origin)

    @property
    def counts(self) -> Counter[str]:
        """The number of texts of each label."""
        return Counter(label for labels in self.sets() for label in labels)

    def sets(self) -> Iterable[list[str]]:
        """The labels of each text."""
        return map(label_set, self.labels) if self.several else ([label] for label in self.labels)

    def origin(self, labels: Container[str]) -> str:
        """The origin of the first text that has one of the labels."""
        own = zip(self.sets(), self.origins, strict=True)
        return next(origin for found, origin in own if any(label in labels for label in found))

    @property
    def sha256(self) -> str:
        """A hash of all labels and texts."""
        return rows_sha256(zip(self.labels, self.texts, strict=True))

    def chosen(self, indices: Iterable[int]) -> LabelledTexts:
        """The texts at `indices`."""
        kept = list(indices)
        labels, texts, origins = ([side[index] for index in kept] for side in (self.labels, self.texts, self.origins))
        return LabelledTexts(labels, texts, origins, several=self.several)


def read_labelled(
    names: Sequence[str],
    columns: LabelColumns | None = None,
    watch: Watch = unwatched,
    *,
    several: bool | None = None,
    former: LabelColumns = NOT_NAMED,
) -> LabelledTexts:
    """All labelled texts of the tables `names`, except those with a blank label or text.

    With `several`, a text has any number of labels, which may be none; by default the first table tells. `former` are
    the columns of other texts, which a table that has them is read by if none are named. Raises CorpusError for a file
    that cannot be read or is not such a table, for a label that does not fit in a line, and if no text is left.
    """
    read = LabelledTexts(several=several)
    add_labelled(read, names, columns, watch, former)
    return read


def add_labelled(
    read: Texts,
    names: Sequence[str],
    columns: LabelColumns | None,
    watch: Watch,
    former: LabelColumns = NOT_NAMED,
) -> None:
    """Add the texts of the tables `names`, as `read_labelled` does and with its errors."""
    notes: dict[str, list[str]] = {name: [] for name in names}
    hint = KEEP_ONE if read.several is False else f"{KEEP_ONE}; or {SEPARATED}"
    for name in names:
        rows, read.several = read_labelled_table(
            name, columns or NOT_NAMED, notes[name], several=read.several, hint=hint, former=former
        )
        for label, text, where in watched_rows(rows, watch, "reading"):
            if not text.strip() or not (label or read.several):
                read.blank += 1
                continue
            for single in label_set(label) if read.several else [label]:
                _check_label(single, where)
            read.add(label, text, where)
    if not len(read):
        blank = f", only {read.blank:,} rows with a blank label or text" if read.blank else ""
        raise CorpusError(names[0], f"it has no text with a label{blank}", "a label and a text in each row")
    read.notes = gather(notes)


def _check_label(label: str, where: str) -> None:
    if "\t" in label or "\n" in label:
        what = f"its label {quoted(label[:40])} has a tab or a line end, which end the columns of `classify`"
        raise CorpusError(where, what, "write a space instead")
    if any(category(character) in ("Cc", "Cs") for character in label):
        what = f"its label {quoted(label[:40])} has a control character or half of a character, which cannot be shown"
        raise CorpusError(where, what, "leave such characters out")
    if len(label) > LONGEST_LABEL:
        what = f"its label has {len(label):,} characters, but may have {LONGEST_LABEL}: {quoted(label[:40])}.."
        raise CorpusError(where, what, "--label-column NAME --text-column NAME, if the two are confused")


def label_names(texts: Counted, name: str) -> list[str]:
    """All labels, sorted. Raises CorpusError if there are too few or too many, or too few texts."""
    counts = texts.counts
    if not texts.several and len(counts) < 2:
        what = f"it needs texts of at least two labels, but all {len(texts):,} are {quoted(next(iter(counts)))}"
        sorted_rows = "a larger --take, if the rows are sorted by label; " * (beginning(name).limit is not None)
        raise CorpusError(name, what, f"{sorted_rows}--label-column NAME, if that is not the label")
    if texts.several and not any(0 < count < len(texts) for count in counts.values()):
        labels = f"all {len(texts):,} have {', '.join(map(quoted, counts))[:100]}" if counts else "none has a label"
        what = f"it needs texts with a label and texts without it, but {labels}"
        raise CorpusError(name, what, "--label-column NAME, if those are not the labels; or texts without the label")
    if len(texts) < FEWEST:
        what = f"it needs at least {FEWEST} texts with labels, but has {len(texts)}"
        raise CorpusError(name, what, "more texts; for a first try the bundled ones: nlpseq train sentiment reviews")
    some = f"{len(counts):,} different labels for {len(texts):,} texts, such as {quoted(next(iter(counts))[:40])}"
    if 2 * len(counts) > (sum(counts.values()) if texts.several else len(texts)):
        hint = f"--label-column NAME --text-column NAME; for pairs: nlpseq train translation {shlex.quote(name)}"
        raise CorpusError(name, f"it has {some}", hint)
    if len(counts) > MOST_LABELS:
        hint = "join rare labels into one; or --label-column NAME, if that is not the label"
        raise CorpusError(name, f"it has {some}, but may have {MOST_LABELS:,} labels", hint)
    return sorted_labels(counts)


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Labels in order; numbers by their size."""
    return sorted(labels, key=lambda label: (len(label) if label.isdecimal() else 0, label))


def checked_labels(texts: Texts, name: str, known: Sequence[str] | None, *, held_out: bool) -> Sequence[str]:
    """The labels that training texts may have. Raises CorpusError as `read_parts`.

    `held_out` says that validation texts will be held out of these.
    """
    if known is None:
        return label_names(texts, name)
    check_known(texts, known, NEW_MODEL)
    if held_out:
        label_names(texts, name)
    return known


def check_known(texts: Texts, known: Sequence[str], hint: str = NOT_THE_LABEL) -> None:
    """Raises CorpusError for a text whose label is not known."""
    unknown = {label: count for label, count in texts.counts.items() if label not in known}
    if unknown:
        what = f"training had no such labels: {_listed(unknown)}; known are {', '.join(map(quoted, known))[:200]}"
        raise CorpusError(texts.origin(unknown), what, hint)


def _listed(counts: Mapping[str, int]) -> str:
    shown = [
        f"{quoted(label)} ({'1 text' if count == 1 else f'{count:,} texts'})"
        for label, count in list(counts.items())[:SHOWN]
    ]
    return ", ".join(shown) + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")


def repeated(texts: LabelledTexts) -> tuple[list[int], list[int]]:
    """Indices of texts that repeat an earlier text, with the same label and with another label."""
    first: dict[str, int] = {}
    same: list[int] = []
    other: list[int] = []
    for index, text in enumerate(texts.texts):
        before = first.setdefault(text.strip(), index)
        if before != index:
            (same if texts.labels[before] == texts.labels[index] else other).append(index)
    return same, other


def shared(texts: LabelledTexts, others: LabelledTexts) -> list[int]:
    """Indices of the texts that are also among the others."""
    theirs = {text.strip() for text in others.texts}
    return [index for index, text in enumerate(texts.texts) if text.strip() in theirs]


def has_no_spaces(texts: Iterable[str]) -> bool:
    """Whether texts are in a script without spaces between words, such as Chinese."""
    characters, words = 0, 0
    for text in texts:
        characters += len(text)
        words += text.count(" ") + 1
    return characters > WITHOUT_SPACES * words
