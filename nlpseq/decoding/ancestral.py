"""Ancestral sampling: texts drawn token by token, each token from the model's own distribution.

Every text has its own random generator, so the texts of a line do not depend on the lines beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlpseq.decoding.beam import Decoder, Hypothesis
from nlpseq.decoding.loops import SHORTEST, loop_periods, without_repeats
from nlpseq.decoding.sampling import Sampler


def draw(
    decoder: Decoder,
    limits: Sequence[int],
    start: int,
    end: int,
    samplers: Sequence[Sequence[Sampler]],
    *,
    shortest: int = 0,
    may_loop: Sequence[bool] | None = None,
) -> list[list[Hypothesis]]:
    """K texts for each of B sources, in the order drawn, by `samplers` [B][K]; other arguments as for `search`."""
    width = len(samplers[0])
    drawn = [_Drawn(sampler) for group in samplers for sampler in group]
    allowed = may_loop or [False] * len(limits)
    sources = np.arange(len(limits))
    ids = np.full(len(drawn), start, np.int64)
    while len(sources):
        texts = (sources[:, None] * width + np.arange(width)).reshape(-1)
        growing = np.array([row for row, text in enumerate(texts) if not drawn[text].ended])
        logits = decoder.step(ids, growing)
        ids = np.full(len(texts), end, np.int64)
        for row, values in zip(growing, logits.values - logits.log_sums[:, None], strict=True):
            source = texts[row] // width
            ids[row] = drawn[texts[row]].add(values, end, shortest, limits[source], allowed[source])
        unfinished = [not all(drawn[text].ended for text in group) for group in texts.reshape(-1, width)]
        kept = np.flatnonzero(np.array(unfinished))
        rows = (kept[:, None] * width + np.arange(width)).reshape(-1)
        decoder.select(kept, rows)
        ids, sources = ids[rows], sources[kept]
    return [[text.hypothesis() for text in drawn[first : first + width]] for first in range(0, len(drawn), width)]


class _Drawn:
    """A text that is being drawn."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.tokens: list[int] = []
        self.total = 0.0
        self.ended = self.cut = False

    def add(self, log_probabilities: np.ndarray, end: int, shortest: int, limit: int, may_loop: bool) -> int:
        """Draw the next token from log-probabilities [V]; returns it."""
        if len(self.tokens) == limit:
            self.cut, token = True, end
        else:
            if len(self.tokens) < shortest:
                log_probabilities[end] = -np.inf
            token = self.sampler.draw(log_probabilities)
        self.total += float(log_probabilities[token])
        if token == end:
            self.ended = True
            return end
        self.tokens.append(token)
        if not may_loop and len(self.tokens) >= SHORTEST and (period := int(loop_periods(np.array(self.tokens)))):
            self.tokens = without_repeats(self.tokens, period)
            self.ended = self.cut = True
        return token

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(self.tokens, self.total, self.total, self.cut)
