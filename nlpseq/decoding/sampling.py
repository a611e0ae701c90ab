"""From a model's log-probabilities to the next token.

What may be drawn is narrowed in this order: repetition penalty, temperature, top-k, top-p, min-p. Each of the
last three is a least probability that a token must have, so nothing is ever sorted back and tokens as probable
as the last one kept are kept too. What is switched off costs nothing; drawing inverts the cumulative
distribution with one uniform number.

The numbers come from Python's own generator, whose sequence is fixed for good by its documentation, so that a
seed means the same text on every platform, as far as the model's own arithmetic is the same there.

    temperature           Ackley et al. (1985)
    top-k                 Fan et al. (2018)
    top-p, the nucleus    Holtzman et al. (2020)
    min-p                 Nguyen et al. (2024)
    repetition penalty    Keskar et al. (2019), here on log-probabilities
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import numpy as np

from nlpseq.options import check, option

COLDEST = 1e-6  # below it the likeliest token is taken: log-probabilities divided by less would overflow


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How the next token is drawn."""

    temperature: float = option(0.8, "0: always the likeliest token; 1: as the model says", minimum=0, maximum=100)
    top_k: int = option(0, "draw among the K likeliest tokens; 0: all", minimum=0)
    top_p: float = option(1.0, "draw among the likeliest tokens that hold this share together", above=0, maximum=1)
    min_p: float = option(0.0, "draw among tokens at least this share as likely as the likeliest", minimum=0, maximum=1)
    repetition_penalty: float = option(1.0, "make recent tokens less likely: 1 leaves them be", minimum=1, maximum=100)
    repetition_window: int = option(64, "how many tokens are recent", minimum=1)

    def __post_init__(self) -> None:
        check(self)


class Sampler:
    """Draws one text's tokens, one after another."""

    def __init__(self, options: SamplingOptions, seed: str, recent: Iterable[int] = ()) -> None:
        """`recent` are the tokens before the first one drawn, for the repetition penalty."""
        self.options = options
        self._uniform = Random(seed).random
        self._penalises = options.repetition_penalty != 1
        self._narrows = bool(options.top_k or options.top_p < 1 or options.min_p)
        self._recent = deque(recent, options.repetition_window)

    @property
    def recent(self) -> list[int]:
        """The tokens that the repetition penalty is for, the oldest first; none where it is switched off."""
        return list(self._recent) if self._penalises else []

    def uniforms(self, count: int) -> list[float]:
        """The numbers that the next `count` tokens are drawn with, for whoever draws them elsewhere."""
        if self.options.temperature < COLDEST:
            return [0.0] * count
        return [self._uniform() for _ in range(count)]

    def draw(self, log_probabilities: np.ndarray) -> int:
        """The next token, of log-probabilities [V] in nats."""
        if self._penalises:
            log_probabilities = self._penalised(log_probabilities)
        temperature = self.options.temperature
        if temperature < COLDEST:
            token = int(log_probabilities.argmax())
        else:
            if temperature != 1:
                log_probabilities = (log_probabilities - log_probabilities.max()) / temperature
            token = self._invert(np.exp(log_probabilities))
        if self._penalises:
            self._recent.append(token)
        return token

    def _invert(self, probabilities: np.ndarray) -> int:
        """The token at a random place of the cumulative distribution; the weights [V] need not sum to one."""
        if self._narrows:
            probabilities = np.where(probabilities >= least_kept(probabilities, self.options), probabilities, 0)
        cumulative = probabilities.cumsum(dtype=np.float64)
        return int(cumulative.searchsorted(self._uniform() * cumulative[-1], "right"))

    def _penalised(self, log_probabilities: np.ndarray) -> np.ndarray:
        changed = log_probabilities.copy()
        seen = list(set(self._recent))
        changed[seen] *= self.options.repetition_penalty
        return changed


def least_kept(probabilities: np.ndarray, options: SamplingOptions) -> float:
    """The weight below which top-k, top-p and min-p together drop a token, of weights [V] that need not sum to one."""
    least = 0.0
    likeliest = probabilities
    if 0 < options.top_k < len(probabilities):
        likeliest = np.partition(probabilities, -options.top_k)[-options.top_k :]
        least = float(likeliest[0])
    if options.top_p < 1:
        falling = np.sort(likeliest)[::-1]
        cumulative = falling.cumsum(dtype=np.float64)
        least = float(falling[cumulative.searchsorted(options.top_p * cumulative[-1])])
    return max(least, options.min_p * float(probabilities.max()))
