"""Scores as functions of sums over the units of a text, so that they can be computed for resamples.

A `Measure` says how, and `Measured` holds the statistics of one model's outputs [N, K]: K numbers for each of N lines
or blocks, of which the score needs only the sums. BLEU, chrF and TER are sacrebleu's (Post, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.evaluation.comparison.resampling import Statistics, Sums, totals
from nlpseq.evaluation.scores import PER_CENT

Values = NDArray[np.float64]

LOWER_IS_BETTER = frozenset({"loss", "perplexity", "bits_per_byte", "bits_per_character", "ter"})
NATS, TOKENS, WORDS, CHARACTERS, BYTES = range(5)  # the columns of a block's statistics
LARGEST = 700.0  # of exponents
LINES = 1000  # whose n-grams are in memory together


@dataclass(frozen=True)
class Measure:
    """A score of resamples."""

    name: str
    unit: str
    values: Callable[[Sums], Values]  # sums [R, K] -> scores [R]
    is_sacrebleus: bool = False  # whether it is sacrebleu's, which adds bootstrap samples in float32

    @property
    def lower_is_better(self) -> bool:
        """Whether a better model has a lower score."""
        return self.name in LOWER_IS_BETTER

    @property
    def is_per_cent(self) -> bool:
        """Whether the score is in per cent."""
        return self.name in PER_CENT


@dataclass(frozen=True)
class Measured:
    """The statistics [N, K] of a model's outputs for a measure, and its score's own fields of a signature."""

    measure: Measure
    statistics: Statistics
    signature: str = ""

    @property
    def value(self) -> float:
        """The score of all units."""
        return float(self.measure.values(totals(self.statistics)[None])[0])

    def bootstrapped(self, sums: Sums) -> Values:
        """The scores [R] of bootstrap samples with the sums [R, K]."""
        return self.measure.values(sums.astype(np.float32) if self.measure.is_sacrebleus else sums)

    def randomised(self, sums: Sums) -> Values:
        """The scores [R] of trials with the sums [R, K]."""
        return self.measure.values(sums.astype(self.statistics.dtype) if self.measure.is_sacrebleus else sums)


def _mean(column: int, count: int, scale: float = 1.0) -> Callable[[Sums], Values]:
    """Scale times the sum of one statistic divided by that of another, which is counted as at least 1."""

    def values(sums: Sums) -> Values:
        return scale * sums[:, column] / np.maximum(1, sums[:, count])

    return values


def _perplexity(count: int) -> Callable[[Sums], Values]:
    mean = _mean(NATS, count)

    def values(sums: Sums) -> Values:
        exponents = mean(sums)
        return np.where(exponents < LARGEST, np.exp(np.minimum(exponents, LARGEST)), np.inf)

    return values


TEXT_MEASURES = (  # of the statistics [N, 5] of blocks
    Measure("loss", "token", _mean(NATS, TOKENS)),
    Measure("perplexity", "token", _perplexity(TOKENS)),
    Measure("perplexity", "word", _perplexity(WORDS)),
    Measure("bits_per_byte", "byte", _mean(NATS, BYTES, 1 / math.log(2))),
    Measure("bits_per_character", "character", _mean(NATS, CHARACTERS, 1 / math.log(2))),
)
TOKEN_MEASURES = TEXT_MEASURES[:2]  # of the statistics [N, 2] of targets given their sources


def _f1(columns: Sums) -> Values:
    """F1 in per cent [R, C] of the numbers [R, 3, C] of texts whose label is right, predicted, and theirs."""
    right, predicted, own = columns[:, 0], columns[:, 1], columns[:, 2]
    return np.asarray(200 * right / np.maximum(1, predicted + own), np.float64)


def _macro_f1(sums: Sums) -> Values:
    columns = sums.reshape(len(sums), 3, -1)
    occurring = (columns[:, 1] + columns[:, 2]) > 0
    return np.asarray((_f1(columns) * occurring).sum(1) / np.maximum(1, occurring.sum(1)), np.float64)


def _micro_f1(sums: Sums) -> Values:
    return _f1(sums.reshape(len(sums), 3, -1).sum(2, keepdims=True))[:, 0]


ACCURACY = Measure("accuracy", "text", _mean(0, 1, 100))
EXACT_MATCH = Measure("exact_match", "text", _mean(0, 1, 100))
LABEL_LOSS = Measure("loss", "text", _mean(0, 1))
MACRO_F1 = Measure("macro_f1", "label", _macro_f1)
MICRO_F1 = Measure("micro_f1", "label", _micro_f1)


def each_counted(values: Any) -> NDArray[np.float64]:
    """The statistics [N, 2] of a mean over units: values [N], and 1 for each."""
    values = np.asarray(values, np.float64)
    return np.stack([values, np.ones(len(values))], 1)


def label_counts(applies: Any, found: Any) -> Statistics:
    """The sparse statistics [N, 3 C] of F1: for each label whether it is right, found, and the text's own.

    Both arguments are flags [N, C], arrays or sparse matrices.
    """
    from scipy import sparse

    own, given = sparse.csr_matrix(applies, dtype=np.float64), sparse.csr_matrix(found, dtype=np.float64)
    return sparse.hstack([own.multiply(given), given, own], format="csr")


def flags_of(labels: NDArray[np.int64], count: int) -> Statistics:
    """The flags [N, C], sparse, of one label of each text [N]; `count` is C."""
    from scipy import sparse

    rows = np.arange(len(labels))
    return sparse.csr_matrix((np.ones(len(labels)), (rows, labels)), shape=(len(labels), count))


def library_measured(name: str, metric: Any, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
    """The statistics of N texts against lists of N references, for a metric of sacrebleu.

    Its private methods are what its own command and tests call; no public one gives the statistics. They keep the
    n-grams of all references that they are given, so lines are given a few at a time.
    """
    portions = [slice(start, start + LINES) for start in range(0, len(texts), LINES)]
    found = [
        metric._extract_corpus_statistics(list(texts[lines]), [list(each[lines]) for each in references])
        for lines in portions
    ]
    statistics = np.concatenate([np.array(portion) for portion in found])

    def values(sums: Sums) -> Values:
        if len(sums) == 1:  # the score of all units, in Python's numbers as sacrebleu's
            return np.array([metric._compute_score_from_stats(sums[0].tolist()).score])
        return np.array([metric._compute_score_from_stats(row).score for row in sums])

    measure = Measure(name, "corpus", values, is_sacrebleus=True)
    return Measured(measure, statistics, str(metric.get_signature()))
