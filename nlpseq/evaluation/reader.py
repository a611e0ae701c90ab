"""A language model that reads what is there already, for scores: on NumPy, at the speed of the compiled code.

Its matrices are packed once, its layers run over whole stretches of text, and of the output layer's numbers only the
losses are kept. What it says of a text does not depend, to the last bit, on which texts are read beside it, where the
compiled code runs.
"""

from __future__ import annotations

import numpy as np

from nlpseq.evaluation import perplexity
from nlpseq.evaluation.perplexity import Tokens
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.models.stack import Unroll
from nlpseq.native import layer
from nlpseq.native.matrix import PackedMatrix
from nlpseq.native.output import OutputLayer


class Reader:
    """A language model, ready to read."""

    def __init__(self, weights: Weights, options: LanguageModelOptions) -> None:
        """`weights` are NumPy arrays."""
        packed = {name for name in weights if ".weight_ih" in name or name == "output.projection"}
        self.weights = {name: PackedMatrix.of(value) if name in packed else value for name, value in weights.items()}
        self.options = options
        self._output = OutputLayer(*language_model.output_layer(weights))

    def begin(self, texts: int) -> LanguageModelState:
        """The state of a batch of `texts` texts before their first tokens."""
        return language_model.begin(self.weights, self.options, texts)

    def read(
        self,
        ids: np.ndarray,  # [T, B]
        state: LanguageModelState,
        lengths: np.ndarray | None = None,  # [B]
        run_layer: Unroll = layer.unroll,
    ) -> tuple[np.ndarray, LanguageModelState]:
        """What is known after each token: features [T, B, E or H], and the last state."""
        return language_model.forward(
            self.weights, self.options, ids.astype(np.int64), state, lengths=lengths, run_layer=run_layer
        )

    def losses(self, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """-log p(target) in nats [N], of features [N, E or H]."""
        if self._output.packed is None:
            return language_model.token_losses(self.weights, features, targets).astype(np.float64)
        return self._output.packed.losses(features, targets)

    def text_loss(self, tokens: Tokens) -> float:
        """What a text costs in nats, as `perplexity.text_loss` has it."""
        return perplexity.text_loss(
            self.weights, self.options, tokens, run_layer=layer.unroll_shared, total_loss=self._total
        )

    def _total(self, features: np.ndarray, targets: np.ndarray) -> float:
        return float(self.losses(features, targets).sum())
