"""Models that read existing text for its scores, in compiled code on the CPU or on a device.

On the CPU a language model's matrices are packed once, its layers run over whole stretches of text, and only the losses
of the output layer are kept. With the compiled code, the loss of a text does not depend on the texts read beside it, to
the last bit.

On a device the layers run on its kernels, more texts run side by side, and losses stay there until they are asked for.
Batches that do not fit the memory are halved. There the last bits of a loss may depend on the batch. A translator reads
its pairs in the same ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells import Unroll
from nlpseq.device import in_halves, is_out_of_memory, on_device, refuse_single
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.perplexity import DEVICE_STREAMS, STREAMS, Tokens, device_losses
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import language_model, translator
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.model_file import Model
from nlpseq.models.translator import SIDE_BY_SIDE, TranslatorOptions
from nlpseq.native import layer
from nlpseq.native.matrix import PackedMatrix
from nlpseq.native.output import OutputLayer
from nlpseq.text.padding import side_by_side, together

PAIR_TOKENS = 1 << 15  # in a batch of pairs on a device, padding included
ROWS = 256  # rows of logits of a pair that exist at once without the compiled code


class Reader:
    """A language model that is prepared for reading."""

    def __init__(self, weights: Weights, options: LanguageModelOptions) -> None:
        """`weights` are NumPy arrays or tensors."""
        self.options = options
        self.weights = weights
        self._like = weights["embedding.weight"]
        self.on_host = arrays.is_numpy(self._like)
        self._output: OutputLayer | None = None
        self._run_layer: Unroll = layer.unroll
        if self.on_host:
            packed = {name for name in weights if ".weight_ih" in name or name == "output.projection"}
            self.weights = {
                name: PackedMatrix.of(value) if name in packed else value for name, value in weights.items()
            }
            self._output = OutputLayer(*language_model.output_layer(weights))
        else:
            self._run_layer = run_layer_for(self._like)

    def begin(self, texts: int) -> LanguageModelState:
        """The state of a batch of `texts` texts before their first tokens."""
        return language_model.begin(self.weights, self.options, texts)

    def place(self, ids: np.ndarray) -> Array:
        """Token ids or lengths as an array on the device of the weights."""
        return arrays.from_numpy(ids.astype(np.int64), self._like)

    def read(
        self,
        ids: np.ndarray,  # [T, B]
        state: LanguageModelState,
        lengths: np.ndarray | None = None,  # [B]
    ) -> tuple[Array, LanguageModelState]:
        """Features [T, B, E or H] after each token, and the last state."""
        placed_lengths = None if lengths is None else self.place(lengths)
        return language_model.forward(
            self.weights, self.options, self.place(ids), state, lengths=placed_lengths, run_layer=self._run_layer
        )

    def losses(self, features: Array, targets: Array) -> Array:
        """-log p(target) in nats [N] as float64, from features [N, E or H], on the device of the weights."""
        if self._output is None:
            return device_losses(self.weights, features, targets)
        if self._output.packed is None:
            return language_model.token_losses(self.weights, features, targets).astype(np.float64)
        return self._output.packed.losses(features, targets)

    def text_loss(self, tokens: Tokens) -> float:
        """The loss of a text in nats, as `perplexity.text_loss` defines it."""
        if self.on_host:
            return self._text_loss(tokens, STREAMS, layer.unroll_shared)
        streams = DEVICE_STREAMS
        while True:
            try:
                return self._text_loss(tokens, streams, self._run_layer)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                refuse_single(streams)
            streams //= 2

    def text_features(self, tokens: Tokens) -> Iterator[tuple[Array, np.ndarray]]:
        """The features from which each token of a text is predicted, and the tokens: `perplexity.text_features`."""
        run_layer = layer.unroll_shared if self.on_host else self._run_layer
        return perplexity.text_features(self.weights, self.options, tokens, run_layer=run_layer)

    def _text_loss(self, tokens: Tokens, streams: int, run_layer: Unroll) -> float:
        return perplexity.text_loss(
            self.weights, self.options, tokens, streams=streams, run_layer=run_layer, total_loss=self._total
        )

    def _total(self, features: Array, targets: Array) -> Any:
        return self.losses(features, targets).sum()


class PairReader:
    """A translator that is prepared for reading pairs."""

    def __init__(self, weights: Weights, options: TranslatorOptions) -> None:
        """`weights` are NumPy arrays or tensors."""
        self.options = options
        self.weights = weights
        self._output: OutputLayer | None = None
        if arrays.is_numpy(weights["embedding.weight"]):
            packed = translator.projections(weights)
            self.weights = {
                name: PackedMatrix.of(value) if name in packed else value for name, value in weights.items()
            }
            self._output = OutputLayer(*translator.output_layer(weights))

    def losses(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> list[float]:
        """The loss of each target given its source, in nats; texts are ids as from `translator.line_ids`.

        Raises BackendError if a device's memory does not hold a single pair.
        """
        nats = np.zeros(len(targets))
        lengths = np.array([max(map(len, pair)) for pair in zip(sources, targets, strict=True)], np.int64)

        def run(group: Sequence[int]) -> None:
            batch = [[side[index] for index in group] for side in (sources, targets)]
            nats[group] = self._host_losses(*batch) if self._output else self._device_losses(*batch)

        limits = (None, SIDE_BY_SIDE) if self._output else (PAIR_TOKENS, None)
        for group in reversed(list(together(lengths, *limits))):
            in_halves(run, group.tolist())
        losses: list[float] = nats.tolist()
        return losses

    def _host_losses(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> list[float]:
        run: dict[str, Any] = {"run_layer": layer.unroll_shared}
        memory, state = translator.encode(self.weights, self.options, *side_by_side(sources), **run)
        inputs = translator.decoder_inputs(side_by_side(targets)[0])
        features, _, _ = translator.decode(self.weights, self.options, inputs, memory, state, **run)
        return [self._target_loss(features[: len(target), row], target) for row, target in enumerate(targets)]

    def _target_loss(self, features: np.ndarray, target: np.ndarray) -> float:
        """The loss of a target [T] from features [T, E]."""
        assert self._output is not None
        if self._output.packed is not None:
            return float(self._output.packed.losses(features, target).sum())
        nats = 0.0
        for start in range(0, len(target), ROWS):
            rows = slice(start, start + ROWS)
            logits = arrays.project(features[rows], self._output.weight, self._output.bias)
            losses = arrays.log_sum_exp(logits) - arrays.pick(logits, target[rows])
            nats += float(losses.sum(dtype=np.float64))
        return nats

    def _device_losses(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> np.ndarray:
        like = self.weights["embedding.weight"]
        run_layer = run_layer_for(like)
        target_ids, lengths = side_by_side(targets)
        batch = (*side_by_side(sources), translator.decoder_inputs(target_ids), target_ids, lengths)
        ids, source_lengths, inputs, wanted, target_lengths = (arrays.from_numpy(values, like) for values in batch)
        memory, state = translator.encode(self.weights, self.options, ids, source_lengths, run_layer=run_layer)
        features, _, _ = translator.decode(self.weights, self.options, inputs, memory, state, run_layer=run_layer)
        losses = device_losses(self.weights, features.reshape(-1, features.shape[-1]), wanted.reshape(-1))
        return sums_by_text(losses.reshape(target_ids.shape), target_lengths)


def placed(model: Model, device: str) -> Model:
    """A model with its weights on a device, named as in `on_device`. Raises BackendError if there is no such device."""
    return replace(model, weights=dict(on_device(model.weights, device)))


def sums_by_text(values: Array, lengths: Array) -> np.ndarray:
    """The sums [B], on the host, of the values [T, B] of each text up to its length [B]."""
    real = arrays.active_steps(lengths, values.shape[0])
    summed: np.ndarray = arrays.to_numpy(arrays.where(real, values, arrays.zeros((1, 1), values)).sum(0))
    return summed
