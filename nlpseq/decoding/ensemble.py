"""An ensemble of translators as the decoder of a search: a token's probability is the mean of the members'.

The members must have the same vocabulary; all else may differ. A search always gets NumPy arrays from here: if the
models are on a GPU, the logits of each step are copied to the host, which is the cost of drawing texts there. A beam
stays on the device (`nlpseq.decoding.device`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.decoding.beam import Rows, Values
from nlpseq.device import on_device
from nlpseq.errors import ModelFileError
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import translator
from nlpseq.models.attention import Memory
from nlpseq.models.embedding import TokenProducts
from nlpseq.models.model_file import Model, Origin
from nlpseq.models.stack import StackState
from nlpseq.models.translator import Source, TranslatorOptions
from nlpseq.native import steps
from nlpseq.native.matrix import PackedMatrix
from nlpseq.native.output import Logits, OutputLayer, summarised
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import Tokeniser

LEAST_COVERED = 1e-6  # coverage of a position without attention
WEIGHTS_AT_ONCE = 1 << 22  # attention weights in memory together while targets are read


class Member:
    """A translator: its weights, as NumPy arrays or tensors, and its options."""

    def __init__(self, weights: translator.Weights, options: TranslatorOptions) -> None:
        self.options = options
        weight, bias = translator.output_layer(weights)
        self.weights, self.output = weights, None
        self.run: dict[str, Any] = {}
        self.products: TokenProducts | None = None
        if not isinstance(weight, np.ndarray):
            self.run = {"run_layer": run_layer_for(weight)}
        else:
            self.run = {"run_layer": steps.unroll}
            self.output = OutputLayer(weight, bias)
            self.weights = {
                name: PackedMatrix.of(value) if name in translator.projections(weights) else value
                for name, value in weights.items()
            }
            self.products = TokenProducts.of(weights["embedding.weight"], translator.query_layer(self.weights))

    @property
    def on_gpu(self) -> bool:
        """Whether the weights are on a GPU."""
        return self.output is None and bool(next(iter(self.weights.values())).is_cuda)

    def encode(self, columns: Rows, lengths: Rows) -> Source:
        """The attention memory and first decoder state for source texts, ids [S, B] of lengths [B]."""
        return translator.encode(self.weights, self.options, self.place(columns), self.place(lengths), **self.run)

    def decode(self, ids: Rows, memory: Memory, state: StackState) -> tuple[Array, StackState, Array]:
        """As `translator.decode`, for ids [T, B * K]; a single step on tensors runs the cell's plain equations."""
        run = {} if self.output is None and len(ids) == 1 else self.run
        return translator.decode(
            self.weights, self.options, self.place(ids), memory, state, products=self.products, **run
        )

    def place(self, values: np.ndarray) -> Array:
        """NumPy values on the device of the weights."""
        return arrays.from_numpy(values, next(iter(self.weights.values())))

    def logits(self, features: Array) -> Logits:
        """The logits of features [R, E]."""
        if self.output is not None:
            return self.output(features)
        return summarised(arrays.to_numpy(arrays.project(features, *translator.output_layer(self.weights))))


