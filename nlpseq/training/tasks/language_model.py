"""The language model's task: its batches, its loss, its validation and its file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nlpseq import arrays
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.scores import Score, language_model_scores
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.loss import Candidates, linear_cross_entropy, sampled_cross_entropy
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState
from nlpseq.training.data.batches import Columns, fit_batch
from nlpseq.training.data.corpus import TokenisedCorpus
from nlpseq.training.options import LanguageModelTraining
from nlpseq.training.tasks.model_task import ModelTask


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
        self._after = self.state
        self.candidates = None
        if training.softmax == "sampled":
            self.candidates = Candidates(corpus.frequencies, device=choice.device)
        self.quick = corpus.valid if quick_tokens is None else corpus.valid[:quick_tokens]

    def steps_in_epoch(self) -> int:
        """Batches in one pass over the corpus."""
        return math.ceil(self.columns.height / self.columns.steps)

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next inputs and targets, both [T, B], and their count of tokens."""
        inputs, targets = self.columns.next()
        return (self.feed.place(inputs), self.feed.place(targets)), targets.size

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        """As `ModelTask.loss_of_first`, from the state of zeros."""
        held = self.state
        self.state = language_model.begin(self.parameters, self.options, count)
        try:
            return super().loss_of_first(count, *batch)
        finally:
            self.state = held

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """A batch's loss in nats, a tensor without dimensions. The hidden state after it is carried on by `settle`."""
        inputs, targets = batch
        features, state = language_model.forward(
            self.parameters,
            self.options,
            inputs,
            self.state,
            run_layer=self.choice.run_layer,
            noise=self.noise,
        )
        self._after = language_model.map_state(Tensor.detach, state)
        weight, bias = language_model.output_layer(self.parameters)
        flat, wanted = features.flatten(0, 1), targets.flatten()
        if self.candidates is None:
            return linear_cross_entropy(flat, weight, bias, wanted, self.choice.operands)
        drawn = self.candidates.draw(wanted, self.generator)
        return sampled_cross_entropy(flat, weight, bias, wanted, drawn, self.choice.operands)

    def settle(self) -> None:
        """Let the next batch go on from the state after this one, in the same place in memory."""
        self._carry(self._after)

    @torch.no_grad()
    def _carry(self, state: LanguageModelState) -> None:
        language_model.map_state(Tensor.copy_, self.state, state)

    @torch.no_grad()
    def validate(self) -> float:
        """The loss per token on the beginning of the validation part, columns starting afresh: quick, a little high."""
        return self._loss(self.quick, exact=False) / len(self.quick)

    def _loss(self, tokens: perplexity.Tokens, *, exact: bool) -> float:
        return perplexity.text_loss(self.parameters, self.options, tokens, run_layer=self.choice.run_layer, exact=exact)

    @torch.no_grad()
    def scores(self) -> list[Score]:
        """The scores of the whole validation part, the state carried, in full precision."""
        nats = perplexity.text_loss(self.parameters, self.options, self.corpus.valid, run_layer=self.choice.exact)
        signature = perplexity.signature(self.corpus.tokeniser, perplexity.part_name(self.corpus.facts))
        return language_model_scores(nats, self.corpus.valid_size, signature)

    def final_seconds(self, validation_seconds: float) -> float:
        """The exact evaluation runs all tokens, and the beginning of each column twice."""
        return 1.5 * validation_seconds * len(self.corpus.valid) / len(self.quick) + 1.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The place in the corpus and the carried state."""
        state = {f"state/{k}": arrays.to_numpy(v).copy() for k, v in language_model.flatten_state(self.state).items()}
        return {**state, "place": np.array([self.columns.passes, self.columns.position])}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.columns.passes, self.columns.position = (int(value) for value in saved["place"])
        named = {k.removeprefix("state/"): self.feed.place(v) for k, v in saved.items() if k.startswith("state/")}
        self._carry(language_model.restore_state(named, self.state))
