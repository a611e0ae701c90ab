"""From a model's log-probabilities to the next token.

The options apply in this order: repetition penalty, temperature, top-k, top-p, min-p. Each of the last three becomes a
least probability, so the tokens need not be sorted back, and tokens with exactly that probability are kept. An option
that is off costs nothing. A token is drawn by inverting the cumulative distribution at a uniform random number.

The random numbers come from Python's own generator, whose sequence is documented. So a seed gives the same text on
every platform with the same model arithmetic.

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

from nlpseq.errors import ModelFileError
from nlpseq.options import check, option

COLDEST = 1e-6  # a lower temperature takes the likeliest token, because a division by it would overflow


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How the next token is drawn."""

    temperature: float = option(
        0.8, "0: always the likeliest token; 1: the model's own distribution", minimum=0, maximum=100, usual=True
    )
    top_k: int = option(0, "draw among the K likeliest tokens; 0: all", minimum=0, usual=True)
    top_p: float = option(
        1.0, "draw among the likeliest tokens that together have this probability", above=0, maximum=1
    )
    min_p: float = option(0.0, "drop tokens less probable than this times the likeliest token", minimum=0, maximum=1)
    repetition_penalty: float = option(1.0, "make recent tokens less likely; 1: no penalty", minimum=1, maximum=100)
    repetition_window: int = option(64, "number of tokens that count as recent", minimum=1)

    def __post_init__(self) -> None:
        check(self)


class Sampler:
    """Draws the tokens of one text, one after another."""

    def __init__(self, options: SamplingOptions, seed: str, recent: Iterable[int] = ()) -> None:
        """`recent` are the tokens before the first drawn token, for the repetition penalty."""
        self.options = options
        self._uniform = Random(seed).random
        self._penalises = options.repetition_penalty != 1
        self._narrows = bool(options.top_k or options.top_p < 1 or options.min_p)
        self._recent = deque(recent, options.repetition_window)

    @property
    def recent(self) -> list[int]:
        """The tokens that the repetition penalty applies to, oldest first; empty if it is off."""
        return list(self._recent) if self._penalises else []

    def uniforms(self, count: int) -> list[float]:
        """The random numbers of the next `count` tokens, for drawing them on a device."""
        if self.options.temperature < COLDEST:
            return [0.0] * count
        return [self._uniform() for _ in range(count)]

    def draw(self, log_probabilities: np.ndarray) -> int:
        """The next token, from log-probabilities [V] in nats.

        Raises ModelFileError if they are not numbers, as those of a model whose training diverged.
        """
        if not log_probabilities.max() > -np.inf:
            what = "its probabilities are not numbers: its training has diverged"
            raise ModelFileError("the model", what, "train it again with a lower --learning-rate")
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
        """The token at a random point of the cumulative distribution; probabilities [V] need not sum to one."""
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
    """The probability below which top-k, top-p or min-p drops a token; probabilities [V] need not sum to one."""
    least = 0.0
    likeliest = probabilities
    if 0 < options.top_k < len(probabilities):
        likeliest = np.partition(probabilities, -options.top_k)[-options.top_k :]
        least = float(likeliest[0])
    if options.top_p < 1:
        descending = np.sort(likeliest)[::-1]
        cumulative = descending.cumsum(dtype=np.float64)
        least = float(descending[cumulative.searchsorted(options.top_p * cumulative[-1])])
    return max(least, options.min_p * float(probabilities.max()))
