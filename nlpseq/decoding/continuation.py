"""Texts in the making, side by side.

A step reads all of the model's weights however many texts it lengthens, so ten samples together cost little
more than one. Texts that stop leave the others. A text's bytes are given out as they come, but for those that
may yet turn out to be the beginning of a stop string.
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
        """Go on by one token in each text."""

    def choose(self, texts: Sequence[int]) -> None:
        """Go on with some of the texts only."""


class Continuation:
    """One text in the making: what has been drawn after its prompt."""

    def __init__(
        self, tokeniser: Tokeniser, sampler: Sampler, previous: int | None = None, stops: Sequence[bytes] = ()
    ) -> None:
        """`previous` is the prompt's last token, `stops` are strings that end the text and are no part of it."""
        self.tokens = 0
        self.log_probability = 0.0  # nats, by the model itself, whatever the temperature
        self.stopped = False
        self.previous = previous
        self.sampler = sampler
        self._tokeniser = tokeniser
        self._stops = tuple(stop for stop in stops if stop)
        self._held = b""
        self._ready: list[bytes] = []

    def extend(self, log_probabilities: np.ndarray) -> int:
        """Draw one more token from log-probabilities [V]."""
        token = self.sampler.draw(log_probabilities)
        self.add(token, float(log_probabilities[token]))
        return token

    def add(self, token: int, log_probability: float) -> None:
        """Take one more token, of a log-probability in nats."""
        self.tokens += 1
        self.log_probability += log_probability
        piece = self._tokeniser.piece(self.previous, token)
        self.previous = token
        self._ready.append(self._watch(piece) if self._stops else piece)

    def add_all(self, tokens: Sequence[int], log_probabilities: Sequence[float]) -> int:
        """Take several more tokens, one at least, up to the one that a stop string ends in; how many were taken."""
        pieces = b"".join(map(self._tokeniser.piece, [self.previous, *tokens[:-1]], tokens))
        if any(stop in self._held + pieces for stop in self._stops):
            return self._add_until_stop(tokens, log_probabilities)
        self.tokens += len(tokens)
        self.log_probability = sum(log_probabilities, self.log_probability)
        self.previous = tokens[-1]
        self._ready.append(self._watch(pieces) if self._stops else pieces)
        return len(tokens)

    def _add_until_stop(self, tokens: Sequence[int], log_probabilities: Sequence[float]) -> int:
        for taken, (token, nats) in enumerate(zip(tokens, log_probabilities, strict=True), 1):
            self.add(token, nats)
            if self.stopped:
                return taken
        return len(tokens)

    def _watch(self, piece: bytes) -> bytes:
        """What can be shown after one more piece; notices a stop string."""
        self._held += piece
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)], b""
            return shown
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def finish(self) -> None:
        """No more tokens will come: what was held back is part of the text."""
        self.stopped = True
        self._ready.append(self._held)
        self._held = b""

    def take(self) -> bytes:
        """The bytes that can be shown and have not been taken yet."""
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready


def _overlap(text: bytes, stop: bytes) -> int:
    """The length of the longest end of `text` that `stop` begins with, short of all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


def lengthen(steps: Steps, texts: Sequence[Continuation], length: int) -> Iterator[None]:
    """Lengthen each text, a token at a time, until it stops or is `length` tokens long; yields after each token.

    Texts and `steps` stand in the same order. At the end `steps` has read all tokens of the texts that went on
    longest.
    """
    going = list(texts)
    for _ in range(length):
        predicted = steps.predict()
        tokens = [text.extend(one) for text, one in zip(going, predicted, strict=True)]
        yield
        steps.advance(tokens)
        rows = [row for row, text in enumerate(going) if not text.stopped]
        if not rows:
            return
        if len(rows) < len(going):
            steps.choose(rows)
            going = [going[row] for row in rows]
    for text in going:
        text.finish()
    yield
