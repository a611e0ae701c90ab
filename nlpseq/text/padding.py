"""Texts of ids, side by side in one array, and groups of texts of similar length.

Each text of an array costs as much as the longest, so texts of similar length are grouped, as many as a budget of
tokens allows. So neither time nor memory depends on how unequal the texts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.tokenisers import NEWLINE

Ids = NDArray[np.int64]


def side_by_side(texts: Sequence[NDArray[Any]]) -> tuple[Ids, Ids]:
    """Texts as columns [T, B], padded with newlines, and their lengths [B]."""
    lengths = np.array([len(text) for text in texts])
    columns = np.full((lengths.max(), len(texts)), NEWLINE, np.int64)
    for column, text in enumerate(texts):
        columns[: len(text), column] = text
    return columns, lengths


def as_columns(ids: NDArray[Any], lengths: Ids) -> Ids:
    """Texts as columns [T, B], padded with newlines, from the ids of all, one text after the other."""
    rows = np.full((len(lengths), lengths.max()), NEWLINE, np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = ids
    return np.ascontiguousarray(rows.T)


def together(lengths: Ids, tokens: int | None, texts: int | None = None) -> Iterator[Ids]:
    """Groups of indices of texts of similar length, short ones first; texts of equal length keep their order.

    A group has at most `tokens` tokens, padding included, and `texts` texts, but always one text.
    """
    order = np.argsort(lengths, kind="stable")
    return (order[cut] for cut in cuts(lengths[order], tokens, texts))


def cuts(lengths: NDArray[Any], tokens: int | None, texts: int | None = None) -> Iterator[slice]:
    """The groups of `together` as slices of sorted lengths."""
    counts = np.arange(1, len(lengths) + 1)
    start = 0
    while start < len(lengths):
        stop = min(start + (texts or len(lengths)), len(lengths))
        if tokens is not None:
            stop = min(stop, start + max(1, tokens // max(1, int(lengths[start]))))  # the others are no shorter
            padded = lengths[start:stop] * counts[: stop - start]  # tokens up to each text
            stop = start + max(1, int(np.searchsorted(padded, tokens, "right")))
        yield slice(start, stop)
        start = stop
