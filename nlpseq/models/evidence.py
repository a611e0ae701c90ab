"""Weights of evidence: features that say how strongly an n-gram speaks for a label, counted before training.

The weight of evidence (Good, 1950) of an n-gram for a label measures how much more likely it is in that label's texts:

    log((c + s) / N)   minus its mean over the labels

Here c is the number of the label's texts that contain the n-gram, and N is the sum of c over all n-grams. The smoothing
s is proportional to N, so an unseen n-gram has a weight of zero.

If a text may have several labels, each label has two kinds of texts, those with it and those without it. The weight
compares the counts with those expected if the n-gram said nothing about the label:

    log((c + s) / (e + s))   minus the same of the texts without the label

Here e is the number of texts with the n-gram times the label's part of all counts.

The sum of these weights over a text is naive Bayes, which is strong on few texts and on long ones (Wang and Manning,
2012). Here each token's weight, and those of the n-grams that end in it, are further inputs to the recurrent layers,
which can then learn what `not` does to them. Their sum is joined to the pooled vector. N-grams of several tokens are
hashed. The cost is the table, which grows with the number of labels.
"""

from __future__ import annotations

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.models.embedding import ngram_rows
from nlpseq.text.tokenisers import NEWLINE

BUCKETS = 1 << 18  # for the n-grams of each length from two on
SMOOTHING = 1.0


def table_rows(longest: int, vocabulary_size: int) -> int:
    """The number of rows R in a table for n-grams of up to `longest` tokens."""
    return vocabulary_size + (longest - 1) * BUCKETS


def evidence_rows(ids: Array, longest: int, vocabulary_size: int) -> list[Array]:
    """Table rows [T, B] of the n-grams that end in each of `ids` [T, B], one array for each length up to `longest`."""
    steps, batch = ids.shape
    newlines = arrays.filled((longest - 1, batch), NEWLINE, ids)
    tokens = arrays.concatenate([newlines, ids], 0)
    backwards = [tokens[longest - 1 - order : longest - 1 - order + steps] for order in range(longest)]
    return [ids, *(rows + vocabulary_size for rows in ngram_rows(backwards, BUCKETS))]


def weigh(counts: np.ndarray) -> np.ndarray:
    """Turn counts [R, C] of the texts with each n-gram into weights of evidence [R, C], as float32."""
    totals = np.maximum(1.0, counts.sum(0, dtype=np.float64))
    relative = totals / totals.mean()
    logarithms = np.log(counts + SMOOTHING * relative) - np.log(relative)
    weights: np.ndarray = (logarithms - logarithms.mean(1, keepdims=True)).astype(np.float32)
    return weights


def weigh_each(counts: np.ndarray) -> np.ndarray:
    """Turn counts [R, C + 1] of the texts with each n-gram into weights of evidence [R, C] for independent labels.

    The last column counts all texts, the others those with a label.
    """
    own, everything = counts[:, :-1].astype(np.float64), counts[:, -1:].astype(np.float64)
    part = own.sum(0) / max(1.0, everything.sum())  # of all counts, for each label
    with_label = np.log((own + SMOOTHING) / (everything * part + SMOOTHING))
    without = np.log((everything - own + SMOOTHING) / (everything * (1 - part) + SMOOTHING))
    weights: np.ndarray = (with_label - without).astype(np.float32)
    return weights


def look_up(table: Array, ids: Array, vocabulary_size: int) -> Array:
    """The weights [T, B, O*C] in a table [R, C] of the n-grams that end in each of `ids` [T, B]."""
    longest = 1 + (table.shape[0] - vocabulary_size) // BUCKETS
    return arrays.concatenate([table[rows] for rows in evidence_rows(ids, longest, vocabulary_size)])
