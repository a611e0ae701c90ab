"""A score with its unit, its parts and its signature.

The signature says how the number was computed, as in sacrebleu (Post, 2018): two numbers may be compared if their
signatures agree. A score keeps the parts that it is computed from, so averages never have to be averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

PER_CENT = frozenset(
    {"accuracy", "micro_f1", "macro_f1", "exact_match", "bleu", "chrf", "ter"}
)  # names of scores whose value is in per cent

Note = Callable[[str], object]  # called with a sentence that a reader of the score should know


def say_nothing(note: str) -> None:
    """Ignore a note."""


@dataclass(frozen=True)
class ScoreInterval:
    """A 95 % interval of a score, and a signature that says how it was found.

    `mean` and `half_width` are what sacrebleu prints, and None for scores that are not sacrebleu's.
    """

    low: float
    high: float
    signature: str
    mean: float | None = None
    half_width: float | None = None


@dataclass(frozen=True)
class Score:
    """One number with its unit, its parts and its signature, and its interval if it was asked for."""

    name: str
    value: float
    unit: str
    signature: str
    parts: dict[str, float]
    interval: ScoreInterval | None = None

    @property
    def shown(self) -> str:
        """The value in six digits, with a per cent sign if it is in per cent."""
        return shown_value(self.name, self.value)

    def as_json(self) -> dict[str, Any]:
        """The score as a JSON object; without an interval it has no such field."""
        fields = asdict(self)
        if self.interval is None:
            del fields["interval"]
        return fields

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4f} per {self.unit}  {self.signature}"


def shown_value(name: str, value: float) -> str:
    """The value of the score `name` in six digits, with a per cent sign if it is in per cent."""
    return f"{value:.6g} %" if name in PER_CENT else f"{value:.6g}"


@dataclass
class TextSize:
    """How large a text is, in the units that losses are divided by."""

    tokens: int = 0
    words: int = 0  # separated by white space; each line end counts as one more
    characters: int = 0
    bytes: int = 0

    def add(self, text: str) -> None:
        """Count one more piece of text. `words` is right only if pieces are cut at line ends."""
        self.words += len(text.split()) + text.count("\n")
        self.characters += len(text)
        self.bytes += len(text.encode("utf-8", "surrogateescape"))


def language_model_scores(nats: float, size: TextSize, signature: str) -> list[Score]:
    """The scores of a text whose total loss is `nats`, the most used first."""
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
    """Loss and perplexity of `tokens` tokens whose total loss is `nats`."""
    parts = {"nats": nats, "tokens": float(tokens)}
    return [
        Score(name, value, "token", f"{name}|unit:token|{signature}", parts)
        for name, value in (("loss", nats / tokens), ("perplexity", _exp(nats / tokens)))
    ]


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
