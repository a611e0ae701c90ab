"""Lengthens texts side by side with a language model: here on the CPU, in `nlpseq.decoding.device` on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from nlpseq import arrays
from nlpseq.decoding.continuation import Continuation, lengthen
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.device import on_device
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.stepper import Stepper

SIDE_BY_SIDE = 32  # texts; more texts hardly raise the speed, and take more memory


class Engine(Protocol):
    """Lengthens texts side by side on a device; `lengthen` takes the result of `begin`, which has a `state`."""

    side_by_side: int
    weights: Weights

    def read(self, prompts: Sequence[np.ndarray], start: LanguageModelState) -> LanguageModelState:
        """The state after each prompt's ids, each from the state `start` of one text."""

    def begin(self, state: LanguageModelState) -> Any:
        """Texts that continue from a state."""

    def lengthen(self, steps: Any, texts: Sequence[Continuation], length: int, *, at_once: bool) -> Iterator[None]:
        """Lengthen each text until it stops or has `length` tokens; yields at times, or `at_once` after each token."""


class HostEngine:
    """Lengthens texts on the CPU, by NumPy and compiled code."""

    side_by_side = SIDE_BY_SIDE

    def __init__(self, weights: Weights, options: LanguageModelOptions) -> None:
        self.weights = weights
        self.options = options

    def read(self, prompts: Sequence[np.ndarray], start: LanguageModelState) -> LanguageModelState:
        """As `Engine.read`; prompts are read one after the other."""
        states = []
        for ids in prompts:
            steps = Stepper(self.weights, self.options, start)
            steps.read(ids[:, None])
            states.append(steps.state)
        return language_model.join_states(states)

    def begin(self, state: LanguageModelState) -> Stepper:
        """As `Engine.begin`."""
        return Stepper(self.weights, self.options, state)

    def lengthen(self, steps: Stepper, texts: Sequence[Continuation], length: int, *, at_once: bool) -> Iterator[None]:
        """As `Engine.lengthen`; yields after each token."""
        return lengthen(steps, texts, length)


def engine_on(device: str, weights: Weights, options: LanguageModelOptions, sampling: SamplingOptions) -> Engine:
    """The engine for a device, named as for `on_device`. Raises BackendError if there is no such device."""
    moved = on_device(weights, device)
    if arrays.is_numpy(moved["embedding.weight"]):
        return HostEngine(moved, options)
    from nlpseq.decoding.device.generation import DeviceEngine

    return DeviceEngine(moved, options, sampling)
