"""Texts as ids side by side: which go together, and as what array.

Texts of one array cost as much as its longest, so those of about one length go together, as many as a budget of tokens
holds; then neither time nor memory depends on how unequal texts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.tokenisers import NEWLINE

Ids = NDArray[np.int64]


def side_by_side(texts: Sequence[NDArray[Any]]) -> tuple[Ids, Ids]:
    """Texts as columns [T, B], newlines after their ends, and their lengths [B]."""
    lengths = np.array([len(text) for text in texts])
    columns = np.full((lengths.max(), len(texts)), NEWLINE, np.int64)
    for column, text in enumerate(texts):
        columns[: len(text), column] = text
    return columns, lengths


def together(lengths: Ids, tokens: int | None, texts: int | None = None) -> Iterator[Ids]:
    """The indices of texts that go together, short ones first; texts of equal length keep their order.

    A group has at most `tokens` tokens, padding included, and `texts` texts, but always one text.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = len(order) if texts is None else start + texts
        if tokens is not None:
            needed = lengths[order[start:stop]] * np.arange(1, len(order[start:stop]) + 1)  # up to each of them
            stop = min(stop, start + max(1, int(np.searchsorted(needed, tokens, "right"))))
        yield order[start:stop]
        start = stop
