"""The classifier in training: its batches, its loss, its validation, and its run from texts to model file.

A run may start from a language model. The classifier takes over its embedding and its recurrent layers, reads forwards
only, and adds new layers above them (Dai and Le, 2015; Howard and Ruder, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlpseq import tasks
from nlpseq.arrays import active_steps, to_numpy
from nlpseq.cells import Unroll
from nlpseq.evaluation.scores import Score
from nlpseq.evaluation.shares import fit_shares
from nlpseq.kernels.choice import Choice
from nlpseq.models import classifier, language_model
from nlpseq.models.classifier import TASK, ClassifierOptions, initial_weights
from nlpseq.models.model_file import Model, load_model, task_of
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.stack import Noise
from nlpseq.text.signature import corpus_name
from nlpseq.text.tables.unlabelled import is_plain_text
from nlpseq.text.tokenisers import NUM_BYTES, Tokeniser
from nlpseq.training.data.evidence import CrossFitted
from nlpseq.training.data.label_notes import text_notes
from nlpseq.training.data.labels import LabelledCorpus, open_labelled, tokenise_labelled
from nlpseq.training.data.seal import checked_place
from nlpseq.training.data.shuffled import Shuffled
from nlpseq.training.defaults import complete_classifier
from nlpseq.training.distillation.labels import LabelTeachers
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.options import ClassifierTraining
from nlpseq.training.requests import ClassifierRequest
from nlpseq.training.tasks.adversaries import adversarial_loss, virtual_loss
from nlpseq.training.tasks.label_targets import initial_bias, label_targets
from nlpseq.training.tasks.model_task import ModelTask
from nlpseq.training.tasks.task_run import TaskRun

VALIDATION_TOKENS = 16_384
ENOUGH_PASSES = 3.0  # with a budget in minutes; more passes would overfit,
ENOUGH_STEPS = 1000  # unless there are too few texts for this number of steps,
MOST_PASSES = 20.0  # which justifies up to this number of passes


class ClassificationTask(ModelTask):
    """A classifier in training: a `nlpseq.training.loop.Task`."""

    name = classifier.TASK
    unit = "text"
    options: ClassifierOptions
    training: ClassifierTraining
    corpus: LabelledCorpus

    def __init__(
        self,
        options: ClassifierOptions,
        training: ClassifierTraining,
        corpus: LabelledCorpus,
        choice: Choice,
        weights: Mapping[str, np.ndarray],
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(options, training, corpus, choice, weights, processes)
        self.batches = Shuffled(
            corpus.train.texts.lengths,
            training.batch_size,
            training.random_seed,
            batch_tokens=training.batch_tokens,
        )
        self.most_passes = max(ENOUGH_PASSES, min(MOST_PASSES, ENOUGH_STEPS / self.steps_in_epoch()))
        self.targets = label_targets(corpus, training, self.feed.place)
        self.criterion = self.targets.criterion
        self.tokens = 0  # number of training tokens so far
        self._valid_logits: np.ndarray | None = None
        self.linear_share = 1.0  # of the linear model's logits, for one of the network's
        self.confidence = 1.0  # the factor of both that is right for the validation texts
        self.evidence = CrossFitted(corpus, options.evidence, self.feed.place) if options.evidence else None
        self.constants: dict[str, Tensor] = {}
        if self.evidence is not None:
            self.constants["evidence.table"] = self.feed.place(self.evidence.table)
        self.depths = {name: _depth(name, options.layers) for name in self.parameters}

    def weights(self) -> dict[str, np.ndarray]:
        """The current parameters, the table of weights of evidence, and the linear model."""
        constants = {name: to_numpy(value) for name, value in self.constants.items()}
        linear = self.corpus.linear
        return super().weights() | constants | ({} if linear is None else linear.model.weights(self.linear_share))

    def rate_scales(self, fraction: float) -> list[float]:
        """The factor of the learning rate at each depth, after this fraction of the run.

        Lower layers learn more slowly and start later (Howard and Ruder, 2018); before that their factor is zero.
        """
        slower, unfreeze = self.training.layer_rates or 1.0, self.training.unfreeze or 0.0
        depths = max(self.depths.values())
        starts = [unfreeze * depth / depths for depth in range(depths + 1)]
        return [slower**-depth if fraction >= start else 0.0 for depth, start in enumerate(starts)]

    def steps_in_epoch(self) -> int:
        """The number of batches in one pass over the texts."""
        return len(self.batches)

    @property
    def worst_loss(self) -> float:
        """A validation loss of a run that has diverged, in nats."""
        return self.targets.worst_loss

    def validation_steps(self, total: int) -> float:
        """The number of training steps that take as long as one validation, which needs no backward pass."""
        texts_in_step = len(self.corpus.train) / len(self.batches) * self.training.accumulate
        return len(self.corpus.valid) / (3 * texts_in_step)

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next batch's ids [T, B], lengths [B], labels and folds [B], and its texts in all processes.

        A teacher's answers [C, B] follow the folds.
        """
        chosen = self.batches.next()
        columns = self.share_of(len(chosen)).columns
        batch = self.corpus.train.batch(chosen)
        self.tokens += int(batch.lengths.sum())
        folds = np.zeros(len(chosen), np.int64) if self.evidence is None else self.evidence.folds[chosen]
        lengths, labels = self.feed.place(batch.lengths[columns]), self.targets.on_device(batch.labels[columns])
        own_folds = self.feed.place(folds[columns])
        soft = () if self.corpus.soft is None else (self.feed.place(self.corpus.soft[chosen[columns]].T),)
        return (self.feed.token_ids(batch.ids[:, columns]), lengths, labels, own_folds, *soft), len(chosen)

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The loss of a batch in nats, a scalar tensor."""
        ids, lengths, labels, folds, *soft = batch
        evidence = None if self.evidence is None else self.evidence.of(ids, folds)
        training = self.training

        def read(shift: Tensor | None) -> Tensor:
            return self._logits(ids, lengths, noise=self.noise, shift=shift, evidence=evidence)

        def loss(logits: Tensor) -> Tensor:
            return self.targets.loss(logits, labels, *soft)

        embedding = self.parameters["embedding.weight"]
        shape = (*ids.shape, embedding.shape[1])
        if training.adversarial:
            zeros = embedding.new_zeros(shape)
            return adversarial_loss(read, loss, zeros, training.adversarial * self._vector_length())
        if training.virtual_adversarial:
            random = self.noise.normal(shape) * active_steps(lengths, len(ids))[..., None]
            length = training.virtual_adversarial * self._vector_length()
            return virtual_loss(read, loss, random, length, self.targets.divergence)
        return loss(read(None))

    def _vector_length(self) -> Tensor:
        """The root mean square length of the tokens' vectors, in float64, in which a factor of it is exact."""
        return self.parameters["embedding.weight"].detach().square().sum(1).mean().sqrt().double()

    def _logits(self, ids: Tensor, lengths: Tensor, *, noise: Noise | None = None, **read: Any) -> Tensor:
        read.setdefault("run_layer", self.choice.run_layer)
        outputs = classifier.read(self.parameters | self.constants, self.options, ids, lengths, noise=noise, **read)
        logits: Tensor = classifier.logits(self.parameters, self.options, outputs, noise)
        return logits

    def valid_logits(self, run_layer: Unroll | None = None) -> np.ndarray:
        """The logits [N, C] of the validation texts; the share of the linear model is fitted to them."""
        network, linear = self.network_valid_logits(run_layer or self.choice.run_layer), self.corpus.linear
        if linear is None or not np.isfinite(network).all():
            return network
        self.confidence, share = fit_shares(network, linear.valid_logits, self.corpus.valid.labels)
        self.linear_share = share / self.confidence
        logits: np.ndarray = network + np.float32(self.linear_share) * linear.valid_logits
        return logits

    @torch.no_grad()
    def network_valid_logits(self, run_layer: Unroll) -> np.ndarray:
        """The network's logits [N, C] of the validation texts."""
        all_logits = np.empty((len(self.corpus.valid), len(self.corpus.labels)), np.float32)
        by_batch = []
        for indices, batch in self.corpus.valid.in_order(VALIDATION_TOKENS):
            arguments = self.feed.token_ids(batch.ids), self.feed.place(batch.lengths)
            by_batch.append((indices, self._logits(*arguments, run_layer=run_layer)))
        for indices, logits in by_batch:
            all_logits[indices] = to_numpy(logits)
        return all_logits

    def validate(self) -> float:
        """The loss per validation text in nats, without label smoothing and class weights."""
        self._valid_logits = self.valid_logits()
        return self.targets.valid_loss(self._valid_logits * np.float32(self.confidence))

    def selection_score(self) -> float | None:
        """The criterion's score in the last validation, in per cent; None if the criterion is the loss."""
        return None if self._valid_logits is None else self.targets.selection_score(self._valid_logits)

    def scores(self) -> list[Score]:
        """The scores of the validation texts in full precision, with a temperature that is fitted on them."""
        facts = self.corpus.facts
        source = f"{corpus_name(facts['valid'], facts['valid_is'])}#{facts['valid_sha256'][:8]}"
        return self.targets.scores(self.valid_logits(self.choice.exact), f"texts:{len(self.corpus.valid)}|{source}")

    def final_seconds(self, validation_seconds: float) -> float:
        """The time of `scores`, which reads the same texts once more."""
        return 1.2 * self.exact_seconds(validation_seconds) + 1.0

    def details(self) -> dict[str, Any]:
        """The labels, and what their probabilities are computed from."""
        return self.targets.details()

    def arrays(self) -> dict[str, np.ndarray]:
        """The position among the batches, and the number of tokens so far."""
        return {"place": np.array([self.batches.passes, self.batches.position, self.tokens])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the state that `arrays` returned."""
        *_, self.tokens = checked_place(arrays["place"], 3)
        self.batches.go_to(arrays["place"][:2])


def _depth(name: str, layers: int) -> int:
    """How far a parameter is below the output: 0 above the recurrent layers, `layers` + 1 for the embedding."""
    group, _, rest = name.partition(".")
    if group == "layers":
        return layers - int(rest.partition(".")[0])
    return layers + 1 if group in ("embedding", "ngrams") else 0


class ClassificationRun(TaskRun):
    """A classifier's training run."""

    name = TASK
    request: ClassifierRequest
    corpus: LabelledCorpus
    model: ClassifierOptions
    training: ClassifierTraining
    task: ClassificationTask

    def open_earlier(self, path: Path) -> Model:
        """Load a classifier, or the embedding and recurrent layers of a language model.

        The linear model is fitted anew, so the classifier's kind of n-grams is not taken over.
        """
        if task_of(path) == TASK:
            earlier = load_model(path, TASK, "--init-from")
            return replace(earlier, options={**earlier.options, "linear": self.request.model.linear})
        earlier, options = language_model.load(path, flag="--init-from")
        shared = {field.name for field in fields(ClassifierOptions)} & {field.name for field in fields(options)}
        kept = {name: getattr(options, name) for name in shared}
        lower = ("embedding.", "ngrams.", "layers.")
        weights = {name: value for name, value in earlier.weights.items() if name.startswith(lower)}
        return replace(earlier, options=kept, weights=weights)

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the texts and choose the options that were left open."""
        assert isinstance(model, ClassifierOptions)
        request, corpus_options = self.request, self.request.corpus_options
        lowercase = _lowercase(tokeniser) if model.lowercase is None else model.lowercase
        teacher = LabelTeachers(self.teachers, self.choice.device.type) if self.teachers.models else None
        self.note_teachers()
        if plain := [name for name in request.all_files() if teacher is not None and is_plain_text(name)]:
            self.notes.append(f"{' and '.join(plain)}: without labels, so they get the teacher's, in validation too")
        self.corpus = tokenise_labelled(
            request.files_or(tasks.CLASSIFIER.corpus),
            request.valid,
            self.folder.fresh,
            columns=request.columns,
            tokens=corpus_options.tokens,
            vocabulary_size=corpus_options.vocab_size,
            tokeniser=tokeniser,
            labels=self.labels if teacher is None else teacher.labels,
            several=self._several() if teacher is None else teacher.several,
            teacher=teacher,
            linear=model.linear,
            watch=self.watch,
            lowercase=lowercase,
            longest=request.training.longest,
        )
        linear = self.corpus.linear
        self.note_vocabulary()
        self.notes += text_notes(self.corpus.facts, request.training.longest)
        self.model, self.training = complete_classifier(
            replace(model, lowercase=lowercase, linear="none" if linear is None else linear.kind),
            request.training,
            len(self.corpus.train),
            tokens=len(self.corpus.train.texts.ids),
            pretrained=request.init_from is not None,
            labels=len(self.corpus.labels),
        )
        return {"several_labels": True} if self.corpus.several else {}

    def _several(self) -> bool | None:
        """Whether the texts of a run that is continued have several labels; None for a new run."""
        return None if self.labels is None else bool(self.folder.read_config().get("several_labels"))

    def reopen(self, config: Mapping[str, Any]) -> None:
        """Set `corpus`."""
        self.corpus = open_labelled(self.folder.tokens)

    def make_task(self, weights: Mapping[str, Any] | None) -> ClassificationTask:
        """Make the task from initial weights, replaced by those of `weights` that have the same name and shape."""
        counts, seed = self.corpus.label_counts, self.training.random_seed
        values = initial_weights(self.model, self.corpus.tokeniser.size, counts, seed)
        bias = initial_bias(self.corpus)
        values |= {} if bias is None else {"output.bias": bias}
        for name, value in (weights or {}).items():
            if name in values and np.shape(value) == values[name].shape:
                values[name] = value
        return ClassificationTask(self.model, self.training, self.corpus, self.choice, values, self.processes)

    def summary(self) -> str:
        """The chosen model and training in one line."""
        model, tokeniser = self.model, self.corpus.tokeniser
        millions = sum(value.numel() for value in self.task.parameters.values()) / 1e6
        directions = "both directions" if model.bidirectional else "one direction"
        fitted = self.corpus.linear
        ngrams = "" if fitted is None else f"{len(fitted.model.vocabulary.keys):,} n-grams ({fitted.kind})"
        labels = "1 label" if len(self.corpus.labels) == 1 else f"{len(self.corpus.labels)} labels"
        return (
            f"{model.cell} {model.layers}x{model.hidden_size} in {directions}, {model.pooling} pooling, "
            f"embedding {model.embedding_size} | "
            f"{millions:.2f} M parameters | {tokeniser.kind} vocabulary of {tokeniser.size:,} | "
            f"{labels}{', any number a text' * self.corpus.several}"
            f"{' | linear model of ' * bool(ngrams)}{ngrams}"
        )

    def finish(self) -> dict[str, Any]:
        """As `TaskRun.finish`, with the speed in texts, too."""
        result = super().finish()
        seconds = max(self.run.counters.seconds, 1e-9)
        result["texts_per_second"] = result["tokens_per_second"]
        result["tokens_per_second"] = round(self.task.tokens / seconds, 1)
        return result


def _lowercase(tokeniser: Tokeniser | None) -> bool:
    """Whether to convert texts to lower case: not if the tokeniser to start from has learned capital letters."""
    if tokeniser is None:
        return True
    learned = [tokeniser.spell(token) for token in range(NUM_BYTES, tokeniser.size)]
    return bool(learned) and all(token == token.lower() for token in learned)
