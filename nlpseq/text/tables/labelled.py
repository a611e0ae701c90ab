"""Labelled texts, read from tables, and a part of them that is held out.

The texts held out depend neither on order nor on chance: they are the texts of each label with the smallest hashes. So
a corpus is always split in the same way, equal texts are on the same side, and added texts move few others.

Training keeps its texts in temporary files (`stored_labelled.py`). What looks at the texts as a whole, such as a check
or an evaluation, keeps them in memory.
"""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from unicodedata import category

from nlpseq.errors import CorpusError
from nlpseq.text.beginnings import beginning
from nlpseq.text.encodings import to_utf8
from nlpseq.text.progress import Watch, unwatched, watched_rows
from nlpseq.text.signature import rows_sha256
from nlpseq.text.tables.label_tables import LabelColumns, read_labelled_table
from nlpseq.text.tables.notes import gather

HELD_OUT = 0.1  # fraction of each label's texts, unless the user names validation texts
MOST_HELD_OUT = 5000
MOST_LABELS = 1000
LONGEST_LABEL = 200  # characters
FEWEST = 20  # texts
SHOWN = 8  # labels
NOT_THE_LABEL = "take such texts out; or --label-column NAME, if that is not the label"
NEW_MODEL = "take such texts out; or train a new model: leave out --resume, and add --out FOLDER"
WITHOUT_SPACES = 15  # average number of characters between two spaces, in scripts without spaces


class Counted(Protocol):
    """Labelled texts of which only the labels' counts matter."""

    def __len__(self) -> int: ...

    @property
    def counts(self) -> Counter[str]:
        """The number of texts of each label, in the order of each label's first text."""


class Texts(Counted, Protocol):
    """Labelled texts, wherever they are kept."""

    blank: int
    notes: list[str]

    def add(self, label: str, text: str, origin: str) -> None:
        """Add a text."""

    def origin(self, labels: Container[str]) -> str:
        """The origin of the first text that has one of the labels."""


@dataclass
class LabelledTexts:
    """Labels and texts in parallel lists, and the number of rows dropped because either was blank.

    `notes` tell how the tables were read, first the chosen columns.
    """

    labels: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)  # FILE:LINE of each
    blank: int = 0
    notes: list[str] = field(default_factory=list)

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
        return Counter(self.labels)

    def origin(self, labels: Container[str]) -> str:
        """The origin of the first text that has one of the labels."""
        return next(origin for label, origin in zip(self.labels, self.origins, strict=True) if label in labels)

    @property
    def sha256(self) -> str:
        """A hash of all labels and texts."""
        return rows_sha256(zip(self.labels, self.texts, strict=True))

    def chosen(self, indices: Iterable[int]) -> LabelledTexts:
        """The texts at `indices`."""
        kept = list(indices)
        labels, texts, origins = ([side[index] for index in kept] for side in (self.labels, self.texts, self.origins))
        return LabelledTexts(labels, texts, origins)


def read_labelled(names: Sequence[str], columns: LabelColumns | None = None, watch: Watch = unwatched) -> LabelledTexts:
    """All labelled texts of the tables `names`, except those with a blank label or text.

    Raises CorpusError for a file that cannot be read or is not such a table, for a label that does not fit in a line,
    and if no text is left.
    """
    read = LabelledTexts()
    add_labelled(read, names, columns, watch)
    return read


def add_labelled(read: Texts, names: Sequence[str], columns: LabelColumns | None, watch: Watch) -> None:
    """Add the texts of the tables `names`, as `read_labelled` does and with its errors."""
    notes: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        rows = read_labelled_table(name, columns or LabelColumns(), notes[name])
        for label, text, where in watched_rows(rows, watch, "reading"):
            if not (label and text.strip()):
                read.blank += 1
                continue
            _check_label(label, where)
            read.add(label, text, where)
    if not len(read):
        blank = f", only {read.blank:,} rows with a blank label or text" if read.blank else ""
        raise CorpusError(names[0], f"it has no text with a label{blank}", "a label and a text in each row")
    read.notes = gather(notes)


