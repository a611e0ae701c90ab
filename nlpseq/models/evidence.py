"""Weights of evidence: what the n-grams of a text say of its label, counted before anything is learned.

The weight of evidence (Good, 1950) that an n-gram lends a label is how much more likely it is in that label's texts,

    log((c + s) / N)   less its mean over the labels,

where c of the label's texts hold the n-gram, N is the sum of such counts, and s, in proportion to N, keeps an n-gram
that nobody has seen silent. Added up they are naive Bayes, which is a good judge where texts are few or long (Wang and
Manning, 2012); here each token brings its own and those of the n-grams that end in it as further inputs, so that the
recurrent layers learn what becomes of them after `not`, and their sum stands beside what is pooled. N-grams of several
tokens are hashed. The cost is the table, which grows with the number of labels.
"""

from __future__ import annotations

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.models.embedding import ngram_rows
from nlpseq.text.tokenisers import NEWLINE

BUCKETS = 1 << 18  # for the n-grams of each length above one
SMOOTHING = 1.0


def table_rows(longest: int, vocabulary_size: int) -> int:
    """How many rows a table of n-grams up to `longest` tokens has."""
    return vocabulary_size + (longest - 1) * BUCKETS


def evidence_rows(ids: Array, longest: int, vocabulary_size: int) -> list[Array]:
    """The rows [T, B] of the table for the n-grams of 1, 2, .. `longest` tokens that end in each of `ids` [T, B]."""
    steps, batch = ids.shape
    newlines = arrays.filled((longest - 1, batch), NEWLINE, ids)
    tokens = arrays.concatenate([newlines, ids], 0)
    backwards = [tokens[longest - 1 - order : longest - 1 - order + steps] for order in range(longest)]
    return [ids, *(rows + vocabulary_size for rows in ngram_rows(backwards, BUCKETS))]


def weigh(counts: np.ndarray) -> np.ndarray:
    """Counts [R, C] of texts with each n-gram to weights of evidence [R, C], as float32."""
    totals = np.maximum(1.0, counts.sum(0, dtype=np.float64))
    shares = totals / totals.mean()
    logarithms = np.log(counts + SMOOTHING * shares) - np.log(shares)
    weights: np.ndarray = (logarithms - logarithms.mean(1, keepdims=True)).astype(np.float32)
    return weights


def look_up(table: Array, ids: Array, vocabulary_size: int) -> Array:
    """The weights [T, B, O*C] that a table [R, C] has for the n-grams that end in each of `ids` [T, B]."""
    longest = 1 + (table.shape[0] - vocabulary_size) // BUCKETS
    return arrays.concatenate([table[rows] for rows in evidence_rows(ids, longest, vocabulary_size)])
