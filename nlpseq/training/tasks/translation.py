"""The translator's task: its batches, its loss, its validation and its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nlpseq.arrays import active_steps
from nlpseq.cells import Unroll
from nlpseq.decoding.translation import greedy_translations
from nlpseq.evaluation.scores import Score, token_scores
from nlpseq.evaluation.translation_scores import BleuOptions, bleu_score, suited_tokens
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.models import translator
from nlpseq.models.stack import Noise
from nlpseq.models.translator import TranslatorOptions
from nlpseq.training.data.pairs import Batch, ParallelCorpus
from nlpseq.training.data.sentences import Shuffled
from nlpseq.training.options import TranslationTraining
from nlpseq.training.tasks.model_task import ModelTask

VALIDATION_BATCH = 64
BLEU_PAIRS = 200


class TranslationTask(ModelTask):
    """A translator in training, as `nlpseq.training.loop.Task` asks for it."""

    name = translator.TASK
    criterion = "BLEU"
    options: TranslatorOptions
    training: TranslationTraining
    corpus: ParallelCorpus

    def __init__(
        self,
        options: TranslatorOptions,
        training: TranslationTraining,
        corpus: ParallelCorpus,
        choice: Choice,
        weights: Mapping[str, np.ndarray],
        *,
        quick_pairs: int,
    ) -> None:
        """`quick_pairs` of the validation part are read at each validation."""
        super().__init__(options, training, corpus, choice, weights)
        self.quick_pairs = quick_pairs
        self.batches = Shuffled(
            corpus.train.targets.lengths,
            training.batch_size,
            training.random_seed,
            batch_tokens=training.batch_tokens,
            ties=corpus.train.sources.lengths,
        )

    def steps_in_epoch(self) -> int:
        """Batches in one pass over the pairs."""
        return len(self.batches)

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next batch's tensors, as `batch_loss` takes them, and its count of target tokens."""
        return self._place(self.corpus.train.batch(self.batches.next()))

    def _place(self, batch: Batch) -> tuple[tuple[Tensor, ...], int]:
        feed = self.feed
        tensors = (
            feed.columns(batch.sources),
            feed.place(batch.source_lengths),
            feed.columns(batch.inputs),
            feed.columns(batch.targets),
            feed.place(batch.target_lengths),
        )
        return tensors, int(batch.target_lengths.sum())

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """A batch's smoothed loss in nats, a tensor without dimensions."""
        return self._loss(
            *batch,
            run_layer=self.choice.run_layer,
            noise=self.noise,
            operands=self.choice.operands,
            smoothing=self.training.label_smoothing,
        )

    def _loss(
        self,
        sources: Tensor,
        source_lengths: Tensor,
        inputs: Tensor,
        targets: Tensor,
        lengths: Tensor,
        *,
        run_layer: Unroll,
        noise: Noise | None = None,
        operands: torch.dtype | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """The loss of the real target tokens in nats."""
        memory, state = translator.encode(
            self.parameters, self.options, sources, source_lengths, run_layer=run_layer, noise=noise
        )
        features, _, _ = translator.decode(
            self.parameters, self.options, inputs, memory, state, run_layer=run_layer, noise=noise
        )
        real = active_steps(lengths, len(targets)).flatten()
        weight, bias = translator.output_layer(self.parameters)
        return linear_cross_entropy(
            features.flatten(0, 1), weight, bias, targets.flatten(), operands, smoothing, real=real
        )

    @torch.no_grad()
    def validate(self) -> float:
        """The loss per target token on the first validation pairs, in nats, without smoothing."""
        return self._validation(self.quick_pairs, self.choice.run_layer)

    def selection_score(self) -> float | None:
        """BLEU of the first validation pairs, where that is the criterion."""
        if self.training.criterion != "bleu":
            return None
        valid, tokeniser = self.corpus.valid, self.corpus.tokeniser
        places = range(min(BLEU_PAIRS, len(valid)))
        sources, references = (
            [tokeniser.decode_bytes(side[place][:-1]).decode("utf-8", "replace") for place in places]
            for side in (valid.sources, valid.targets)
        )
        made = greedy_translations(self.running_weights(), self.options, tokeniser, sources)
        return bleu_score(made, [references], BleuOptions(bleu_tokens=suited_tokens(references))).value

    def _validation(self, count: int | None, run_layer: Unroll) -> float:
        losses, tokens = [], 0
        for batch in self.corpus.valid.in_order(VALIDATION_BATCH, count):
            tensors, number = self._place(batch)
            losses.append(self._loss(*tensors, run_layer=run_layer))
            tokens += number
        return sum(map(float, losses)) / tokens

    @torch.no_grad()
    def scores(self) -> list[Score]:
        """Loss and perplexity of all validation pairs, each target given its source, in full precision."""
        tokens = len(self.corpus.valid.targets.ids)
        nats = self._validation(None, self.choice.exact) * tokens
        facts = self.corpus.facts
        part = f"pairs:{Path(facts['valid'][-1]).name}:{facts['valid_is'].replace(' ', '-')}"
        tokeniser = self.corpus.tokeniser
        signature = f"tok:{tokeniser.kind}-{tokeniser.size}#{tokeniser.fingerprint}|given:source|{part}"
        return token_scores(nats, tokens, f"{signature}#{facts['valid_sha256'][:8]}")

    def final_seconds(self, validation_seconds: float) -> float:
        """The exact evaluation runs all pairs."""
        return 1.5 * validation_seconds * len(self.corpus.valid) / self.quick_pairs + 1.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The place among the batches."""
        return {"place": np.array([self.batches.passes, self.batches.position])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.batches.passes, self.batches.position = (int(value) for value in arrays["place"])
