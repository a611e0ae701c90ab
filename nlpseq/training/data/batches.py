"""Batches of a token stream, for truncated back-propagation through time.

The text is cut into `batch_size` streams of equal length, and a batch holds the next `steps` tokens of each of them:

    a b c d e f g h i j k l      a e i
                            ->   b f j     the hidden state after a batch is carried into the next
                                 c g k
                                 d h l

Each pass over the text starts at another offset, so that the cuts fall at other positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nlpseq.text.stream import TokenStream
from nlpseq.training.data.seal import checked_place


class StreamBatches:
    """Batches of a text, without end. `passes` and `position` are all that is needed to resume."""

    def __init__(self, tokens: TokenStream, batch_size: int, steps: int, seed: int) -> None:
        self.tokens = tokens
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.passes = 0
        self.position = 0  # in each stream of this pass, in tokens

    @property
    def offset(self) -> int:
        """The first token of this pass: less than the steps of a batch, and less than a quarter of a stream."""
        spare = min(self.steps, (len(self.tokens) - 1) // (4 * self.batch_size))
        if self.passes == 0 or spare < 1:
            return 0
        return int(np.random.default_rng([self.seed, self.passes]).integers(spare))

    @property
    def length(self) -> int:
        """The number of tokens in a stream of this pass."""
        return (len(self.tokens) - 1 - self.offset) // self.batch_size

    def go_to(self, place: NDArray[np.int64]) -> None:
        """Continue from `passes` and `position` [2]. Raises ValueError if there is no such position."""
        passes, position = checked_place(place, 2)
        if position > len(self.tokens):
            raise ValueError(f"there is no position {position} in its data")
        self.passes, self.position = passes, position

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """The next inputs and targets, both [T, B] and one token apart; T may be smaller at the end of a pass."""
        if self.position >= self.length:
            self.passes += 1
            self.position = 0
        stop = min(self.position + self.steps, self.length)
        starts = self.offset + self.length * np.arange(self.batch_size)
        streams = [self.tokens[start + self.position : start + stop + 1] for start in starts]
        ids = np.stack(streams, 1).astype(np.int64)
        self.position = stop
        return ids[:-1], ids[1:]


def fit_batch(tokens: int, batch_size: int, steps: int) -> tuple[int, int]:
    """The batch size and number of steps, at most those requested, that a text of `tokens` tokens can fill."""
    steps = min(steps, tokens - 1)
    return max(1, min(batch_size, (tokens - 1) // steps)), steps
