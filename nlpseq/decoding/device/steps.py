"""A language model that lengthens many texts on a device, by a block of tokens at a time.

A block is one function of tensors that predicts, draws and reads a token in each of its steps. It reads nothing back
and its shapes are fixed, so on a GPU it is one CUDA graph. The host sends the uniform numbers of a block before it, and
fetches its tokens after it, while the next block runs. The cost is that a text that stops inside a block is continued
to the end of the block, and that the block launched after the last one is wasted.

Layers run single steps here, so they use the plain equations and not the kernels over time; in a graph their small
launches cost little.
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
    log_probabilities: np.ndarray  # [S, B] in nats, under the model


@dataclass(frozen=True)
class Batch:
    """B texts side by side on a device: everything that the next block depends on."""

    state: LanguageModelState
    recent: Array  # [B, W], the last tokens, for the repetition penalty

    def take(self, rows: Sequence[int]) -> Batch:
        """The texts in `rows`, which may repeat."""
        chosen = arrays.from_numpy(np.array(rows, np.int64), self.recent)
        return Batch(language_model.take_texts(self.state, chosen), self.recent[chosen])


class Coming:
    """Tokens on their way from the device to the host."""

    def __init__(self, tokens: Array, log_probabilities: Array) -> None:
        from nlpseq.kernels.transfer import Arriving

        self._values = [Arriving(values) for values in (tokens, log_probabilities)]

    def wait(self) -> Drawn:
        """The tokens, once they have arrived."""
        return Drawn(*(values.wait() for values in self._values))


class BatchedSteps:
    """A language model and sampling options, on a device."""

    def __init__(
        self, weights: Weights, options: LanguageModelOptions, sampling: SamplingOptions, recorder: Any = None
    ) -> None:
        """`weights` are tensors; `recorder` is passed to `Replay`."""
        from nlpseq.kernels.replay import Replay

        self.weights = weights
        self.options = options
        self.sampling = sampling
        self.vocabulary_size = int(weights["output.bias"].shape[0])
        self._names = tuple(language_model.flatten_state(language_model.begin(weights, options, 1)))
        self._replay = Replay(self.block, recorder=recorder)

    def advance(self, batch: Batch, uniforms: np.ndarray) -> tuple[Batch, Coming]:
        """Draw a block of tokens by uniform numbers [S, B], and read them; `batch` does not change."""
        from nlpseq.kernels.transfer import to_device

        numbers = to_device(np.ascontiguousarray(uniforms), batch.recent.device)
        replayed = self._replay(numbers, batch.recent, *language_model.flatten_state(batch.state).values())
        tokens, log_probabilities, recent, *values = replayed
        after = Batch(self._restored([value.clone() for value in values]), recent.clone())
        return after, Coming(tokens, log_probabilities)

    def forget(self) -> None:
        """Release the memory of the recorded graphs."""
        self._replay.forget()

    def _restored(self, values: Sequence[Array]) -> LanguageModelState:
        named = dict(zip(self._names, values, strict=True))
        texts = values[-1].shape[0]
        return language_model.restore_state(named, language_model.begin(self.weights, self.options, texts))

    def block(self, uniforms: Array, recent: Array, *values: Array) -> tuple[Array, ...]:
        """A block of S steps for uniform numbers [S, B]: tokens, log-probabilities [S, B], `recent` and the state."""
        state = self._restored(values)
        drawn, nats = [], []
        for numbers in uniforms:
            features = language_model.output_features(self.weights, state.layers[-1][0].hidden)
            predicted = language_model.log_probabilities(self.weights, features)
            tokens = draw_together(self.sampling, predicted, numbers, recent)
            drawn.append(tokens)
            nats.append(arrays.pick(predicted, tokens))
            _, state = language_model.forward(self.weights, self.options, tokens[None], state)
            recent = arrays.concatenate([recent, tokens[:, None]])[:, 1:]
        after = language_model.flatten_state(state).values()
        return arrays.stack(drawn), arrays.stack(nats), recent, *after
