"""How a language model may adapt to the text that it is evaluated on: a neural cache, or dynamic evaluation.

In both, each token is predicted first and learned from afterwards, so no token helps to predict itself. Scores of a
model that adapts may be compared only with scores of models that adapt in the same way; their signatures say how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nlpseq.errors import OptionError
from nlpseq.evaluation.perplexity import Tokens
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
from nlpseq.options import check, flag, option

MOST_STATES = 100_000
USUAL_CACHE = 2000  # states
SAFE_RATE = 0.01  # of dynamic evaluation: it improves models over characters, pieces of words and words


@dataclass(frozen=True, kw_only=True)
class AdaptationOptions:
    """How a language model adapts to a text while it reads it; by default not at all."""

    cache: int | None = option(
        None, "neural cache: number of last states that help to predict, as 2000", minimum=1, maximum=MOST_STATES
    )
    cache_theta: float = option(
        0.7, "how sharply the cache prefers states like the present one; 0: not at all", minimum=0, maximum=100
    )
    cache_lambda: float = option(0.15, "share of the cache in each prediction", above=0, below=1)
    dynamic: float | None = option(
        None,
        "dynamic evaluation: learning rate of training on the text so far, as 0.01 or, for words, 0.3; imports torch",
        above=0,
        maximum=100,
    )
    dynamic_decay: float = option(
        0.001, "how far the weights go back to their own values after each step", minimum=0, maximum=1
    )
    dynamic_tokens: int = option(20, "tokens that are learned from in a step", minimum=1, maximum=10_000)

    def __post_init__(self) -> None:
        check(self)
        if self.cache is not None and self.dynamic is not None:
            raise OptionError("cache and dynamic", "exclude each other", "leave out one of them")
        for owner, example in (("cache", USUAL_CACHE), ("dynamic", SAFE_RATE)):
            for name, kind in type(self).__dataclass_fields__.items():
                changed = name.startswith(f"{owner}_") and getattr(self, name) != kind.default
                if changed and getattr(self, owner) is None:
                    hint = f"{flag(owner)} {example} {flag(name)} {getattr(self, name):g}"
                    raise OptionError(name, f"has no effect without {flag(owner)}", hint)

    @property
    def signature(self) -> str:
        """The field of a signature; empty if the model does not adapt."""
        if self.cache is not None:
            return f"cache:{self.cache}:{self.cache_theta:g}:{self.cache_lambda:g}"
        if self.dynamic is not None:
            return f"dynamic:{self.dynamic:g}:{self.dynamic_decay:g}:{self.dynamic_tokens}"
        return ""


class Adaptive(Protocol):
    """A way to read a text while adapting to it."""

    adaptation: AdaptationOptions

    def text_loss(self, model: Model, options: LanguageModelOptions, tokens: Tokens) -> float:
        """The loss of a text in nats, each token predicted once, from what came before it."""
