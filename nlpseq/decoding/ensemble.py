"""One translator, or several as one: the probability of a token is the mean of theirs.

They must share a vocabulary, and nothing else. What a search asks for here comes as NumPy arrays, wherever the models
are: on a GPU a step's logits travel to the host, which is the price where texts are drawn. The beam stays on the device
(`nlpseq.decoding.device`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.decoding.beam import Rows, Values
from nlpseq.errors import ModelFileError
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import translator
from nlpseq.models.attention import Memory
from nlpseq.models.device import on_device
from nlpseq.models.embedding import TokenProducts
from nlpseq.models.model_file import Model
from nlpseq.models.stack import StackState
from nlpseq.models.translator import Source, TranslatorOptions
from nlpseq.native import steps
from nlpseq.native.matrix import PackedMatrix
from nlpseq.native.output import Logits, OutputLayer, summarised
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import Tokeniser

LEAST_COVERED = 1e-6  # of a position that was not looked at
SHARES_AT_ONCE = 1 << 22  # numbers of attention that exist together where given targets are read


class Member:
    """A translator: its weights, as NumPy arrays or as tensors, and what it is made of."""

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
        """What the decoder is given of source texts, ids [S, B] of lengths [B]."""
        return translator.encode(self.weights, self.options, self.place(columns), self.place(lengths), **self.run)

    def decode(self, ids: Rows, memory: Memory, state: StackState) -> tuple[Array, StackState, Array]:
        """As `translator.decode`, of ids [T, B * K]; a single step of tensors is made by the plain equations."""
        run = {} if self.output is None and len(ids) == 1 else self.run
        return translator.decode(
            self.weights, self.options, self.place(ids), memory, state, products=self.products, **run
        )

    def place(self, values: np.ndarray) -> Array:
        """NumPy values where the weights are."""
        return arrays.from_numpy(values, next(iter(self.weights.values())))

    def logits(self, features: Array) -> Logits:
        """The logits of features [R, E]."""
        if self.output is not None:
            return self.output(features)
        return summarised(arrays.to_numpy(arrays.project(features, *translator.output_layer(self.weights))))


class Ensemble:
    """Translators of one vocabulary."""

    def __init__(self, members: Sequence[Member], tokeniser: Tokeniser) -> None:
        self.members = tuple(members)
        self.tokeniser = tokeniser

    @classmethod
    def of(cls, models: Sequence[tuple[Model, TranslatorOptions]], device: str = "cpu") -> Ensemble:
        """Loaded models on a device. Raises ModelFileError for different vocabularies, BackendError for no device."""
        first = models[0][0]
        for model, _ in models[1:]:
            if model.tokeniser.fingerprint != first.tokeniser.fingerprint:
                what = f"its vocabulary is another than that of {first.path}, and models that work together share one"
                hint = "train both on the same pairs and with the same --tokens and --vocab-size"
                raise ModelFileError(str(model.path), what, hint)
        members = [Member(on_device(model.weights, device), options) for model, options in models]
        return cls(members, first.tokeniser)

    def begin(self, sources: Sequence[Rows], width: int, *, coverage: bool = False) -> EnsembleDecoder:
        """A decoder of source texts, each with its newline, that keeps `width` hypotheses of each."""
        columns, lengths = side_by_side(sources)
        return EnsembleDecoder(self.members, columns, lengths, width, coverage=coverage)

    def attention(self, sources: Sequence[Rows], targets: Sequence[Rows]) -> list[Values]:
        """What each token of a target looked at: shares [T, S] for each pair, the mean of the members'."""
        pair = max(map(len, sources)) * max(map(len, targets))
        count = max(1, SHARES_AT_ONCE // pair)
        starts = range(0, len(sources), count)
        return [one for at in starts for one in self._attention(sources[at : at + count], targets[at : at + count])]

    def _attention(self, sources: Sequence[Rows], targets: Sequence[Rows]) -> list[Values]:
        columns, lengths = side_by_side(sources)
        target_columns, _ = side_by_side(targets)
        shares = []
        for member in self.members:
            memory, state = member.encode(columns, lengths)
            looked = member.decode(translator.begun(target_columns), memory, state)[2]
            shares.append(arrays.to_numpy(looked))
        mean = np.mean(shares, axis=0)
        return [mean[place, : len(targets[place]), : len(sources[place])] for place in range(len(sources))]


class EnsembleDecoder:
    """The members' decoders of some source texts, as `nlpseq.decoding.beam` asks for them."""

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

    def step(self, ids: Rows, wanted: Rows) -> Logits:
        """Logits of what follows in the rows wanted [R]; of several members log-probabilities."""
        found = []
        for place, member in enumerate(self.members):
            features, self.states[place], shares = member.decode(ids[None], self.memories[place], self.states[place])
            found.append(member.logits(features[0][member.place(wanted)]))
            if self.covered is not None:
                self.covered += arrays.to_numpy(shares).reshape(self.covered.shape) / len(self.members)
        if len(found) == 1:
            return found[0]
        likely = (one.values - one.log_sums[:, None] for one in found)
        return summarised(reduce(np.logaddexp, likely) - np.log(len(found)))

    def select(self, texts: Rows, rows: Rows) -> None:
        """Go on with some texts and hypotheses."""
        for place, memory in enumerate(self.memories):
            if len(texts) < len(memory.values):
                chosen = arrays.from_numpy(texts, memory.values)
                self.memories[place] = Memory(*(one[chosen] for one in memory))
            self.states[place] = _take(self.states[place], rows)
        if self.covered is not None:
            self.covered = self.covered[rows]
            self.real = self.real[rows]

    def coverage(self) -> Values:
        """The sum over a source's positions of log(min(1, all that looked there)) (Wu et al., 2016) [B * K]."""
        assert self.covered is not None
        logs = np.log(self.covered.clip(LEAST_COVERED, 1.0))
        found: Values = np.where(self.real, logs, 0.0).sum(1)
        return found


def _take(state: StackState, rows: Rows) -> StackState:
    def take(value: Array) -> Array:
        return value[arrays.from_numpy(rows, value)]

    return tuple(tuple(type(one)(*map(take, one)) for one in layer) for layer in state)
