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


def together(lengths: Ids, tokens: int | None, texts: int | None = None) -> Iterator[Ids]:
    """Groups of indices of texts of similar length, short ones first; texts of equal length keep their order.

    A group has at most `tokens` tokens, padding included, and `texts` texts, but always one text.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = len(order) if texts is None else start + texts
        if tokens is not None:
            padded = lengths[order[start:stop]] * np.arange(1, len(order[start:stop]) + 1)  # tokens up to each text
            stop = min(stop, start + max(1, int(np.searchsorted(padded, tokens, "right"))))
        yield order[start:stop]
        start = stop
