"""The classifier in training: its batches, its loss, its validation, and its run from texts to model file.

A run may start from a language model: its embedding and its layers become the classifier's, which then reads in one
direction, and only the layers above them are new (Dai and Le, 2015; Howard and Ruder, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nlpseq import tasks
from nlpseq.arrays import active_steps, to_numpy
from nlpseq.evaluation.label_scores import accuracy, confusion, fit_temperature, label_scores, macro_f1, mean_loss
from nlpseq.evaluation.scores import Score
from nlpseq.kernels.choice import Choice
from nlpseq.kernels.masks import draw_normal
from nlpseq.models import classifier, language_model
from nlpseq.models.classifier import TASK, ClassifierOptions, initial_weights
from nlpseq.models.model_file import Model, load_model, task_of
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.stack import Noise
from nlpseq.text.signature import corpus_name
from nlpseq.text.tokenisers import NUM_BYTES, Tokeniser
from nlpseq.training.data.evidence import CrossFitted
from nlpseq.training.data.labels import LabelledCorpus, open_labelled, text_notes, tokenise_labelled
from nlpseq.training.data.sentences import Shuffled
from nlpseq.training.defaults import complete_classifier
from nlpseq.training.options import ClassifierTraining
from nlpseq.training.requests import ClassifierRequest
from nlpseq.training.tasks.adversaries import adversarial_loss, virtual_loss
from nlpseq.training.tasks.model_task import ModelTask
from nlpseq.training.tasks.task_run import TaskRun

VALIDATION_TOKENS = 16_384
ENOUGH_PASSES = 3.0  # beyond which a classifier learns its texts by heart, however much time there is,
ENOUGH_STEPS = 1000  # unless that is less than so many steps, for few texts are learned from in few steps
MOST_PASSES = 20.0


class ClassificationTask(ModelTask):
    """A classifier in training, as `nlpseq.training.loop.Task` asks for it."""

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
    ) -> None:
        super().__init__(options, training, corpus, choice, weights)
        self.batches = Shuffled(
            corpus.train.texts.lengths,
            training.batch_size,
            training.random_seed,
            batch_tokens=training.batch_tokens,
        )
        self.most_passes = max(ENOUGH_PASSES, min(MOST_PASSES, ENOUGH_STEPS / self.steps_in_epoch()))
        self.criterion = training.criterion
        self.temperature = 1.0
        self.tokens = 0  # read in training
        self._valid_logits: np.ndarray | None = None
        counts = corpus.label_counts
        balanced = counts.sum() / np.maximum(1, counts) / len(counts)
        self.class_weights = None
        if training.class_weights == "balanced":
            self.class_weights = self.feed.place(balanced.astype(np.float32))
        self.evidence = CrossFitted(corpus, options.evidence, self.feed.place) if options.evidence else None
        self.constants: dict[str, Tensor] = {}
        if self.evidence is not None:
            self.constants["evidence.table"] = self.feed.place(self.evidence.table)
        self.depths = {name: _depth(name, options.layers) for name in self.parameters}

    def weights(self) -> dict[str, np.ndarray]:
        """The parameters as they are now, and the table of evidence."""
        return super().weights() | {name: to_numpy(value) for name, value in self.constants.items()}

    def rate_scales(self, share: float) -> list[float]:
        """What the rate of parameters of each depth is multiplied by, when `share` of the run is over.

        The lower, the slower, and the later (Howard and Ruder, 2018); what has not begun to learn has a rate of zero.
        """
        slower, unfreeze = self.training.layer_rates or 1.0, self.training.unfreeze or 0.0
        depths = max(self.depths.values())
        begins = [unfreeze * depth / depths for depth in range(depths + 1)]
        return [slower**-depth if share >= begin else 0.0 for depth, begin in enumerate(begins)]

    def steps_in_epoch(self) -> int:
        """Batches in one pass over the texts."""
        return len(self.batches)

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next batch's ids [T, B], lengths [B], labels [B] and folds [B], and its count of texts."""
        chosen = self.batches.next()
        batch = self.corpus.train.batch(chosen)
        self.tokens += int(batch.lengths.sum())
        folds = np.zeros(len(chosen), np.int64) if self.evidence is None else self.evidence.folds[chosen]
        place = self.feed.place
        return (self.feed.columns(batch.ids), *map(place, (batch.lengths, batch.labels, folds))), len(chosen)

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """A batch's loss in nats, a tensor without dimensions."""
        ids, lengths, labels, folds = batch
        evidence = None if self.evidence is None else self.evidence.of(ids, folds)
        training = self.training

        def read(shift: Tensor | None) -> Tensor:
            return self._logits(ids, lengths, noise=self.noise, shift=shift, evidence=evidence)

        def loss(logits: Tensor) -> Tensor:
            return self._loss(logits, labels)

        embedding = self.parameters["embedding.weight"]
        shape = (*ids.shape, embedding.shape[1])
        if training.adversarial:
            nothing = embedding.new_zeros(shape)
            return adversarial_loss(read, loss, nothing, training.adversarial * self._vector_length())
        if training.virtual_adversarial:
            drawn = draw_normal(shape, self.generator, embedding.device) * active_steps(lengths, len(ids))[..., None]
            return virtual_loss(read, loss, drawn, training.virtual_adversarial * self._vector_length())
        return loss(read(None))

    def _vector_length(self) -> Tensor:
        """The length of an average token's vector; in float64, where a factor of it is exact."""
        return self.parameters["embedding.weight"].detach().square().sum(1).mean().sqrt().double()

    def _logits(self, ids: Tensor, lengths: Tensor, *, noise: Noise | None = None, **read: Any) -> Tensor:
        outputs = classifier.read(
            self.parameters | self.constants,
            self.options,
            ids,
            lengths,
            run_layer=self.choice.run_layer,
            noise=noise,
            **read,
        )
        logits: Tensor = classifier.logits(self.parameters, self.options, outputs, noise)
        return logits

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.training.label_smoothing
        return cross_entropy(logits, labels, self.class_weights, reduction="sum", label_smoothing=smoothing)

    @torch.no_grad()
    def valid_logits(self) -> np.ndarray:
        """What the model says of each validation text [N, C]."""
        found = np.empty((len(self.corpus.valid), len(self.corpus.labels)), np.float32)
        made = []
        for places, batch in self.corpus.valid.in_order(VALIDATION_TOKENS):
            made.append((places, self._logits(self.feed.columns(batch.ids), self.feed.place(batch.lengths))))
        for places, logits in made:
            found[places] = to_numpy(logits)
        return found

    def validate(self) -> float:
        """The loss per validation text, in nats, without smoothing and weights."""
        self._valid_logits = self.valid_logits()
        return mean_loss(self._valid_logits, self.corpus.valid.labels)

    def selection_score(self) -> float | None:
        """Accuracy or macro-F1 of what `validate` found, in per cent."""
        if self.training.criterion == "loss" or self._valid_logits is None:
            return None
        table = confusion(self.corpus.valid.labels, self._valid_logits.argmax(1), len(self.corpus.labels))
        return accuracy(table) if self.training.criterion == "accuracy" else macro_f1(table)

    def scores(self) -> list[Score]:
        """All scores of the validation texts, with the temperature that is fitted on them."""
        logits, labels = self.valid_logits(), self.corpus.valid.labels
        self.temperature = fit_temperature(logits, labels)
        facts = self.corpus.facts
        part = f"{corpus_name(facts['valid'], facts['valid_is'])}#{facts['valid_sha256'][:8]}"
        return label_scores(logits, labels, self.corpus.labels, self.temperature, f"texts:{len(labels)}|{part}")

    def final_seconds(self, validation_seconds: float) -> float:
        """The last evaluation reads the same texts once more."""
        return 1.2 * validation_seconds + 1.0

    def details(self) -> dict[str, Any]:
        """The labels, and the temperature of their probabilities."""
        return {"labels": self.corpus.labels, "temperature": self.temperature}

    def arrays(self) -> dict[str, np.ndarray]:
        """The place among the batches, and how many tokens were read."""
        return {"place": np.array([self.batches.passes, self.batches.position, self.tokens])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.batches.passes, self.batches.position, self.tokens = (int(value) for value in arrays["place"])


def _depth(name: str, layers: int) -> int:
    """How far a parameter is below the output: 0 for what is above the layers, most for the embedding."""
    part, _, rest = name.partition(".")
    if part == "layers":
        return layers - int(rest.partition(".")[0])
    return layers + 1 if part in ("embedding", "ngrams") else 0


class ClassificationRun(TaskRun):
    """A classifier's training run."""

    name = TASK
    request: ClassifierRequest
    corpus: LabelledCorpus
    model: ClassifierOptions
    training: ClassifierTraining
    task: ClassificationTask

    def open_earlier(self, path: Path) -> Model:
        """A classifier, or a language model as the lower part of one; what reads backwards in it then begins afresh."""
        if task_of(path) == TASK:
            return load_model(path, TASK)
        found, options = language_model.load(path)
        shared = {one.name for one in fields(ClassifierOptions)} & {one.name for one in fields(options)}
        kept = {name: getattr(options, name) for name in shared}
        lower = ("embedding.", "ngrams.", "layers.")
        weights = {name: value for name, value in found.weights.items() if name.startswith(lower)}
        return replace(found, options=kept, weights=weights)

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the texts and choose what was left open."""
        assert isinstance(model, ClassifierOptions)
        request, asked = self.request, self.request.corpus_options
        lowercase = _lowercase(tokeniser) if model.lowercase is None else model.lowercase
        self.corpus = tokenise_labelled(
            request.files() or (tasks.CLASSIFIER.corpus,),
            request.valid,
            self.folder.fresh,
            columns=request.columns,
            tokens=asked.tokens,
            vocabulary_size=asked.vocab_size,
            tokeniser=tokeniser,
            lowercase=lowercase,
            longest=request.training.longest,
        )
        self.note_vocabulary()
        self.notes += text_notes(self.corpus.facts, request.training.longest)
        self.model, self.training = complete_classifier(
            replace(model, lowercase=lowercase),
            request.training,
            len(self.corpus.train),
            taught=request.init_from is not None,
            labels=len(self.corpus.labels),
        )
        return {}

    def reopen(self, config: Mapping[str, Any]) -> None:
        """The texts."""
        self.corpus = open_labelled(self.folder.tokens)

    def make_task(self, weights: Mapping[str, Any] | None) -> ClassificationTask:
        """The task, from initial weights, and from those given where they fit."""
        counts, seed = self.corpus.label_counts, self.training.random_seed
        made = initial_weights(self.model, self.corpus.tokeniser.size, counts, seed)
        for name, value in (weights or {}).items():
            if name in made and np.shape(value) == made[name].shape:
                made[name] = value
        return ClassificationTask(self.model, self.training, self.corpus, self.choice, made)

    def summary(self) -> str:
        """What was decided, in one line."""
        model, tokeniser = self.model, self.corpus.tokeniser
        millions = sum(value.numel() for value in self.task.parameters.values()) / 1e6
        ways = "both directions" if model.bidirectional else "one direction"
        return (
            f"{model.cell} {model.layers}x{model.hidden_size} in {ways}, {model.pooling} pooling | "
            f"{millions:.2f} M parameters | {tokeniser.kind} vocabulary of {tokeniser.size:,} | "
            f"{len(self.corpus.labels)} labels | {self.choice.reason} | random seed {self.training.random_seed}"
        )

    def finish(self) -> dict[str, Any]:
        """As every run, with the speed in texts too."""
        result = super().finish()
        seconds = max(self.run.counters.seconds, 1e-9)
        result["texts_per_second"] = result["tokens_per_second"]
        result["tokens_per_second"] = round(self.task.tokens / seconds, 1)
        return result


def _lowercase(tokeniser: Tokeniser | None) -> bool:
    """Whether capital letters become small ones: unless a tokeniser is there already that has learned such."""
    if tokeniser is None:
        return True
    learned = [tokeniser.spell(token) for token in range(NUM_BYTES, tokeniser.size)]
    return bool(learned) and all(one == one.lower() for one in learned)
