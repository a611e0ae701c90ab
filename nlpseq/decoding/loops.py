"""Loops: texts that repeat the same few tokens again and again, as from a decoder that has lost its position.

A loop is REPEATS or more copies of up to LONGEST_PERIOD tokens in a row, at least SHORTEST tokens in all. Fewer copies
may be intended ("very, very, very"). The cost of the bound is that a longer refrain is not recognised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]

LONGEST_PERIOD = 16
REPEATS = 4
SHORTEST = 16


def copies(period: int) -> int:
    """The number of copies of `period` tokens that make a loop."""
    return max(REPEATS, -(-SHORTEST // period))


def loop_periods(tokens: Tokens) -> Tokens:
    """The shortest period [..] of a loop at the end of texts [.., T]; 0 without a loop."""
    length = tokens.shape[-1]
    periods = np.zeros(tokens.shape[:-1], np.int64)
    for period in range(min(LONGEST_PERIOD, length // REPEATS), 0, -1):
        span = period * copies(period)
        if span <= length:
            tail = tokens[..., length - span :]
            periods[(tail[..., period:] == tail[..., :-period]).all(-1)] = period
    return periods


def has_loop(tokens: Tokens) -> bool:
    """Whether there is a loop anywhere in a text [T]."""
    for period in range(1, min(LONGEST_PERIOD, len(tokens) // REPEATS) + 1):
        broken = np.flatnonzero(tokens[period:] != tokens[:-period])
        runs = np.diff(np.concatenate([[-1], broken, [len(tokens) - period]])) - 1
        if runs.max() >= period * (copies(period) - 1):
            return True
    return False


def have_loops(columns: Tokens, lengths: Tokens) -> list[bool]:
    """As `has_loop`, for each of many texts: ids [T, B] of lengths [B]."""
    looping = np.zeros(columns.shape[1], np.bool_)
    times = np.arange(len(columns))[:, None]
    for period in range(1, min(LONGEST_PERIOD, len(columns) // REPEATS) + 1):
        run = period * (copies(period) - 1)  # number of tokens that equal the token one period before
        equal = (columns[period:] == columns[:-period]) & (times[period:] < lengths)
        before = np.concatenate([np.zeros((1, len(looping)), np.int64), equal.cumsum(0)])
        if run < len(before):
            looping |= (before[run:] - before[:-run] == run).any(0)
    flags: list[bool] = looping.tolist()
    return flags


def without_repeats(tokens: list[int], period: int) -> list[int]:
    """A text that ends in a loop, with a single copy of its tokens."""
    kept = len(tokens)
    while kept > period and tokens[kept - 1] == tokens[kept - 1 - period]:
        kept -= 1
    return tokens[:kept]
