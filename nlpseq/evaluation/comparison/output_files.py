"""Files of outputs as sides: lines of labels or translations, against lines of references."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import CorpusError, OptionError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.comparison.label_statistics import labels_measured
from nlpseq.evaluation.comparison.measures import Measured
from nlpseq.evaluation.comparison.metrics import chosen_metrics
from nlpseq.evaluation.comparison.records import Outputs, Side, Units
from nlpseq.evaluation.comparison.too_few import check_units
from nlpseq.evaluation.comparison.translation_statistics import OUTPUT_METRICS, USUAL, translation_measured
from nlpseq.evaluation.scores import Note
from nlpseq.text.formats import read_text, split_lines
from nlpseq.text.signature import rows_sha256, short_names

LABEL_METRICS = ("accuracy", "macro_f1")
METRICS = tuple(dict.fromkeys((*USUAL, *LABEL_METRICS, *OUTPUT_METRICS)))
REPEATED = 5  # lines of references for each different one: then they are labels

Texts = list[str]


def output_sides(
    sides: Sequence[tuple[str, Sequence[str]]],
    targets: Sequence[str],
    metrics: Sequence[str],
    bleu: BleuOptions,
    note: Note,
) -> tuple[list[Side], Units]:
    """Read files of outputs, and one or more files of references.

    Without metrics the lines are labels if the references have few different ones, else translations; `note` is told.
    Raises OptionError without references or for metrics that do not go together, and CorpusError for a file that cannot
    be read, files of different lengths, and too few lines.
    """
    if not targets:
        raise OptionError("target", "is missing: outputs are compared with references", "--target FILE")
    references = [_lines(name) for name in targets]
    names = chosen_metrics(metrics, METRICS, _usual(references, note), "files of outputs")
    as_labels = "macro_f1" in names or ("accuracy" in names and _are_labels(references))
    if as_labels and (odd := [name for name in names if name not in LABEL_METRICS]):
        raise OptionError("metric", f"cannot be {odd[0]} and that of labels", f"--metric {odd[0]}")
    for name, other in zip(targets[1:], references[1:], strict=True):
        _check_length(name, len(other), targets[0], len(references[0]))
    check_units(len(references[0]), targets[0], "lines")
    read = {name: _lines(name) for _, files in sides for name in files}
    for name, texts in read.items():
        _check_length(name, len(texts), targets[0], len(references[0]))
    measure = _Labels(references, read.values()) if as_labels else _Translations(references, bleu)
    found = [Side(side, [Outputs(name, measure(read[name], names)) for name in files]) for side, files in sides]
    digest = rows_sha256(zip(*references, strict=True))[:8]
    return found, Units(len(references[0]), f"lines:{len(references[0])}|target:{short_names(targets)}#{digest}")


def _lines(name: str) -> Texts:
    """The lines of a file without the space at their ends, as sacrebleu reads them. Raises CorpusError."""
    return [line.rstrip() for line in split_lines(read_text(name))]


def _check_length(name: str, count: int, target: str, expected: int) -> None:
    """Raises CorpusError if a file has not as many lines as the references."""
    if count != expected:
        what = f"it has {count:,} lines, and {target} has {expected:,}"
        raise CorpusError(name, what, f"wc -l {shlex.quote(name)} {shlex.quote(target)}")


def _are_labels(references: Sequence[Texts]) -> bool:
    """Whether references are labels: lines that are repeated again and again."""
    labels = list(map(_label, references[0]))
    return len(references) == 1 and REPEATED * len(set(labels)) <= len(labels)


def _usual(references: Sequence[Texts], note: Note) -> Sequence[str]:
    """The metrics for references."""
    if _are_labels(references):
        note("the lines are taken as labels; for translations: --metric bleu")
        return LABEL_METRICS
    note("the lines are taken as translations; for labels: --metric accuracy --metric macro_f1")
    return USUAL


def _label(line: str) -> str:
    """The label of a line: what precedes its first tab."""
    return line.partition("\t")[0]


class _Labels:
    """Measures lines of labels; the labels of all files are known."""

    def __init__(self, references: Sequence[Texts], read: Iterable[Texts]) -> None:
        self.index: dict[str, int] = {}
        for line in chain(references[0], *read):
            self.index.setdefault(_label(line), len(self.index))
        self.own = self._ids(references[0])

    def __call__(self, texts: Texts, names: Sequence[str]) -> list[Measured]:
        measured = {each.measure.name: each for each in labels_measured(self.own, self._ids(texts), len(self.index))}
        return [measured[name] for name in names]

    def _ids(self, lines: Texts) -> NDArray[np.int64]:
        return np.array([self.index[_label(line)] for line in lines], np.int64)


class _Translations:
    """Measures lines of translations."""

    def __init__(self, references: Sequence[Texts], bleu: BleuOptions) -> None:
        self.references, self.bleu = references, bleu

    def __call__(self, texts: Texts, names: Sequence[str]) -> list[Measured]:
        measured = translation_measured(texts, self.references, names, self.bleu)
        return [measured[name] for name in names]
