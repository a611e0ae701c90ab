"""Interpolated modified Kneser-Ney smoothing: a language model that counts n-grams (Chen and Goodman, 1999).

The probability of token w after the k - 1 tokens h is that of order k:

    p_k(w | h) = (c(hw) - D(c(hw))) / c(h) + g(h) p_{k-1}(w | h'),      p_0(w) = 1 / V
    g(h)       = (sum over w of D(c(hw))) / c(h),                       c(h) = sum over w of c(hw)

h' is h without its first token. In the longest order c(hw) counts how often hw occurs; in a shorter one it is the
number of different tokens that occur before hw. p_k is p_{k-1} if h was never followed by anything. Each order has
three discounts, from the numbers n_j of its n-grams whose c is j:

    Y    = n_1 / (n_1 + 2 n_2)
    D(1) = 1 - 2 Y n_2 / n_1,    D(2) = 2 - 3 Y n_3 / n_2,    D(3) = 3 - 4 Y n_4 / n_3,    D(c) = D(3) for c > 3

They are FALLBACK, as in KenLM (Heafield et al., 2013), if n_1, n_2 or n_3 is zero, or unless 0 < D(j) <= j. So g(h) is
never zero, and a token of the vocabulary that was never seen has a probability. Before the text there are order - 1
newlines, which are context and are not counted.

Memory while counting is about 36 bytes for each token, and then 24 bytes for each different n-gram of each order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.tokenisers import NEWLINE

Ids = NDArray[np.int32]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]

FALLBACK = (0.5, 1.0, 1.5)
BLOCK = 1 << 20  # tokens that are predicted at a time
UNSEEN = -1  # the id of an n-gram that did not occur


class Discounts(NamedTuple):
    """What is taken from each count of an order."""

    values: Values  # [4], from a count of 0, 1, 2, and 3 or more
    fallback: bool  # they are FALLBACK, because the counts of counts do not give any

    def of(self, counts: Counts) -> Values:
        """The discount of each count [U]."""
        return self.values[np.minimum(counts, 3)]


class NgramTable(NamedTuple):
    """The n-grams of one order; the id of an n-gram is its index, and its context is an n-gram of the order below."""

    keys: Counts  # [U], sorted: the id of the context times the size of the vocabulary, plus the last token
    discounted: Values  # [U], (c(hw) - D(c(hw))) / c(h)
    rest: Values  # [C], g(h) for each context; 1 for a context that nothing followed
    discounts: Discounts


def discounts_of(counts: Counts) -> Discounts:
    """The three discounts of an order, from the counts [U] of its n-grams."""
    _, once, twice, thrice, four, _ = np.bincount(np.minimum(counts, 5), minlength=6).tolist()
    if once and twice and thrice:
        ratio = once / (once + 2 * twice)
        values = (1 - 2 * ratio * twice / once, 2 - 3 * ratio * thrice / twice, 3 - 4 * ratio * four / thrice)
        if all(0 < value <= count for count, value in enumerate(values, 1)):
            return Discounts(np.array([0, *values]), False)
    return Discounts(np.array([0, *FALLBACK]), True)


class KneserNey:
    """A Kneser-Ney model of a text."""

    def __init__(self, tokens: NDArray[Any], vocabulary_size: int, order: int = 5) -> None:
        """Count the n-grams of up to `order` tokens in a text of ids [T]."""
        self.vocabulary_size = vocabulary_size
        self.order = order
        text = np.concatenate([np.full(order - 1, NEWLINE, tokens.dtype), tokens])
        ids: Ids = np.zeros(len(text) + 1, np.int32)  # of the empty n-gram before and after each token
        listed: list[Counts] = []
        endings: list[Ids] = []  # for each n-gram the id of the shorter one that it ends with
        for length in range(1, order + 1):
            keys, counts, firsts, longer = _numbered(ids[:-1] * np.int64(vocabulary_size) + text[length - 1 :])
            listed.append(keys)
            endings.append(ids[1:][firsts])
            ids = longer
        self.tables = [*_tables(listed, endings, counts, vocabulary_size)]

    @property
    def fallback_orders(self) -> list[int]:
        """The orders whose discounts are FALLBACK."""
        return [length for length, table in enumerate(self.tables, 1) if table.discounts.fallback]

    def probabilities(self, tokens: NDArray[Any], before: Sequence[int] = ()) -> Values:
        """The probability of each token [N] of a text after all before it, the first after the tokens `before`.

        There are newlines before these.
        """
        context = np.array([NEWLINE] * (self.order - 1) + [*before], np.int64)[len(before) :]
        text = np.concatenate([context, tokens])
        found = np.full(len(text), 1 / self.vocabulary_size)
        ids: Ids = np.zeros(len(text) + 1, np.int32)
        for length, table in enumerate(self.tables, 1):
            found = found[length > 1 :]
            contexts = ids[:-1]
            ids = self._find(table, contexts, text[length - 1 :])
            own = np.where(ids != UNSEEN, table.discounted[ids], 0)
            found = np.where(contexts != UNSEEN, own + table.rest[contexts] * found, found)
        return found

    def _find(self, table: NgramTable, contexts: Ids, tokens: NDArray[Any]) -> Ids:
        """The ids [N] of contexts [N] and tokens [N] in a table, or UNSEEN."""
        keys = contexts * np.int64(self.vocabulary_size) + tokens
        indices = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
        seen = (contexts != UNSEEN) & (table.keys[indices] == keys)
        return np.where(seen, indices, UNSEEN).astype(np.int32)

    def text_loss(self, tokens: NDArray[Any]) -> float:
        """The loss of a text of ids [N] in nats: the sum of -log p over its tokens, the first after newlines."""
        nats = 0.0
        for start in range(0, len(tokens), BLOCK):
            before = tokens[max(0, start - self.order + 1) : start].tolist()
            nats -= float(np.log(self.probabilities(tokens[start : start + BLOCK], before)).sum())
        return nats


def _numbered(keys: Counts) -> tuple[Counts, Counts, Counts, Ids]:
    """Sort keys [T]: the different ones [U], how often each occurs, a position of each, and of each key its index.

    `np.unique` would take far longer, because its hashes of packed numbers collide.
    """
    order = np.argsort(keys)
    keys = keys[order]
    is_first = np.append(True, keys[1:] != keys[:-1])
    starts = np.flatnonzero(is_first)
    indices = np.empty(len(keys), np.int32)
    indices[order] = np.cumsum(is_first, dtype=np.int32) - 1
    return keys[starts], np.diff(starts, append=len(keys)), order[starts], indices


def _tables(listed: list[Counts], endings: list[Ids], counts: Counts, vocabulary_size: int) -> list[NgramTable]:
    """The tables of all orders from their keys; `counts` are those of the longest order. Both lists are emptied."""
    tables = []
    while listed:
        keys, ends = listed.pop(), endings.pop()
        contexts = len(listed[-1]) if listed else 1
        tables.append(_table(keys, counts, contexts, vocabulary_size))
        counts = np.bincount(ends[counts > 0], minlength=contexts)
    return tables[::-1]


def _table(keys: Counts, counts: Counts, contexts: int, vocabulary_size: int) -> NgramTable:
    """The table of an order; n-grams of the newlines before the text have a count of 0."""
    discounts = discounts_of(counts)
    context = keys // vocabulary_size
    taken = discounts.of(counts)
    totals = np.bincount(context, counts, contexts)
    rest = np.bincount(context, taken, contexts)
    discounted = np.where(counts > 0, counts - taken, 0) / np.maximum(totals, 1)[context]
    return NgramTable(keys, discounted, np.where(totals > 0, rest / np.maximum(totals, 1), 1.0), discounts)
