"""A language model that is advanced token by token: the inner loop of generating text.

`language_model.forward` is made for stretches of text; for a single token it would spend more time on looking up and
slicing than on arithmetic. A Stepper looks everything up once and then calls the same equations, so a step costs little
more than its matrix-vector products. The first layer's input product of a token is kept, if there is enough memory for
all tokens.

A single text is advanced by the compiled step of `nlpseq.native` if that can run, and all else by NumPy. On a GPU,
where each step would wait for Python, `nlpseq.decoding.device.steps` generates blocks of tokens instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nlpseq import arrays
from nlpseq.cells.unroll import advance, project_inputs
from nlpseq.models import language_model
from nlpseq.models.embedding import TokenProducts, ngram_rows
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.stack import read_layers
from nlpseq.native.extension import Unavailable
from nlpseq.native.stack import NativeLinear, NativeStack

READ_STEPS = 256  # tokens of a long text that are read at once

Tokens = Sequence[int]


class _Native(NamedTuple):
    """The compiled step of a single text."""

    stack: NativeStack
    projection: NativeLinear | None
    output: NativeLinear

    def predict(self) -> np.ndarray:
        """The next token's log-probabilities [1, V] in nats."""
        if self.projection is not None:
            self.projection.apply()
        return self.output.log_softmax()


class Stepper:
    """A language model with the state of B texts that are read side by side."""

    def __init__(
        self, weights: Weights, options: LanguageModelOptions, state: LanguageModelState | None = None
    ) -> None:
        """Start from a state, by default the initial state of one text."""
        self.weights = weights
        self.options = options
        self._cell = options.recurrent_cell
        self._layers = [directions[0] for directions in read_layers(weights, options.layers)]
        self._embedding: np.ndarray = weights["embedding.weight"]
        self._ngrams: np.ndarray | None = weights.get("ngrams.weight")
        normalised = self._layers[0].gain_ih is not None and self._ngrams is not None  # over token and n-grams together
        self._products = None if normalised else TokenProducts.of(self._embedding, self._layers[0])
        self.state = language_model.begin(weights, options, 1) if state is None else state

    @property
    def state(self) -> LanguageModelState:
        """The state after the texts so far."""
        states = self._states if self._native is None else self._native.stack.states
        recent = np.array(self._recent, np.int64).reshape(len(self._recent), len(states[0].hidden))
        return LanguageModelState(tuple((layer,) for layer in states), recent)

    @state.setter
    def state(self, state: LanguageModelState) -> None:
        self._states: list[Any] = [directions[0] for directions in state.layers]
        self._recent: list[list[int]] = state.recent.tolist()  # oldest first, B tokens each
        self._native: _Native | None = None
        self._opened = False

    def _open_native(self) -> None:
        """Use native code for a single text if possible; called when the text is first advanced."""
        self._opened = True
        if len(self._states[0].hidden) == 1:
            self._native = self._make_native()

    def _make_native(self) -> _Native | None:
        projection = self.weights.get("output.projection")
        products = None if self._products is None else self._products.rows
        try:
            stack = NativeStack(self._cell, self._layers, self._states, self.options.zoneout, products)
            projected = None if projection is None else NativeLinear(projection, None, stack.hidden)
            features = stack.hidden if projected is None else projected.outputs
            return _Native(stack, projected, NativeLinear(*language_model.output_layer(self.weights), features))
        except Unavailable:
            return None

    def read(self, tokens: np.ndarray) -> None:
        """Read several tokens of each text, [T, B]."""
        for start in range(0, len(tokens), READ_STEPS):
            stretch = tokens[start : start + READ_STEPS].astype(np.int64)
            self.state = language_model.forward(self.weights, self.options, stretch, self.state)[1]

    def advance(self, tokens: Tokens) -> None:
        """Read one token of each of the B texts."""
        if not self._opened:
            self._open_native()
        inputs = self._inputs(tokens)
        if self._native is not None:
            self._native.stack.advance(None if self._products is None else tokens[0], inputs)
            return
        first = self._layers[0]
        product = None if self._products is None else self._products.rows.take(tokens, 0)
        if inputs is not None:
            if product is None:
                product = project_inputs(first, inputs)
            else:
                product = product + arrays.project(inputs, first.weight_ih)
        for depth, layer in enumerate(self._layers):
            if depth:
                product = project_inputs(layer, self._states[depth - 1].hidden)
            self._states[depth] = advance(self._cell, layer, product, self._states[depth], self.options.zoneout)

    def _inputs(self, tokens: Tokens) -> np.ndarray | None:
        """The first layer's inputs apart from tokens whose products are kept; computes missing products."""
        ngrams = None if self._ngrams is None else arrays.embed_sum(self._ngrams, self._ngram_rows(tokens))
        if self._products is None:
            embedded: np.ndarray = self._embedding.take(tokens, 0)
            return embedded if ngrams is None else embedded + ngrams
        self._products.make(tokens)
        return ngrams

    def _ngram_rows(self, tokens: Tokens) -> list[list[int]]:
        """Table rows [n - 1, B] of the n-grams that end in the tokens; adds the tokens to the recent ones."""
        assert self._ngrams is not None
        backwards = [list(tokens), *self._recent[::-1]]
        buckets = len(self._ngrams) // len(self._recent)
        self._recent = [*self._recent[1:], list(tokens)]
        by_text = [ngram_rows(text, buckets) for text in zip(*backwards, strict=True)]
        return [list(rows) for rows in zip(*by_text, strict=True)]

    def predict(self) -> np.ndarray:
        """The next token's log-probabilities [B, V] in nats, for each text."""
        if self._native is not None:
            return self._native.predict()
        features = language_model.output_features(self.weights, self._states[-1].hidden)
        predicted: np.ndarray = language_model.log_probabilities(self.weights, features)
        return predicted

    def choose(self, texts: Sequence[int]) -> None:
        """Continue with the texts at these indices only; an index may be repeated."""
        rows = list(texts)
        state = self.state
        layers = tuple((type(layer)(*(values[rows] for values in layer)),) for (layer,) in state.layers)
        self.state = LanguageModelState(layers, state.recent[:, rows])
