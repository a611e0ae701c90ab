"""Generating text with a language model: prompts in, continuations out.

A prompt is read in one stretch, then all texts are lengthened side by side; how, is the business of a road, one for the
CPU and one for tensors on a device. A prompt's tokens are made as in
training, so that a word model does not see spacing that it never saw; what is shown of a prompt is the prompt
itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nlpseq import arrays
from nlpseq.decoding.continuation import Continuation, lengthen
from nlpseq.decoding.sampling import Sampler, SamplingOptions
from nlpseq.models import language_model
from nlpseq.models.device import on_device
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


class Road(Protocol):
    """How texts are made side by side on some device; what `begin` makes is for `lengthen` and knows its `state`."""

    side_by_side: int
    weights: Weights

    def read(self, prompts: Sequence[np.ndarray], start: LanguageModelState) -> LanguageModelState:
        """The state after each prompt's ids, each from the state `start` of one text."""

    def begin(self, state: LanguageModelState) -> Any:
        """Texts that go on from a state."""

    def lengthen(self, steps: Any, texts: Sequence[Continuation], length: int, *, at_once: bool) -> Iterator[None]:
        """Lengthen each text until it stops or is `length` tokens long; yields now and then, `at_once` each token."""


class HostRoad:
    """On the CPU, by NumPy and compiled code."""

    side_by_side = SIDE_BY_SIDE

    def __init__(self, weights: Weights, options: LanguageModelOptions) -> None:
        self.weights = weights
        self.options = options

    def read(self, prompts: Sequence[np.ndarray], start: LanguageModelState) -> LanguageModelState:
        """As `Road.read`, one after the other."""
        states = []
        for ids in prompts:
            steps = Stepper(self.weights, self.options, start)
            steps.read(ids[:, None])
            states.append(steps.state)
        return language_model.join_states(states)

    def begin(self, state: LanguageModelState) -> Stepper:
        """As `Road.begin`."""
        return Stepper(self.weights, self.options, state)

    def lengthen(self, steps: Stepper, texts: Sequence[Continuation], length: int, *, at_once: bool) -> Iterator[None]:
        """As `Road.lengthen`; yields after each token."""
        return lengthen(steps, texts, length)


def road_on(device: str, weights: Weights, options: LanguageModelOptions, sampling: SamplingOptions) -> Road:
    """How texts are made on a device, as `on_device` names it. Raises BackendError if there is no such device."""
    placed = on_device(weights, device)
    if arrays.is_numpy(placed["embedding.weight"]):
        return HostRoad(placed, options)
    from nlpseq.decoding.device.generation import DeviceRoad

    return DeviceRoad(placed, options, sampling)


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
        device: str = "cpu",
    ) -> None:
        """Raises ModelFileError if there is no such model, BackendError if there is no such device.

        Without a `random_seed` one is drawn. `length` is counted in tokens, the prompt's not among them. `precision`
        is that of the weights, as in `language_model.rounded`.
        """
        self.model, self.options = language_model.load(path, precision)
        self.sampling = sampling
        self.random_seed = int.from_bytes(os.urandom(4), "big") if random_seed is None else random_seed
        self.length = length
        self.stops = [to_utf8(stop) for stop in stops]
        self.road = road_on(device, self.model.weights, self.options, sampling)
        self.start: LanguageModelState | None = None
        self.last: int | None = None  # token before the prompt
        self.texts = 0

    def resume(self, path: Path) -> None:
        """Let every prompt go on from a state in a file. Raises ModelFileError as `load_state` does."""
        self.start, self.last = load_state(path, self.model, self.options)

    def save(self, path: Path, steps: Any, text: Continuation) -> None:
        """Write the state after the one text that `steps` holds. Raises RunError if that cannot be done."""
        assert text.previous is not None
        state = language_model.map_state(arrays.to_numpy, steps.state)
        save_state(path, self.model, state, text.previous)

    def samples(self, prompt: str, count: int) -> Iterator[tuple[Any, list[Generated]]]:
        """`count` texts that continue one prompt, in groups that are to be lengthened together."""
        tokens = self._encode(prompt)
        read = self._read([tokens])
        for first in range(0, count, self.road.side_by_side):
            number = min(self.road.side_by_side, count - first)
            same = arrays.from_numpy(np.zeros(number, np.int64), read.recent)
            steps = self.road.begin(language_model.take_texts(read, same))
            yield steps, [self._begin(prompt, tokens) for _ in range(number)]

    def continue_each(self, prompts: Sequence[str]) -> Iterator[tuple[Any, list[Generated]]]:
        """One text for each prompt, in order, in groups that are to be lengthened together."""
        for first in range(0, len(prompts), self.road.side_by_side):
            group = prompts[first : first + self.road.side_by_side]
            tokens = [self._encode(prompt) for prompt in group]
            steps = self.road.begin(self._read(tokens))
            yield steps, [self._begin(prompt, one) for prompt, one in zip(group, tokens, strict=True)]

    def lengthen(self, steps: Any, texts: Sequence[Generated], *, at_once: bool = False) -> Iterator[None]:
        """Make a group of texts as long as they will be; yields after some tokens, or each one if seen `at_once`."""
        return self.road.lengthen(steps, [one.text for one in texts], self.length, at_once=at_once)

    def _encode(self, prompt: str) -> np.ndarray:
        return self.model.tokeniser.encode(prompt, exact=False)

    def _read(self, prompts: Sequence[np.ndarray]) -> LanguageModelState:
        """The state after each prompt's tokens, and what stands before them."""
        if self.start is None:
            begun = language_model.begin(self.model.weights, self.options, 1)
            prompts = [np.concatenate([[NEWLINE], one], dtype=np.int64) for one in prompts]
        else:
            begun = self.start
        like = self.road.weights["embedding.weight"]
        return self.road.read(prompts, language_model.map_state(lambda one: arrays.from_numpy(one, like), begun))

    def _begin(self, prompt: str, tokens: np.ndarray) -> Generated:
        previous = int(tokens[-1]) if len(tokens) else self.last
        if prompt.endswith(" "):
            previous = None  # a word needs no further space before it
        seed = f"{self.random_seed}/{self.texts}"
        self.texts += 1
        sampler = Sampler(self.sampling, seed, tokens.tolist())
        return Generated(prompt, Continuation(self.model.tokeniser, sampler, previous, self.stops))
