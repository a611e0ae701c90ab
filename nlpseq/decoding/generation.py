"""Generating text with a language model: prompts in, continuations out.

A prompt is read at once, then all texts of a group grow side by side. A prompt is tokenised as in training, so a word
model sees no unfamiliar spacing; the prompt is shown unchanged.

    for piece in generator.stream("Once upon a time"):
        print(piece, end="")
"""

from __future__ import annotations

import os
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.decoding.continuation import Continuation
from nlpseq.decoding.engine import engine_on
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from nlpseq.errors import OptionError
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.model_file import Model
from nlpseq.models.state_file import load_state, save_state
from nlpseq.models.stepper import Stepper
from nlpseq.options import check, option
from nlpseq.text.tokenisers import NEWLINE, Tokeniser, to_utf8


def sample_text(
    weights: Weights, options: LanguageModelOptions, tokeniser: Tokeniser, *, tokens: int, random_seed: int
) -> str:
    """A text of `tokens` tokens after a newline, as a sample from a model in training."""
    steps, sampler = Stepper(weights, options), Sampler(SamplingOptions(), str(random_seed))
    ids = [NEWLINE]
    for _ in range(tokens):
        steps.advance(ids[-1:])
        ids.append(sampler.draw(steps.predict()[0]))
    return tokeniser.decode_bytes(ids[1:]).decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """When texts end, and the random seed."""

    length: int = option(500, "most tokens in a text, without the seed", minimum=1, usual=True)
    stop: tuple[str, ...] = option((), "end a text before this string; may be repeated", metavar="TEXT", usual=True)
    random_seed: int | None = option(
        None, "seed of the random draws; the same seed gives the same texts [default: by chance]", minimum=0, usual=True
    )

    def __post_init__(self) -> None:
        stop: object = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stop, list | tuple) or not all(isinstance(text, str) and text for text in stop):
            raise OptionError("stop", f"must be texts that are not empty, was {stop!r}", "leave out --stop")
        object.__setattr__(self, "stop", tuple(stop))
        check(self)


@dataclass(frozen=True)
class Generated:
    """A growing text, and the prompt that it continues."""

    prompt: str
    text: Continuation
    random_seed: int

    def as_json(self) -> dict[str, object]:
        """The text since the last call of `take`, and how it was drawn."""
        return {
            "seed": self.prompt,
            "text": self.take(),
            "tokens": self.text.tokens,
            "log_probability": self.text.log_probability,
            "random_seed": self.random_seed,
        }

    def take(self) -> str:
        """The text since the last call; bytes that are not UTF-8 become U+FFFD."""
        return self.text.take().decode("utf-8", "replace")


class Group:
    """Texts that grow side by side."""

    def __init__(self, generator: Generator, steps: Any, texts: list[Generated]) -> None:
        """`steps` is the result of the engine's `begin`."""
        self.texts = texts
        self._generator = generator
        self._steps = steps

    def grow(self, *, at_once: bool = False) -> Iterator[None]:
        """Lengthen the texts until each has ended; yields after some tokens, or `at_once` after each of them."""
        continuations = [generated.text for generated in self.texts]
        return self._generator.engine.lengthen(self._steps, continuations, self._generator.length, at_once=at_once)

    def finish(self) -> list[Generated]:
        """The texts, once each has ended."""
        for _ in self.grow():
            pass
        return self.texts

    def save(self, path: Path) -> None:
        """Write the state after the only text.

        Raises OptionError if there are several texts, or no token yet; RunError if the file cannot be written.
        """
        if len(self.texts) != 1:
            raise OptionError("save_state", "saves the state after one text, but there may be several here")
        self._generator.save(path, self._steps.state, self.texts[0].text)


