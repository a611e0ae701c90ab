"""Columns of a token stream, for truncated back-propagation through time.

The stream is cut into `batch_size` columns of equal length, side by side, and a batch is the next `steps` rows:

    a b c d e f g h i j k l      a e i
                            ->   b f j     the hidden state after a batch is carried into the next
                                 c g k
                                 d h l

Each pass over the stream starts a little further in, so that the cuts do not always fall in the same places.
"""

from __future__ import annotations

import numpy as np

from nlpseq.text.stream import TokenStream


class Columns:
    """Batches of a stream, and the place in it. `offset` and `position` are all there is to resume from."""

    def __init__(self, stream: TokenStream, batch_size: int, steps: int, seed: int) -> None:
        self.stream = stream
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.passes = 0
        self.position = 0

    @property
    def offset(self) -> int:
        """Where this pass starts: less than a batch's steps in, and not so far that columns would be lost."""
        spare = min(self.steps, (len(self.stream) - 1) // (4 * self.batch_size))
        if self.passes == 0 or spare < 1:
            return 0
        return int(np.random.default_rng([self.seed, self.passes]).integers(spare))

    @property
    def height(self) -> int:
        """Tokens in a column, in this pass."""
        return (len(self.stream) - 1 - self.offset) // self.batch_size

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """The next inputs and targets, both [T, B] and one token apart; T may be smaller at a column's end."""
        if self.position >= self.height:
            self.passes += 1
            self.position = 0
        stop = min(self.position + self.steps, self.height)
        starts = self.offset + self.height * np.arange(self.batch_size)
        columns = [self.stream[start + self.position : start + stop + 1] for start in starts]
        rows = np.stack(columns, 1).astype(np.int64)
        self.position = stop
        return rows[:-1], rows[1:]


def fit_batch(tokens: int, batch_size: int, steps: int) -> tuple[int, int]:
    """The batch size and steps that a stream of `tokens` can fill, nearest to those asked for."""
    steps = min(steps, tokens - 1)
    return max(1, min(batch_size, (tokens - 1) // steps)), steps
