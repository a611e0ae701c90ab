"""Generating text with a language model: prompts in, continuations out.

A prompt is read in one stretch, then all texts are lengthened side by side. A prompt's tokens are made as in
training, so that a word model does not see spacing that it never saw; what is shown of a prompt is the prompt
itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlpseq.decoding.continuation import Continuation, lengthen
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.state_file import load_state, save_state
from nlpseq.models.stepper import Stepper
from nlpseq.text.tokenisers import NEWLINE, Tokeniser, to_utf8

SIDE_BY_SIDE = 32  # texts; more of them hardly share more, and hold more memory


def sample_text(
    weights: Weights, options: LanguageModelOptions, tokeniser: Tokeniser, *, tokens: int, random_seed: int
) -> str:
    """A short text of so many tokens after a newline, as a look at a model in training."""
    steps, sampler = Stepper(weights, options), Sampler(SamplingOptions(), str(random_seed))
    ids = [NEWLINE]
    for _ in range(tokens):
        steps.advance(ids[-1:])
        ids.append(sampler.draw(steps.predict()[0]))
    return tokeniser.decode_bytes(ids[1:]).decode("utf-8", "replace")


@dataclass(frozen=True)
class Generated:
    """A text in the making, and what it continues."""

    prompt: str
    text: Continuation


class Generator:
    """A language model that continues texts."""

    def __init__(
        self,
        path: Path,
        sampling: SamplingOptions,
        *,
        random_seed: int | None,
        length: int,
        stops: Sequence[str] = (),
        precision: str = "fp32",
    ) -> None:
        """Raises ModelFileError if there is no such model.

        Without a `random_seed` one is drawn. `length` is counted in tokens, the prompt's not among them. `precision`
        is that of the weights, as in `language_model.rounded`.
        """
        self.model, self.options = language_model.load(path, precision)
        self.sampling = sampling
        self.random_seed = int.from_bytes(os.urandom(4), "big") if random_seed is None else random_seed
        self.length = length
        self.stops = [to_utf8(stop) for stop in stops]
        self.start: LanguageModelState | None = None
        self.last: int | None = None  # token before the prompt
        self.texts = 0

    def resume(self, path: Path) -> None:
        """Let every prompt go on from a state in a file. Raises ModelFileError as `load_state` does."""
        self.start, self.last = load_state(path, self.model, self.options)

    def save(self, path: Path, steps: Stepper, text: Continuation) -> None:
        """Write the state after the one text that `steps` holds. Raises RunError if that cannot be done."""
        assert text.previous is not None
        save_state(path, self.model, steps.state, text.previous)

    def samples(self, prompt: str, count: int) -> Iterator[tuple[Stepper, list[Generated]]]:
        """`count` texts that continue one prompt, in groups that are to be lengthened together."""
        read, tokens = self._read(prompt)
        for first in range(0, count, SIDE_BY_SIDE):
            number = min(SIDE_BY_SIDE, count - first)
            steps = Stepper(self.model.weights, self.options, language_model.join_states([read.state] * number))
            yield steps, [self._begin(prompt, tokens) for _ in range(number)]

    def continue_each(self, prompts: Sequence[str]) -> Iterator[tuple[Stepper, list[Generated]]]:
        """One text for each prompt, in order, in groups that are to be lengthened together."""
        for first in range(0, len(prompts), SIDE_BY_SIDE):
            group = prompts[first : first + SIDE_BY_SIDE]
            begun = [self._read(prompt) for prompt in group]
            states = language_model.join_states([steps.state for steps, _ in begun])
            texts = [self._begin(prompt, tokens) for prompt, (_, tokens) in zip(group, begun, strict=True)]
            yield Stepper(self.model.weights, self.options, states), texts

    def lengthen(self, steps: Stepper, texts: Sequence[Generated]) -> Iterator[None]:
        """Make a group of texts as long as they will be; yields after each token."""
        return lengthen(steps, [one.text for one in texts], self.length)

    def _read(self, prompt: str) -> tuple[Stepper, np.ndarray]:
        steps = Stepper(self.model.weights, self.options, self.start)
        tokens = self.model.tokeniser.encode(prompt, exact=False)
        before = [NEWLINE] if self.start is None else []
        steps.read(np.concatenate([np.array(before, np.int32), tokens])[:, None])
        return steps, tokens

    def _begin(self, prompt: str, tokens: np.ndarray) -> Generated:
        previous = int(tokens[-1]) if len(tokens) else self.last
        if prompt.endswith(" "):
            previous = None  # a word needs no further space before it
        seed = f"{self.random_seed}/{self.texts}"
        self.texts += 1
        sampler = Sampler(self.sampling, seed, tokens.tolist())
        return Generated(prompt, Continuation(self.model.tokeniser, sampler, previous, self.stops))
