"""The language model's task: its batches, its loss, its validation and its file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nlpseq.evaluation import perplexity
from nlpseq.evaluation.scores import Score, language_model_scores
from nlpseq.kernels import recurrence
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.loss import Candidates, linear_cross_entropy, sampled_cross_entropy
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.training.batches import Columns, fit_batch
from nlpseq.training.data import TokenisedCorpus
from nlpseq.training.model_task import ModelTask
from nlpseq.training.options import LanguageModelTraining


class LanguageModelTask(ModelTask):
    """A language model in training, as `nlpseq.training.loop.Task` asks for it."""

    name = language_model.TASK
    options: LanguageModelOptions
    training: LanguageModelTraining
    corpus: TokenisedCorpus

    def __init__(
        self,
        options: LanguageModelOptions,
        training: LanguageModelTraining,
        corpus: TokenisedCorpus,
        choice: Choice,
        weights: Mapping[str, np.ndarray],
        *,
        quick_tokens: int | None = None,
    ) -> None:
        super().__init__(options, training, corpus, choice, weights)
        batch_size, steps = fit_batch(len(corpus.train), training.batch_size or 64, training.sequence_length or 64)
        self.columns = Columns(corpus.train, batch_size, steps, training.random_seed)
        self.state: LanguageModelState = language_model.begin(self.parameters, options, batch_size)
        self.candidates = Candidates(corpus.frequencies) if training.softmax == "sampled" else None
        self.quick = corpus.valid if quick_tokens is None else corpus.valid[:quick_tokens]

    def steps_in_epoch(self) -> int:
        """Batches in one pass over the corpus."""
        return math.ceil(self.columns.height / self.columns.steps)

    def batch_loss(self) -> tuple[Tensor, int]:
        """The next batch's loss in nats, and its count of tokens. Carries the hidden state."""
        inputs, targets = (torch.from_numpy(ids) for ids in self.columns.next())
        features, state = language_model.forward(
            self.parameters,
            self.options,
            inputs,
            self.state,
            run_layer=self.choice.run_layer,
            noise=self.noise,
        )
        self.state = language_model.map_state(Tensor.detach, state)
        weight, bias = language_model.output_layer(self.parameters)
        flat, wanted = features.flatten(0, 1), targets.flatten()
        if self.candidates is None:
            return linear_cross_entropy(flat, weight, bias, wanted, self.choice.operands), wanted.numel()
        drawn = self.candidates.draw(wanted, self.generator)
        loss = sampled_cross_entropy(flat, weight, bias, wanted, drawn, self.choice.operands)
        return loss, wanted.numel()

    @torch.no_grad()
    def validate(self) -> float:
        """The loss per token on the beginning of the validation part, columns starting afresh: quick, a little high."""
        return self._loss(self.quick, exact=False) / len(self.quick)

    def _loss(self, tokens: perplexity.Tokens, *, exact: bool) -> float:
        return perplexity.text_loss(self.parameters, self.options, tokens, run_layer=self.choice.run_layer, exact=exact)

    @torch.no_grad()
    def scores(self) -> list[Score]:
        """The scores of the whole validation part, the state carried, in full precision."""
        nats = perplexity.text_loss(self.parameters, self.options, self.corpus.valid, run_layer=recurrence.unroll)
        signature = perplexity.signature(self.corpus.tokeniser, perplexity.part_name(self.corpus.facts))
        return language_model_scores(nats, self.corpus.valid_size, signature)

    def final_seconds(self, validation_seconds: float) -> float:
        """The exact evaluation runs all tokens, and the beginning of each column twice."""
        return 1.5 * validation_seconds * len(self.corpus.valid) / len(self.quick) + 1.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The place in the corpus and the carried state."""
        state = {f"state/{k}": v.numpy().copy() for k, v in language_model.flatten_state(self.state).items()}
        return {**state, "place": np.array([self.columns.passes, self.columns.position])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.columns.passes, self.columns.position = (int(value) for value in arrays["place"])
        named = {
            k.removeprefix("state/"): torch.from_numpy(v.copy()) for k, v in arrays.items() if k.startswith("state/")
        }
        self.state = language_model.restore_state(named, self.state)
