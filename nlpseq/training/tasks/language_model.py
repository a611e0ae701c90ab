"""The language model in training: its batches, its loss, its validation, and its run from corpus to model file."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpseq import arrays, tasks
from nlpseq.decoding.generation import sample_text
from nlpseq.errors import OptionError
from nlpseq.evaluation import perplexity
from nlpseq.evaluation.reader import Reader
from nlpseq.evaluation.scores import Score, language_model_scores
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.loss import Candidates, linear_cross_entropy, sampled_cross_entropy
from nlpseq.kernels.soft_loss import soft_cross_entropy
from nlpseq.models import language_model
from nlpseq.models.language_model import TASK, LanguageModelOptions, LanguageModelState, initial_weights
from nlpseq.models.model_file import Model
from nlpseq.models.options import RecurrentOptions
from nlpseq.native import extension
from nlpseq.text.hub import keeping_texts
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.data.batches import StreamBatches, fit_batch
from nlpseq.training.data.corpus import TokenisedCorpus, open_tokenised, tokenise_corpus
from nlpseq.training.data.seal import check_ids
from nlpseq.training.defaults import DEFAULT_SECONDS, Circumstances, complete, free_memory, measure_speed
from nlpseq.training.distillation.streams import TeacherStreams
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.options import LanguageModelTraining
from nlpseq.training.requests import LanguageModelRequest
from nlpseq.training.tasks.model_task import ModelTask
from nlpseq.training.tasks.task_run import TaskRun

SAMPLE_TOKENS = 60
QUICK_FRACTION = 0.006  # of the tokens that a run reads, for one validation
LEAST_QUICK = 4096  # tokens of a validation
TIMED_QUICK = 16_384  # tokens of a validation that is timed, before the number of steps is known


class LanguageModelTask(ModelTask):
    """A language model in training: a `nlpseq.training.loop.Task`."""

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
        processes: Processes = ALONE,
        teachers: Sequence[Model] = (),
    ) -> None:
        """With `teachers`, which have the corpus' tokens, the loss is also that against their probabilities."""
        super().__init__(options, training, corpus, choice, weights, processes)
        batch_size, steps = fit_batch(len(corpus.train), training.batch_size or 64, training.sequence_length or 64)
        self.batches = StreamBatches(corpus.train, batch_size, steps, training.random_seed)
        processes.need(batch_size)
        self.share = self.share_of(batch_size)
        own = len(range(batch_size)[self.share.columns])
        self.state: LanguageModelState = language_model.begin(self.parameters, options, own)
        self._after = self.state
        self.taught = TeacherStreams(teachers, training, choice, own) if teachers else None
        self.candidates = None
        if training.softmax == "sampled":
            self.candidates = Candidates(corpus.frequencies, device=choice.device)
        self.quick_tokens = min(len(corpus.valid), TIMED_QUICK)

    def steps_in_epoch(self) -> int:
        """The number of batches in one pass over the corpus."""
        return math.ceil(self.batches.length / self.batches.steps)

    def plan(self, total: int, validations: int) -> None:
        """As `ModelTask.plan`; a validation reads more of the validation part in a longer run."""
        super().plan(total, validations)
        self.quick_tokens = self._quick_tokens(total)

    def validation_steps(self, total: int) -> float:
        """The number of training steps that take as long as one validation, which needs no backward pass."""
        return self._quick_tokens(total) / (3 * self._step_tokens)

    @property
    def _step_tokens(self) -> int:
        return self.batches.batch_size * self.batches.steps * self.training.accumulate

    def _quick_tokens(self, total: int) -> int:
        return min(len(self.corpus.valid), max(LEAST_QUICK, int(QUICK_FRACTION * total * self._step_tokens)))

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next inputs and targets, both [T, B], and the number of tokens for all processes.

        With a sampled softmax, the targets of all processes [T, B'] follow.
        """
        inputs, targets = self.batches.next()
        columns = self.share.columns
        drawn_for = () if self.candidates is None or self.share.count == 1 else (targets,)
        own = (inputs[:, columns], targets[:, columns], *drawn_for)
        return tuple(map(self.feed.place, own)), targets.size

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        """As `ModelTask.loss_of_first`, from a state of zeros."""
        held = self.state
        self.state = language_model.begin(self.parameters, self.options, count)
        try:
            with self.taught.held(count) if self.taught else nullcontext():
                return super().loss_of_first(count, *batch)
        finally:
            self.state = held

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The loss of a batch in nats, a scalar tensor. `settle` carries the state after it into the next batch."""
        inputs, targets, *drawn_for = batch
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
        if self.taught is not None:
            soft, temperature, operands = self.training.soft, self.training.temperature, self.choice.operands
            known = self.taught.read(inputs)
            return soft_cross_entropy(
                flat, weight, bias, wanted, known, soft=soft, temperature=temperature, operands=operands
            )
        if self.candidates is None:
            return linear_cross_entropy(flat, weight, bias, wanted, self.choice.operands)
        drawn = self.candidates.draw(drawn_for[0].flatten() if drawn_for else wanted, self.generator)
        return sampled_cross_entropy(flat, weight, bias, wanted, drawn, self.choice.operands)

    def settle(self) -> None:
        """Carry the state after this batch into the next one, in the same memory, as graphs need it."""
        self._carry(self._after)
        if self.taught is not None:
            self.taught.settle()

    @torch.no_grad()
    def _carry(self, state: LanguageModelState) -> None:
        language_model.map_state(Tensor.copy_, self.state, state)

    @torch.no_grad()
    def validate(self) -> float:
        """The loss per token on the start of the validation part; a little too high, as streams start from zeros."""
        quick = self.corpus.valid[: self.quick_tokens]
        return self._loss(quick, exact=False) / len(quick)

    def _loss(self, tokens: perplexity.Tokens, *, exact: bool) -> float:
        return perplexity.text_loss(self.parameters, self.options, tokens, run_layer=self.choice.run_layer, exact=exact)

    @torch.no_grad()
    def scores(self) -> list[Score]:
        """The scores of the whole validation part, with the state carried, in full precision."""
        nats = self._exact_loss(self.corpus.valid)
        signature = perplexity.signature(self.corpus.tokeniser, perplexity.text_name(self.corpus.facts))
        return language_model_scores(nats, self.corpus.valid_size, signature)

    def _exact_loss(self, tokens: perplexity.Tokens) -> float:
        """The loss of a text in nats, by the compiled reader of `evaluate` unless another backend was asked for."""
        compiled = self.choice.device.type == "cpu" and extension.is_available()
        if compiled and self.training.backend in ("auto", "native"):
            return Reader(self.weights(), self.options).text_loss(tokens)
        return perplexity.text_loss(self.parameters, self.options, tokens, run_layer=self.choice.exact)

    @torch.no_grad()
    def final_seconds(self, validation_seconds: float) -> float:
        """The time of `scores`, which reads all tokens, and the start of each stream twice.

        On the CPU it is measured on the start of the text. On a GPU that would compile kernels.
        """
        if self.choice.device.type == "cpu":
            started = time.monotonic()
            self._exact_loss(self.corpus.valid[: self.quick_tokens])
            validation_seconds = time.monotonic() - started
        return 1.5 * validation_seconds * len(self.corpus.valid) / self.quick_tokens + 1.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The position in the corpus and the carried state of all streams."""
        own = {k: arrays.to_numpy(v).copy() for k, v in language_model.flatten_state(self.state).items()}
        whole = self.processes.whole
        state = {f"state/{k}": whole(v, self.share, language_model.streams_axis(k)) for k, v in own.items()}
        if self.taught is not None:
            state |= self.taught.arrays(lambda value, axis: whole(value, self.share, axis))
        return {**state, "place": np.array([self.batches.passes, self.batches.position])}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Restore the state that `arrays` returned."""
        self.batches.go_to(saved["place"])
        states = {k.removeprefix("state/"): v for k, v in saved.items() if k.startswith("state/")}
        check_ids("its carried state", states["recent"].ravel(), self.corpus.tokeniser.size)
        named = {k: self.feed.place(self._columns(v, language_model.streams_axis(k))) for k, v in states.items()}
        self._carry(language_model.restore_state(named, self.state))
        if self.taught is not None:
            self.taught.restore(saved, self._columns)

    def _columns(self, whole: np.ndarray, axis: int) -> np.ndarray:
        """This process's streams of an array of all streams."""
        return np.ascontiguousarray(whole[(slice(None),) * axis + (self.share.columns,)])


class LanguageModelRun(TaskRun):
    """A language model's training run."""

    name = TASK
    request: LanguageModelRequest
    corpus: TokenisedCorpus
    model: LanguageModelOptions
    training: LanguageModelTraining
    task: LanguageModelTask

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the corpus, and choose the options that were left open by corpus and machine."""
        assert isinstance(model, LanguageModelOptions)
        request, corpus_options = self.request, self.request.corpus_options
        with keeping_texts(self.folder.fresh):  # a data set of the hub is fetched once, though it is read three times
            self.corpus = tokenise_corpus(
                request.files_or(tasks.LANGUAGE_MODEL.corpus),
                request.valid,
                self.folder.fresh,
                tokens=corpus_options.tokens,
                vocabulary_size=corpus_options.vocab_size,
                tokeniser=tokeniser,
                watch=self.watch,
            )
        self.note_vocabulary()
        self.note_teachers()
        if self.corpus.facts["valid_is"] == "training text":
            self.notes.append("the corpus is too short to hold out a tenth: validation is on the training text")
        elif self.corpus.facts["valid_sha256"] == self.corpus.facts["sha256"]:
            self.notes.append("the validation text is the training text: its scores are too good")
        training, device = self._with_whole_softmax(request.training), self.choice.device
        timed = training.steps is None and training.epochs is None and not request.resume
        speed = measure_speed(self.choice) if timed else None
        work = None if speed is None else speed * self._seconds() * self.processes.count
        tokens, size = len(self.corpus.train), self.corpus.tokeniser.size
        self.model, self.training = complete(
            model, training, Circumstances(tokens, size, work, device.type, free_memory(device))
        )
        return {"machine": {"speed": speed}} if timed else {}

    def reopen(self, config: Mapping[str, Any]) -> None:
        """Set `corpus`."""
        self.corpus = open_tokenised(self.folder.tokens)

    def make_task(self, weights: Mapping[str, Any] | None) -> LanguageModelTask:
        """Make the task, from weights or else from initial ones."""
        if weights is None:
            seed, size = self.training.random_seed, self.corpus.tokeniser.size
            weights = initial_weights(self.model, size, seed, self.corpus.frequencies)
        teachers = self.teachers.models
        return LanguageModelTask(self.model, self.training, self.corpus, self.choice, weights, self.processes, teachers)

    def _with_whole_softmax(self, training: LanguageModelTraining) -> LanguageModelTraining:
        """The options for a student, which compares all probabilities. Raises OptionError if it may not."""
        if not self.teachers.models:
            return training
        if training.softmax == "sampled":
            what = "is for texts alone: a teacher's probabilities are compared over the whole vocabulary"
            raise OptionError("softmax", what, "--softmax full; or leave out the teacher")
        return replace(training, softmax="full")

    def _seconds(self) -> float:
        minutes = self.request.training.minutes
        return DEFAULT_SECONDS if minutes is None else minutes * 60

    def sample(self) -> str:
        """A generated text of SAMPLE_TOKENS tokens."""
        seed = self.training.random_seed
        return sample_text(
            self.task.weights(), self.model, self.corpus.tokeniser, tokens=SAMPLE_TOKENS, random_seed=seed
        )

    def summary(self) -> str:
        """The chosen model and training in one line."""
        sizes = {name: value.numel() / 1e6 for name, value in self.task.parameters.items()}
        ngrams = sizes.get("ngrams.weight", 0.0)
        ngram_part = f" ({ngrams:.2f} M for n-grams)" if ngrams else ""
        tokeniser, model = self.corpus.tokeniser, self.model
        return (
            f"{model.cell} {model.layers}x{model.hidden_size}, embedding {model.embedding_size} | "
            f"{sum(sizes.values()):.2f} M parameters{ngram_part} | "
            f"{tokeniser.kind} vocabulary of {tokeniser.size:,} | {len(self.corpus.train):,} tokens"
        )
