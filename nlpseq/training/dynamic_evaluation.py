"""Dynamic evaluation (Krause et al., 2018): a language model that goes on learning from the text that it is read.

The text is one stream. After each few tokens are predicted, the weights take a step of stochastic gradient descent on
the mean loss of these tokens, and go a little way back to their trained values:

    w = w - rate * gradient + decay * (trained w - w)

The gradient reaches back to the state before these tokens. The trained model is not changed. The cost is that of
training with one short stream: a step reads and writes every weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpseq.evaluation.adaptation import AdaptationOptions
from nlpseq.evaluation.perplexity import Tokens
from nlpseq.kernels.choice import choose
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model
from nlpseq.text.tokenisers import NEWLINE


class DynamicReading:
    """Reads a text with dynamic evaluation: an `nlpseq.evaluation.adaptation.Adaptive`."""

    def __init__(self, adaptation: AdaptationOptions) -> None:
        """The options must have a rate."""
        assert adaptation.dynamic is not None
        self.adaptation = adaptation

    def text_loss(self, model: Model, options: LanguageModelOptions, tokens: Tokens) -> float:
        """As `Adaptive.text_loss`, on the device of the weights."""
        learner = _Learner(model.weights, options, self.adaptation)
        nats, length = 0.0, self.adaptation.dynamic_tokens
        for start in range(0, len(tokens), length):
            nats += learner.read(np.asarray(tokens[start : start + length], np.int64))
        return nats


class _Learner:
    """The weights that adapt, and the state of the text so far."""

    def __init__(
        self, weights: Mapping[str, Any], options: LanguageModelOptions, adaptation: AdaptationOptions
    ) -> None:
        self.options, self.adaptation = options, adaptation
        self.trained = {name: torch.as_tensor(value) for name, value in weights.items()}
        self.weights = {name: value.clone().requires_grad_() for name, value in self.trained.items()}
        self.device = self.weights["embedding.weight"].device
        self.run_layer = choose("auto", "fp32", self.device.type, options.cell).run_layer
        self.state = language_model.begin(self.weights, options, 1)
        self.last = NEWLINE

    def read(self, tokens: np.ndarray) -> float:
        """The loss in nats of the next tokens [T], by the weights before they are learned from."""
        ids = torch.from_numpy(np.concatenate([[self.last], tokens])).to(self.device)
        features, state = language_model.forward(
            self.weights, self.options, ids[:-1, None], self.state, run_layer=self.run_layer
        )
        loss = linear_cross_entropy(features[:, 0], *language_model.output_layer(self.weights), ids[1:])
        self._learn(loss / len(tokens))
        self.state, self.last = language_model.map_state(Tensor.detach, state), int(tokens[-1])
        return float(loss.detach())

    @torch.no_grad()
    def _learn(self, loss: Tensor) -> None:
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss, list(self.weights.values()), allow_unused=True)
        rate, decay = self.adaptation.dynamic or 0.0, self.adaptation.dynamic_decay
        for (name, weight), gradient in zip(self.weights.items(), gradients, strict=True):
            weight.lerp_(self.trained[name], decay)
            if gradient is not None:
                weight.add_(gradient, alpha=-rate)