class Ensemble:
    """Translators with the same vocabulary."""

    def __init__(self, members: Sequence[Member], tokeniser: Tokeniser, origins: Sequence[Origin] = ()) -> None:
        """`origins` are those of the members, if they were loaded from files."""
        self.members = tuple(members)
        self.tokeniser = tokeniser
        self.origins = tuple(origins)

    @classmethod
    def of(cls, models: Sequence[tuple[Model, TranslatorOptions]], device: str = "cpu") -> Ensemble:
        """Move loaded models to a device. Raises ModelFileError for different vocabularies, and BackendError."""
        first = models[0][0]
        for model, _ in models[1:]:
            if model.tokeniser.fingerprint != first.tokeniser.fingerprint:
                what = f"its vocabulary differs from that of {first.name}, but models that work together share one"
                hint = "train both on the same pairs and with the same --tokens and --vocab-size"
                raise ModelFileError(model.name, what, hint)
        members = [Member(on_device(model.weights, device), options) for model, options in models]
        return cls(members, first.tokeniser, [model.origin for model, _ in models])

    def begin(self, sources: Sequence[Rows], width: int, *, coverage: bool = False) -> EnsembleDecoder:
        """A decoder for source texts, each with its newline, and `width` hypotheses for each of them."""
        columns, lengths = side_by_side(sources)
        return EnsembleDecoder(self.members, columns, lengths, width, coverage=coverage)

    def attention(self, sources: Sequence[Rows], targets: Sequence[Rows]) -> list[Values]:
        """The attention weights [T, S] of each pair, the mean over the members."""
        pair = max(map(len, sources)) * max(map(len, targets))
        count = max(1, WEIGHTS_AT_ONCE // pair)
        starts = range(0, len(sources), count)
        weights: list[Values] = []
        for start in starts:
            weights += self._attention(sources[start : start + count], targets[start : start + count])
        return weights

    def _attention(self, sources: Sequence[Rows], targets: Sequence[Rows]) -> list[Values]:
        columns, lengths = side_by_side(sources)
        target_columns, _ = side_by_side(targets)
        weights = []
        for member in self.members:
            memory, state = member.encode(columns, lengths)
            weights.append(arrays.to_numpy(member.decode(translator.decoder_inputs(target_columns), memory, state)[2]))
        mean = np.mean(weights, axis=0)
        return [row[: len(target), : len(source)] for row, target, source in zip(mean, targets, sources, strict=True)]


class EnsembleDecoder:
    """The members' decoders of source texts, with the methods of `nlpseq.decoding.beam.Decoder`."""

    def __init__(
        self, members: Sequence[Member], columns: Rows, lengths: Rows, width: int, *, coverage: bool = False
    ) -> None:
        self.members = members
        self.memories: list[Memory] = []
        self.states: list[StackState] = []
        for member in members:
            source = member.encode(columns, lengths)
            self.memories.append(source.memory)
            self.states.append(_take(source.state, np.arange(len(lengths)).repeat(width)))
        rows = len(lengths) * width
        self.covered: Values | None = np.zeros((rows, len(columns)), np.float32) if coverage else None
        self.real = (np.arange(len(columns)) < lengths[:, None]).repeat(width, 0)

    def step(self, ids: Rows, live: Rows) -> Logits:
        """Logits of the next token in the rows `live` [R]; for several members these are log-probabilities."""
        predictions = []
        for index, member in enumerate(self.members):
            features, self.states[index], weights = member.decode(ids[None], self.memories[index], self.states[index])
            predictions.append(member.logits(features[0][member.place(live)]))
            if self.covered is not None:
                self.covered += arrays.to_numpy(weights).reshape(self.covered.shape) / len(self.members)
        if len(predictions) == 1:
            return predictions[0]
        log_probabilities = (logits.values - logits.log_sums[:, None] for logits in predictions)
        return summarised(reduce(np.logaddexp, log_probabilities) - np.log(len(predictions)))

    def select(self, texts: Rows, rows: Rows) -> None:
        """Keep only `texts` and their hypotheses in `rows`."""
        for index, memory in enumerate(self.memories):
            if len(texts) < len(memory.values):
                chosen = arrays.from_numpy(texts, memory.values)
                self.memories[index] = Memory(*(values[chosen] for values in memory))
            self.states[index] = _take(self.states[index], rows)
        if self.covered is not None:
            self.covered = self.covered[rows]
            self.real = self.real[rows]

    def coverage(self) -> Values:
        """The sum over source positions of log(min(1, attention so far)) (Wu et al., 2016) [B * K]."""
        assert self.covered is not None
        logs = np.log(self.covered.clip(LEAST_COVERED, 1.0))
        total: Values = arrays.sum_in_order(np.where(self.real, logs, 0.0).T)
        return total


def _take(state: StackState, rows: Rows) -> StackState:
    def take(value: Array) -> Array:
        return value[arrays.from_numpy(rows, value)]

    return tuple(tuple(type(direction)(*map(take, direction)) for direction in layer) for layer in state)
