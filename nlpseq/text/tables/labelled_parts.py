"""The training and the validation part of labelled texts in memory.

The texts held out depend neither on order nor on chance: they are the texts of each label with the smallest hashes. So
a corpus is always split in the same way, equal texts are on the same side, and added texts move few others.

If a text may have several labels, the texts with the smallest hashes are held out. A text with the last text of a label
stays in training, so that all labels are learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from nlpseq.errors import CorpusError
from nlpseq.text.encodings import to_utf8
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.tables.label_sets import label_set
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import Counted, LabelledTexts, check_known, checked_labels, read_labelled

HELD_OUT = 0.1  # fraction of each label's texts, unless the user names validation texts
MOST_HELD_OUT = 5000
FURTHER = 100  # texts, beside twice those to hold out, from which those without the last text of a label are chosen


def read_parts(
    names: Sequence[str],
    valid: Sequence[str],
    columns: LabelColumns | None,
    known: Sequence[str] | None = None,
    watch: Watch = unwatched,
    *,
    several: bool | None = None,
) -> tuple[LabelledTexts, LabelledTexts]:
    """The training and the validation texts; `known` are the only labels that they may have, by default all of them.

    `several` is as for `read_labelled`. Raises CorpusError if there are too few of either, and for a label that is not
    known.
    """
    texts = read_labelled(names, columns, watch, several=several)
    labels = checked_labels(texts, names[0], known, held_out=not valid)
    if not valid:
        return split(texts)
    held_out = read_labelled(valid, columns, watch, several=texts.several)
    check_known(held_out, labels)
    return texts, held_out


def split(texts: LabelledTexts) -> tuple[LabelledTexts, LabelledTexts]:
    """The training texts, and those held out: a tenth of each label's texts, at least one of two or more.

    If a text may have several labels, a tenth of all texts is held out, without those that hold a label's only texts.
    """
    held_out = _held_out_of_sets(texts) if texts.several else _held_out_of_labels(texts)
    kept = [index for index in range(len(texts)) if index not in held_out]
    train = texts.chosen(kept)
    train.blank, train.notes = texts.blank, texts.notes
    return train, texts.chosen(sorted(held_out))


def _held_out_of_labels(texts: LabelledTexts) -> set[int]:
    by_label: dict[str, list[int]] = {}
    for index, label in enumerate(texts.labels):
        by_label.setdefault(label, []).append(index)
    held_out: set[int] = set()
    for indices in by_label.values():
        count = held_out_count(len(indices), len(texts))
        held_out.update(sorted(indices, key=lambda index: text_rank(texts.texts[index]))[:count])
    return held_out


def _held_out_of_sets(texts: LabelledTexts) -> set[int]:
    ranks = sorted((text_rank(text), index) for index, text in enumerate(texts.texts))
    smallest = [index for _, index in ranks[: candidates(len(texts))]]
    return set(without_only_texts(smallest, [label_set(texts.labels[index]) for index in smallest], texts))


def candidates(total: int) -> int:
    """The number of texts with the smallest hashes from which those to hold out are chosen, if they have label sets."""
    return FURTHER + 2 * held_out_count(total, total)


def without_only_texts(indices: Sequence[int], labels: Sequence[Sequence[str]], texts: Counted) -> list[int]:
    """The first of `indices`, as many as are to be held out, without texts that hold the last text of a label.

    `labels` are those of each of these texts. Raises CorpusError if all of them hold the last text of a label.
    """
    left, chosen = texts.counts, list[int]()
    for index, own in zip(indices, labels, strict=True):
        if all(left[label] > 1 for label in own):
            left.subtract(own)
            chosen.append(index)
    if not chosen:
        what = "no text can be held out for validation: each has a label that no other text has"
        raise CorpusError("CORPUS", what, "--valid FILE; or take out labels of a single text")
    return chosen[: held_out_count(len(texts), len(texts))]


def held_out_count(count: int, total: int) -> int:
    """The number of a label's `count` texts that are held out of `total` texts."""
    fraction = min(HELD_OUT, MOST_HELD_OUT / total)
    return max(round(fraction * count), min(1, count - 1))


def text_rank(text: str) -> int:
    """A hash of a text, spaces around it aside, below 2**64."""
    return int.from_bytes(hashlib.blake2b(to_utf8(text.strip()), digest_size=8).digest())
