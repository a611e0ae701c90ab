"""The translator in training: its batches, its loss, its validation, and its run from pairs to model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpseq import tasks
from nlpseq.arrays import active_steps
from nlpseq.cells import Unroll
from nlpseq.decoding.translation import greedy_translations
from nlpseq.errors import OptionError
from nlpseq.evaluation.bleu import BleuOptions, suited_tokens
from nlpseq.evaluation.scores import Score, token_scores
from nlpseq.evaluation.translation_scores import bleu_score
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.loss import linear_cross_entropy
from nlpseq.models import translator
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.stack import Noise
from nlpseq.models.translator import TASK, TranslatorOptions, initial_weights
from nlpseq.text.tokenisers import SubwordTokeniser, Tokeniser
from nlpseq.training.data.mixture import Mixture, repeats
from nlpseq.training.data.pairs import Batch, ParallelCorpus, open_pairs, tokenise_pairs
from nlpseq.training.data.shuffled import Shuffled
from nlpseq.training.defaults import complete_translator
from nlpseq.training.distillation.translations import PairTeachers
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.options import TranslationTraining
from nlpseq.training.requests import TranslatorRequest
from nlpseq.training.tasks.model_task import ModelTask
from nlpseq.training.tasks.task_run import TaskRun

VALIDATION_BATCH = 64
BLEU_PAIRS = 200
QUICK_PAIRS = 500


class TranslationTask(ModelTask):
    """A translator in training: a `nlpseq.training.loop.Task`."""

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
        processes: Processes = ALONE,
        *,
        quick_pairs: int,
    ) -> None:
        """Each validation reads the first `quick_pairs` validation pairs."""
        super().__init__(options, training, corpus, choice, weights, processes)
        self.quick_pairs = quick_pairs
        self.pairs = Mixture(
            corpus,
            training.synthetic_share,
            tagged=training.synthetic_tag,
            dropout=training.subword_dropout,
            seed=training.random_seed,
        )
        self.batches = Shuffled(
            self.pairs.target_lengths,
            training.batch_size,
            training.random_seed,
            batch_tokens=training.batch_tokens,
            ties=self.pairs.source_lengths,
        )

    def steps_in_epoch(self) -> int:
        """The number of batches in one pass over the pairs."""
        return len(self.batches)

    def validation_steps(self, total: int) -> float:
        """The number of training steps that take as long as one validation, which needs no backward pass."""
        pairs_in_step = len(self.pairs) / len(self.batches) * self.training.accumulate
        translated = BLEU_PAIRS if self.training.criterion == "bleu" else 0
        return (self.quick_pairs / 3 + translated) / pairs_in_step

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next batch as the arguments of `batch_loss`, and the number of target tokens for all processes."""
        chosen = self.batches.next()
        batch = self.pairs.batch(chosen, (self.batches.passes, self.batches.position))
        return self._place(batch, self.share_of(len(chosen)).columns)

    def _place(self, batch: Batch, columns: slice = slice(None)) -> tuple[tuple[Tensor, ...], int]:
        feed = self.feed
        tensors = (
            feed.token_ids(batch.sources[:, columns]),
            feed.place(batch.source_lengths[columns]),
            feed.token_ids(batch.inputs[:, columns]),
            feed.token_ids(batch.targets[:, columns]),
            feed.place(batch.target_lengths[columns]),
        )
        return tensors, int(batch.target_lengths.sum())

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The loss of a batch with label smoothing, in nats, a scalar tensor."""
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
        """The loss of the target tokens in nats, without the padding."""
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
        """BLEU of the first validation pairs if that is the criterion, else None."""
        if self.training.criterion != "bleu":
            return None
        valid, tokeniser = self.corpus.valid, self.corpus.tokeniser
        indices = range(min(BLEU_PAIRS, len(valid)))
        sources, references = (
            [tokeniser.decode_bytes(side[index][:-1]).decode("utf-8", "replace") for index in indices]
            for side in (valid.sources, valid.targets)
        )
        translations = greedy_translations(self.running_weights(), self.options, tokeniser, sources)
        return bleu_score(translations, [references], BleuOptions(bleu_tokens=suited_tokens(references))).value

    def _validation(self, count: int | None, run_layer: Unroll) -> float:
        losses, tokens = [], 0
        for batch in self.corpus.valid.in_order(VALIDATION_BATCH, count):
            tensors, batch_tokens = self._place(batch)
            losses.append(self._loss(*tensors, run_layer=run_layer))
            tokens += batch_tokens
        return sum(map(float, losses)) / tokens

    @torch.no_grad()
    def scores(self) -> list[Score]:
        """Loss and perplexity of all validation pairs, each target given its source, in full precision."""
        tokens = len(self.corpus.valid.targets.ids)
        nats = self._validation(None, self.choice.exact) * tokens
        facts = self.corpus.facts
        name = f"pairs:{Path(facts['valid'][-1]).name}:{facts['valid_is'].replace(' ', '-')}"
        tokeniser = self.corpus.tokeniser
        signature = f"tok:{tokeniser.kind}-{tokeniser.size}#{tokeniser.fingerprint}|given:source|{name}"
        return token_scores(nats, tokens, f"{signature}#{facts['valid_sha256'][:8]}")

    def final_seconds(self, validation_seconds: float) -> float:
        """The time of `scores`, which reads all validation pairs."""
        return 1.5 * self.exact_seconds(validation_seconds) * len(self.corpus.valid) / self.quick_pairs + 1.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The position among the batches."""
        return {"place": np.array([self.batches.passes, self.batches.position])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the state that `arrays` returned."""
        self.batches.go_to(arrays["place"])


class TranslationRun(TaskRun):
    """A translator's training run."""

    name = TASK
    request: TranslatorRequest
    corpus: ParallelCorpus
    model: TranslatorOptions
    training: TranslationTraining
    task: TranslationTask

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the pairs and choose the options that were left open."""
        assert isinstance(model, TranslatorOptions)
        request, corpus_options = self.request, self.request.corpus_options
        teacher = self._teacher()
        self.corpus = tokenise_pairs(
            request.files_or(tasks.TRANSLATOR.corpus),
            request.valid,
            self.folder.fresh,
            two_files=request.source is not None,
            columns=request.pair_columns,
            synthetic=request.synthetic,
            tokens=corpus_options.tokens,
            vocabulary_size=corpus_options.vocab_size,
            tokeniser=tokeniser,
            teacher=teacher,
            watch=self.watch,
            longest=request.training.longest,
        )
        if teacher is not None:
            self.request, self.notes = teacher.request, [*self.notes, *teacher.notes]
        self.note_vocabulary()
        self._note_left_out()
        pairs = len(self.corpus.train) + self._note_synthetic()
        self.model, self.training = complete_translator(model, request.training, pairs)
        return {}

    def _teacher(self) -> PairTeachers | None:
        self.note_teachers()
        device = self.choice.device.type
        return PairTeachers(self.teachers, self.request, device, self.started) if self.teachers.models else None

    def _note_synthetic(self) -> int:
        """Add a note on the synthetic pairs and their share; returns their number."""
        if self.corpus.synthetic is None:
            return 0
        pairs, count = len(self.corpus.train), len(self.corpus.synthetic)
        times = repeats(pairs, count, self.request.training.synthetic_share)
        share, often = 100 * count / (count + times * pairs), "once" if times == 1 else f"{times:,} times"
        self.notes.append(f"{count:,} synthetic pairs, {share:.0f} % of a pass, which reads the others {often}")
        return count

    def reopen(self, config: Mapping[str, Any]) -> None:
        """Set `corpus`."""
        self.corpus = open_pairs(self.folder.tokens)

    def make_task(self, weights: Mapping[str, Any] | None) -> TranslationTask:
        """Make the task, from weights or else from initial ones. Raises OptionError if an option has no effect."""
        self._refuse_useless_options()
        if weights is None:
            seed, size = self.training.random_seed, self.corpus.tokeniser.size
            weights = initial_weights(self.model, size, seed, self.corpus.frequencies)
        return TranslationTask(
            self.model,
            self.training,
            self.corpus,
            self.choice,
            weights,
            self.processes,
            quick_pairs=min(QUICK_PAIRS, len(self.corpus.valid)),
        )

    def _refuse_useless_options(self) -> None:
        tokeniser = self.corpus.tokeniser
        if self.training.subword_dropout and not isinstance(tokeniser, SubwordTokeniser):
            what = f"is for tokens that are pieces of words, but the tokens are of kind {tokeniser.kind}"
            raise OptionError("subword_dropout", what, "--tokens bpe")
        for name in ("synthetic_share", "synthetic_tag"):
            if name in self.request.given and self.corpus.synthetic is None:
                raise OptionError(name, "is for synthetic pairs, and there are none", "--synthetic FILE")

    def sample(self) -> str:
        """The source of the first validation pair and its greedy translation."""
        text = self.corpus.tokeniser.decode(self.corpus.valid.sources[0][:-1])
        (translation,) = greedy_translations(self.task.running_weights(), self.model, self.corpus.tokeniser, [text])
        return f"{text} -> {translation}"

    def _note_left_out(self) -> None:
        reasons = {"blank": "a blank side", "too_long": f"more than {self.request.training.longest} tokens"}
        for fact, reason in reasons.items():
            if count := self.corpus.facts[fact]:
                self.notes.append(f"{_pairs(count)} with {reason} left out")

    def summary(self) -> str:
        """The chosen model and training in one line."""
        model, tokeniser = self.model, self.corpus.tokeniser
        millions = sum(value.numel() for value in self.task.parameters.values()) / 1e6
        sizes = f"{model.encoder_layers}+{model.layers}x{model.hidden_size}, embedding {model.embedding_size}"
        return (
            f"{model.cell} {sizes} | {millions:.2f} M parameters | "
            f"{tokeniser.kind} vocabulary of {tokeniser.size:,} | {_pairs(len(self.corpus.train))}"
        )


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"