class TextStream:
    """One text, piece by piece, as it is drawn. Its state can be saved at any time.

    for piece in stream:
        print(piece, end="", flush=True)
    stream.save("state")
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._generated = group.texts[0]
        self._pieces = self._decoded()

    @property
    def tokens(self) -> int:
        """The number of tokens drawn so far."""
        return self._generated.text.tokens

    @property
    def log_probability(self) -> float:
        """The log-probability of these tokens in nats, under the model, independent of the temperature."""
        return self._generated.text.log_probability

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def save(self, path: str | Path) -> None:
        """Write the state after the tokens drawn so far, from which `state` continues.

        Raises OptionError if no token has been drawn yet, RunError if the file cannot be written.
        """
        self._group.save(Path(path))

    def _decoded(self) -> Iterator[str]:
        """Whole characters, as soon as their last byte is drawn."""
        decoder = getincrementaldecoder("utf-8")("replace")
        for _ in self._group.grow(at_once=True):
            if piece := decoder.decode(self._generated.text.take()):
                yield piece
        if piece := decoder.decode(b"", final=True):
            yield piece


class Generator:
    """A language model that continues texts."""

    def __init__(
        self,
        model: Model,
        options: LanguageModelOptions,
        sampling: SamplingOptions,
        generation: GenerationOptions,
        device: str = "cpu",
    ) -> None:
        """A missing random seed is drawn by chance. Raises BackendError if there is no such device."""
        self.model, self.options = model, options
        self.sampling = sampling
        seed = generation.random_seed
        self.random_seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
        self.length = generation.length
        self.stops = [to_utf8(string) for string in generation.stop]
        self.engine = engine_on(device, model.weights, options, sampling)
        self.start: LanguageModelState | None = None
        self.last: int | None = None  # token before the prompt
        self.texts = 0

    @classmethod
    def load(
        cls,
        path: Path,
        sampling: SamplingOptions,
        generation: GenerationOptions,
        device: str = "cpu",
        precision: str = "fp32",
    ) -> Generator:
        """Load a model file or run folder, and round the matrices to `precision`: fp32, bf16 or int8.

        Raises ModelFileError if there is no such model, BackendError if there is no such device.
        """
        return cls(*language_model.load(path, precision), sampling, generation, device)

    def resume(self, path: Path) -> None:
        """Let every prompt continue from a state in a file. Raises ModelFileError as `load_state` does."""
        self.start, self.last = load_state(path, self.model, self.options)

    def save(self, path: Path, state: LanguageModelState, text: Continuation) -> None:
        """Write the state after a text.

        Raises OptionError if no token of the text has been drawn, and RunError if the file cannot be written.
        """
        if text.previous is None:
            raise OptionError("save_state", "saves the state after a text, but no token of it has been drawn yet")
        save_state(path, self.model, language_model.map_state(arrays.to_numpy, state), text.previous)

    def stream(self, prompt: str) -> TextStream:
        """One text that continues a prompt, as it is drawn."""
        return TextStream(next(self.samples(prompt, 1)))

    def samples(self, prompt: str, count: int) -> Iterator[Group]:
        """`count` texts that continue one prompt, in groups that grow side by side."""
        tokens = self._encode(prompt)
        read = self._read([tokens])
        for first in range(0, count, self.engine.side_by_side):
            size = min(self.engine.side_by_side, count - first)
            same = arrays.from_numpy(np.zeros(size, np.int64), read.recent)
            steps = self.engine.begin(language_model.take_texts(read, same))
            yield Group(self, steps, [self._begin(prompt, tokens) for _ in range(size)])

    def continue_each(self, prompts: Sequence[str]) -> Iterator[Group]:
        """One text for each prompt, in order, in groups that grow side by side."""
        for first in range(0, len(prompts), self.engine.side_by_side):
            group = prompts[first : first + self.engine.side_by_side]
            encoded = [self._encode(prompt) for prompt in group]
            steps = self.engine.begin(self._read(encoded))
            texts = [self._begin(prompt, tokens) for prompt, tokens in zip(group, encoded, strict=True)]
            yield Group(self, steps, texts)

    def _encode(self, prompt: str) -> np.ndarray:
        return self.model.tokeniser.encode(prompt, exact=False)

    def _read(self, prompts: Sequence[np.ndarray]) -> LanguageModelState:
        """The state after each prompt's tokens, and after the newline or the saved text before them."""
        weights = self.engine.weights
        if self.start is None:
            prompts = [np.concatenate([[NEWLINE], tokens], dtype=np.int64) for tokens in prompts]
            return self.engine.read(prompts, language_model.begin(weights, self.options, 1))
        like = weights["embedding.weight"]
        start = language_model.map_state(lambda value: arrays.from_numpy(value, like), self.start)
        return self.engine.read(prompts, start)

    def _begin(self, prompt: str, tokens: np.ndarray) -> Generated:
        previous = int(tokens[-1]) if len(tokens) else self.last
        if prompt.endswith(" "):
            previous = None  # a word needs no further space before it
        seed = f"{self.random_seed}/{self.texts}"
        self.texts += 1
        sampler = Sampler(self.sampling, seed, tokens.tolist())
        return Generated(prompt, Continuation(self.model.tokeniser, sampler, previous, self.stops), self.random_seed)
