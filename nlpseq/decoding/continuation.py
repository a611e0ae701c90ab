"""Texts that grow side by side.

A step reads all weights of the model, however many texts it lengthens, so ten samples together cost little more than a
single one. A text that stops leaves the batch. The bytes of a text can be taken as they are drawn, except those that
may be the start of a stop string.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from nlpseq.decoding.sampling import Sampler
from nlpseq.text.tokenisers import Tokeniser


class Steps(Protocol):
    """B texts side by side, as `nlpseq.models.stepper.Stepper` keeps them."""

    def predict(self) -> np.ndarray:
        """The next token's log-probabilities [B, V], for each text."""

    def advance(self, tokens: Sequence[int]) -> None:
        """Read the next token of each text."""

    def choose(self, texts: Sequence[int]) -> None:
        """Keep only some of the texts."""


class Continuation:
    """A growing text: the tokens drawn after its prompt."""

    def __init__(
        self, tokeniser: Tokeniser, sampler: Sampler, previous: int | None = None, stops: Sequence[bytes] = ()
    ) -> None:
        """`previous` is the prompt's last token; the text ends before a string of `stops`."""
        self.tokens = 0
        self.log_probability = 0.0  # nats, under the model, independent of the temperature
        self.stopped = False
        self.previous = previous
        self.sampler = sampler
        self._tokeniser = tokeniser
        self._stops = tuple(stop for stop in stops if stop)
        self._held = b""
        self._ready: list[bytes] = []

    def extend(self, log_probabilities: np.ndarray) -> int:
        """Draw another token from log-probabilities [V]."""
        token = self.sampler.draw(log_probabilities)
        self.add(token, float(log_probabilities[token]))
        return token

    def add(self, token: int, log_probability: float) -> None:
        """Add a token, with its log-probability in nats."""
        self.tokens += 1
        self.log_probability += log_probability
        piece = self._tokeniser.piece(self.previous, token)
        self.previous = token
        self._ready.append(self._watch(piece) if self._stops else piece)

    def add_all(self, tokens: Sequence[int], log_probabilities: Sequence[float]) -> int:
        """Add one or more tokens, up to one that completes a stop string; returns the number of added tokens."""
        pieces = b"".join(map(self._tokeniser.piece, [self.previous, *tokens[:-1]], tokens))
        if any(stop in self._held + pieces for stop in self._stops):
            return self._add_until_stop(tokens, log_probabilities)
        self.tokens += len(tokens)
        self.log_probability = sum(log_probabilities, self.log_probability)
        self.previous = tokens[-1]
        self._ready.append(self._watch(pieces) if self._stops else pieces)
        return len(tokens)

    def _add_until_stop(self, tokens: Sequence[int], log_probabilities: Sequence[float]) -> int:
        for count, (token, nats) in enumerate(zip(tokens, log_probabilities, strict=True), 1):
            self.add(token, nats)
            if self.stopped:
                return count
        return len(tokens)

    def _watch(self, piece: bytes) -> bytes:
        """The bytes that can be shown after another piece; stops the text at a stop string."""
        self._held += piece
        starts = [start for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if starts:
            self.stopped = True
            shown, self._held = self._held[: min(starts)], b""
            return shown
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def finish(self) -> None:
        """End the text, and release the bytes that were held back."""
        self.stopped = True
        self._ready.append(self._held)
        self._held = b""

    def take(self) -> bytes:
        """The bytes that can be shown and were not taken before."""
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready


def _overlap(text: bytes, stop: bytes) -> int:
    """The length of the longest end of `text` that `stop` starts with; shorter than `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


def lengthen(steps: Steps, texts: Sequence[Continuation], length: int) -> Iterator[None]:
    """Lengthen each text, a token at a time, until it stops or has `length` tokens; yields after each token.

    Texts and `steps` are in the same order. At each yield, `steps` has read all tokens of the texts that were
    lengthened last.
    """
    growing = list(texts)
    for _ in range(length):
        predicted = steps.predict()
        steps.advance([text.extend(row) for text, row in zip(growing, predicted, strict=True)])
        yield
        rows = [row for row, text in enumerate(growing) if not text.stopped]
        if not rows:
            return
        if len(rows) < len(growing):
            steps.choose(rows)
            growing = [growing[row] for row in rows]
    for text in growing:
        text.finish()
    yield
