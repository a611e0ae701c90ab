"""The continuous neural cache (Grave, Joulin and Usunier, 2017): a language model that remembers what it has just read.

The cache holds the last states of the text, each with the token that followed it. A token's probability in the cache
is the share of the states that it followed, each weighted by exp(theta * state . present state). The prediction is
lambda times that, and 1 - lambda times the model's own. Nothing is trained.

The states are the features of the output layer. The cost is the product of each state with all those in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from nlpseq import arrays
from nlpseq.evaluation.adaptation import AdaptationOptions
from nlpseq.evaluation.perplexity import Tokens
from nlpseq.evaluation.reader import Reader
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model

ROWS = 128  # states that are compared with the cache together


class NeuralCache:
    """The last `size` states of a text, and the tokens that followed them."""

    def __init__(self, size: int, theta: float) -> None:
        self.size = size
        self.theta = theta
        self._states: np.ndarray | None = None  # [K, E]
        self._tokens = np.empty(0, np.int64)  # [K]

    def read(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The cache's probability [N] of each of the next tokens [N], and then remember their states [N, E].

        Each token's is computed before it is remembered; without any state it is nan.
        """
        found = [
            self._read(states[start : start + ROWS], tokens[start : start + ROWS])
            for start in range(0, len(tokens), ROWS)
        ]
        return np.concatenate(found)

    def _read(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        known = len(self._tokens)
        everything = states if self._states is None else np.concatenate([self._states, states])
        followed = np.concatenate([self._tokens, tokens])
        present, index = np.arange(known, len(followed))[:, None], np.arange(len(followed))
        outside = (index >= present) | (index < present - self.size)
        scores = (self.theta * states) @ everything.T
        scores[outside] = -np.inf
        if not known:
            scores[0, 0] = 0.0  # the first state has nothing to look at
        shares = arrays.softmax(scores)
        shares[(followed != tokens[:, None]) | outside] = 0
        probabilities: np.ndarray = shares.sum(1, dtype=np.float64)
        if not known:
            probabilities[0] = np.nan
        self._states, self._tokens = everything[-self.size :].copy(), followed[-self.size :].copy()
        return probabilities


def mixed_losses(losses: np.ndarray, cached: np.ndarray, share: float) -> np.ndarray:
    """-log p [N] in nats of the mixture: the model's own `losses` [N], and the cache's probabilities [N] or nan."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mixed = -np.logaddexp(math.log1p(-share) - losses, math.log(share) + np.log(cached))
    return np.where(np.isnan(cached), losses, mixed)


class CacheReading:
    """Reads a text with a neural cache: an `nlpseq.evaluation.adaptation.Adaptive`."""

    def __init__(self, adaptation: AdaptationOptions) -> None:
        """The options must have the size of a cache."""
        assert adaptation.cache is not None
        self.adaptation = adaptation

    def text_loss(self, model: Model, options: LanguageModelOptions, tokens: Tokens) -> float:
        """As `Adaptive.text_loss`."""
        reader = Reader(model.weights, options)
        cache = NeuralCache(self.adaptation.cache or 0, self.adaptation.cache_theta)
        nats = 0.0
        for features, targets in reader.text_features(tokens):
            losses = arrays.to_numpy(reader.losses(features, reader.place(targets)))
            cached = cache.read(arrays.to_numpy(features), targets)
            nats += float(mixed_losses(losses, cached, self.adaptation.cache_lambda).sum())
        return nats
