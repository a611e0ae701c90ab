"""A language model that makes many texts on a device, a block of tokens in all of them at once.

A block is one function of tensors: predict, draw, read the token, and so on for each of its steps. It reads nothing
back and its shapes are fixed, so that on a GPU it is one CUDA graph. The host sends the uniform numbers of a block
beforehand and fetches its tokens afterwards, while the next block runs already. The cost is that a text that stops
inside a block is made up to the block's end, and that what is launched for the last block is wasted.

Layers take a single step here, so they run by the plain equations, not by the kernels over time: in a graph their
small launches cost little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.decoding.device.sampling import draw_together
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights


class Drawn(NamedTuple):
    """A block of tokens on the host."""

    tokens: np.ndarray  # [S, B]
    log_probabilities: np.ndarray  # [S, B] in nats, by the model itself


@dataclass(frozen=True)
class Batch:
    """B texts side by side on a device: all that the next block depends on."""

    state: LanguageModelState
    recent: Array  # [B, W], the last tokens, for the repetition penalty

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the texts, or some of them several times."""
        places = arrays.from_numpy(np.array(rows, np.int64), self.recent)
        return Batch(language_model.take_texts(self.state, places), self.recent[places])


class Coming:
    """Tokens on their way from the device to the host."""

    def __init__(self, tokens: Array, log_probabilities: Array) -> None:
        from nlpseq.kernels.transfer import Arriving

        self._values = [Arriving(one) for one in (tokens, log_probabilities)]

    def wait(self) -> Drawn:
        """The tokens, once they are there."""
        return Drawn(*(one.wait() for one in self._values))


class BatchedSteps:
    """A language model and a way to draw, on a device."""

    def __init__(
        self, weights: Weights, options: LanguageModelOptions, sampling: SamplingOptions, recorder: Any = None
    ) -> None:
        """`weights` are tensors; `recorder` is that of a `Replay`."""
        from nlpseq.kernels.replay import Replay

        self.weights = weights
        self.options = options
        self.sampling = sampling
        self.vocabulary_size = int(weights["output.bias"].shape[0])
        self._names = tuple(language_model.flatten_state(language_model.begin(weights, options, 1)))
        self._replay = Replay(self.block, recorder=recorder)

    def advance(self, batch: Batch, uniforms: np.ndarray) -> tuple[Batch, Coming]:
        """Draw a block of tokens with numbers [S, B] and read them; `batch` stays as it is."""
        from nlpseq.kernels.transfer import to_device

        numbers = to_device(np.ascontiguousarray(uniforms), batch.recent.device)
        made = self._replay(numbers, batch.recent, *language_model.flatten_state(batch.state).values())
        tokens, log_probabilities, recent, *values = made
        after = Batch(self._restored([one.clone() for one in values]), recent.clone())
        return after, Coming(tokens, log_probabilities)

    def forget(self) -> None:
        """Give back the memory of what was recorded."""
        self._replay.forget()

    def _restored(self, values: Sequence[Array]) -> LanguageModelState:
        named = dict(zip(self._names, values, strict=True))
        texts = values[-1].shape[0]
        return language_model.restore_state(named, language_model.begin(self.weights, self.options, texts))

    def block(self, uniforms: Array, recent: Array, *values: Array) -> tuple[Array, ...]:
        """A block of S steps for numbers [S, B]; the results of each step, and what to go on from."""
        state = self._restored(values)
        drawn, likely = [], []
        for numbers in uniforms:
            features = language_model.output_features(self.weights, state.layers[-1][0].hidden)
            predicted = language_model.log_probabilities(self.weights, features)
            tokens = draw_together(self.sampling, predicted, numbers, recent)
            drawn.append(tokens)
            likely.append(arrays.pick(predicted, tokens))
            _, state = language_model.forward(self.weights, self.options, tokens[None], state)
            recent = arrays.concatenate([recent, tokens[:, None]])[:, 1:]
        after = language_model.flatten_state(state).values()
        return arrays.stack(drawn), arrays.stack(likely), recent, *after
