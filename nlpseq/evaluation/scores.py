"""A score with its unit, its parts and its signature.

The signature says how the number was made, in the manner of sacrebleu (Post, 2018): two numbers may be compared if
their signatures agree. A score is computed from its parts, which are kept, so that nobody has to average averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

Note = Callable[[str], object]  # is given a sentence about a score that its reader should know


def say_nothing(note: str) -> None:
    """Drop a note."""


@dataclass(frozen=True)
class Score:
    """One number, what it counts, and how it was made."""

    name: str
    value: float
    unit: str
    signature: str
    parts: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The score as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4f} per {self.unit}  {self.signature}"


@dataclass
class TextSize:
    """How large a text is, in the units that losses are divided by."""

    tokens: int = 0
    words: int = 0  # between spaces, and one more for each line's end
    characters: int = 0
    bytes: int = 0

    def add(self, text: str) -> None:
        """Count one more piece of text; pieces are cut at line ends for `words` to be right."""
        self.words += len(text.split()) + text.count("\n")
        self.characters += len(text)
        self.bytes += len(text.encode("utf-8", "surrogateescape"))


def language_model_scores(nats: float, size: TextSize, signature: str) -> list[Score]:
    """The scores of a text that costs `nats` in all, from the most used to the least."""
    parts = {"nats": nats, **{key: float(value) for key, value in asdict(size).items()}}

    def score(name: str, value: float, unit: str) -> Score:
        return Score(name, value, unit, f"{name}|unit:{unit}|{signature}", parts)

    return [
        score("loss", nats / size.tokens, "token"),
        score("perplexity", _exp(nats / size.tokens), "token"),
        score("perplexity", _exp(nats / max(1, size.words)), "word"),
        score("bits_per_byte", nats / math.log(2) / max(1, size.bytes), "byte"),
        score("bits_per_character", nats / math.log(2) / max(1, size.characters), "character"),
    ]


def token_scores(nats: float, tokens: int, signature: str) -> list[Score]:
    """Loss and perplexity of `tokens` tokens that cost `nats` in all."""
    parts = {"nats": nats, "tokens": float(tokens)}
    return [
        Score(name, value, "token", f"{name}|unit:token|{signature}", parts)
        for name, value in (("loss", nats / tokens), ("perplexity", _exp(nats / tokens)))
    ]


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