def _check_label(label: str, where: str) -> None:
    if "\t" in label or "\n" in label:
        what = f"its label {label[:40]!r} has a tab or a line end, which separates the columns that `classify` writes"
        raise CorpusError(where, what, "write a space instead")
    if any(category(character) in ("Cc", "Cs") for character in label):
        what = f"its label {label[:40]!r} has a control character or half of a character, which cannot be shown"
        raise CorpusError(where, what, "leave such characters out")
    if len(label) > LONGEST_LABEL:
        what = f"its label has {len(label):,} characters, but may have {LONGEST_LABEL}: {label[:40]!r}.."
        raise CorpusError(where, what, "--label-column NAME --text-column NAME, if the two are confused")


def label_names(texts: Counted, name: str) -> list[str]:
    """All labels, sorted. Raises CorpusError if there are fewer than two or too many, or too few texts."""
    counts = texts.counts
    if len(counts) < 2:
        what = f"it needs texts of at least two labels, but all {len(texts):,} are {next(iter(counts))!r}"
        sorted_rows = "a larger --take, if the rows are sorted by label; " * (beginning(name).limit is not None)
        raise CorpusError(name, what, f"{sorted_rows}--label-column NAME, if that is not the label")
    if len(texts) < FEWEST:
        what = f"it needs at least {FEWEST} texts with labels, but has {len(texts)}"
        raise CorpusError(name, what, "more texts; for a first try the bundled ones: nlpseq train sentiment reviews")
    if len(counts) > MOST_LABELS or 2 * len(counts) > len(texts):
        what = f"it has {len(counts):,} different labels for {len(texts):,} texts, such as {next(iter(counts))[:40]!r}"
        hint = f"--label-column NAME --text-column NAME; for pairs: nlpseq train translation {shlex.quote(name)}"
        raise CorpusError(name, what, hint)
    return sorted(counts, key=lambda label: (len(label) if label.isdecimal() else 0, label))


def split(texts: LabelledTexts) -> tuple[LabelledTexts, LabelledTexts]:
    """The training texts, and those held out: a tenth of each label's texts, at least one of two or more."""
    by_label: dict[str, list[int]] = {}
    for index, label in enumerate(texts.labels):
        by_label.setdefault(label, []).append(index)
    held_out: set[int] = set()
    for indices in by_label.values():
        count = held_out_count(len(indices), len(texts))
        held_out.update(sorted(indices, key=lambda index: text_rank(texts.texts[index]))[:count])
    kept = [index for index in range(len(texts)) if index not in held_out]
    train = texts.chosen(kept)
    train.blank, train.notes = texts.blank, texts.notes
    return train, texts.chosen(sorted(held_out))


def held_out_count(count: int, total: int) -> int:
    """The number of a label's `count` texts that are held out of `total` texts."""
    fraction = min(HELD_OUT, MOST_HELD_OUT / total)
    return max(round(fraction * count), min(1, count - 1))


def read_parts(
    names: Sequence[str],
    valid: Sequence[str],
    columns: LabelColumns | None,
    known: Sequence[str] | None = None,
    watch: Watch = unwatched,
) -> tuple[LabelledTexts, LabelledTexts]:
    """The training and the validation texts; `known` are the only labels that they may have, by default all of them.

    Raises CorpusError if there are too few of either, and for a label that is not known.
    """
    texts = read_labelled(names, columns, watch)
    labels = checked_labels(texts, names[0], known, held_out=not valid)
    if not valid:
        return split(texts)
    held_out = read_labelled(valid, columns, watch)
    check_known(held_out, labels)
    return texts, held_out


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
        what = f"training had no such labels: {_listed(unknown)}; known are {', '.join(map(repr, known))[:200]}"
        raise CorpusError(texts.origin(unknown), what, hint)


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{label!r} ({count:,} texts)" for label, count in list(counts.items())[:SHOWN]]
    return ", ".join(shown) + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")


def text_rank(text: str) -> int:
    """A hash of a text, spaces around it aside, below 2**64."""
    return int.from_bytes(hashlib.blake2b(to_utf8(text.strip()), digest_size=8).digest())


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
