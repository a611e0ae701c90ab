"""Models that read what is there already, for scores: at the speed of the compiled code, or on a device.

On NumPy a language model's matrices are packed once, its layers run over whole stretches of text, and of the output
layer's numbers only the losses are kept. What it says of a text does not depend, to the last bit, on which texts are
read beside it, where the compiled code runs. On a device its layers run by the device's kernels, more texts run side by
side, and losses stay there until they are asked for; what does not fit the memory is read in halves. The cost is the
last bits. A translator reads its pairs there in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells import Unroll
from nlpseq.device import in_halves, is_out_of_memory, on_device, refuse_single
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.perplexity import COLUMNS, DEVICE_COLUMNS, Tokens, device_losses
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import language_model, translator
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.model_file import Model
from nlpseq.models.translator import TranslatorOptions
from nlpseq.native import layer
from nlpseq.native.matrix import PackedMatrix
from nlpseq.native.output import OutputLayer
from nlpseq.text.padding import side_by_side, together

PAIR_TOKENS = 1 << 15  # of pairs side by side on a device, padding included


class Reader:
    """A language model, ready to read."""

    def __init__(self, weights: Weights, options: LanguageModelOptions) -> None:
        """`weights` are NumPy arrays, or tensors."""
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
        """Token ids, or lengths, where the weights are."""
        return arrays.from_numpy(ids.astype(np.int64), self._like)

    def read(
        self,
        ids: np.ndarray,  # [T, B]
        state: LanguageModelState,
        lengths: np.ndarray | None = None,  # [B]
    ) -> tuple[Array, LanguageModelState]:
        """What is known after each token: features [T, B, E or H], and the last state."""
        given = None if lengths is None else self.place(lengths)
        return language_model.forward(
            self.weights, self.options, self.place(ids), state, lengths=given, run_layer=self._run_layer
        )

    def losses(self, features: Array, targets: Array) -> Array:
        """-log p(target) in nats [N] as float64, of features [N, E or H]; they stay where the weights are."""
        if self._output is None:
            return device_losses(self.weights, features, targets)
        if self._output.packed is None:
            return language_model.token_losses(self.weights, features, targets).astype(np.float64)
        return self._output.packed.losses(features, targets)

    def text_loss(self, tokens: Tokens) -> float:
        """What a text costs in nats, as `perplexity.text_loss` has it."""
        if self.on_host:
            return self._text_loss(tokens, COLUMNS, layer.unroll_shared)
        columns = DEVICE_COLUMNS
        while True:
            try:
                return self._text_loss(tokens, columns, self._run_layer)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                refuse_single(columns)
            columns //= 2

    def _text_loss(self, tokens: Tokens, columns: int, run_layer: Unroll) -> float:
        return perplexity.text_loss(
            self.weights, self.options, tokens, columns=columns, run_layer=run_layer, total_loss=self._total
        )

    def _total(self, features: Array, targets: Array) -> Any:
        return self.losses(features, targets).sum()


def given_source_losses(
    weights: Weights, options: TranslatorOptions, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> list[float]:
    """What each target costs in nats given its source; both are texts as `translator.line_ids` gives them.

    Raises BackendError where a device's memory does not hold a single pair.
    """
    if arrays.is_numpy(weights["embedding.weight"]):
        losses = translator.token_losses(weights, options, sources, targets)
        return [float(one.sum(dtype=np.float64)) for one in losses]
    nats = np.zeros(len(targets))
    lengths = np.array([max(map(len, pair)) for pair in zip(sources, targets, strict=True)], np.int64)

    def run(group: Sequence[int]) -> None:
        some = [[side[place] for place in group] for side in (sources, targets)]
        nats[group] = _losses_together(weights, options, *some)

    for group in reversed(list(together(lengths, PAIR_TOKENS))):
        in_halves(run, group.tolist())
    found: list[float] = nats.tolist()
    return found


def _losses_together(
    weights: Weights, options: TranslatorOptions, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> np.ndarray:
    """As `given_source_losses`, side by side on a device."""
    like = weights["embedding.weight"]
    run_layer = run_layer_for(like)
    columns, lengths = side_by_side(targets)
    ids, source_lengths, read, wanted, target_lengths = (
        arrays.from_numpy(one, like) for one in (*side_by_side(sources), translator.begun(columns), columns, lengths)
    )
    memory, state = translator.encode(weights, options, ids, source_lengths, run_layer=run_layer)
    features, _, _ = translator.decode(weights, options, read, memory, state, run_layer=run_layer)
    losses = device_losses(weights, features.reshape(-1, features.shape[-1]), wanted.reshape(-1))
    return column_sums(losses.reshape(columns.shape), target_lengths)


def placed(model: Model, device: str) -> Model:
    """A model whose weights are on a device, as `on_device` names it. Raises BackendError if it is missing."""
    return replace(model, weights=dict(on_device(model.weights, device)))


def column_sums(values: Array, lengths: Array) -> np.ndarray:
    """Sums [B] on the host of each column of `values` [T, B], up to its length [B]."""
    real = arrays.active_steps(lengths, values.shape[0])
    summed: np.ndarray = arrays.to_numpy(arrays.where(real, values, arrays.zeros((1, 1), values)).sum(0))
    return summed
