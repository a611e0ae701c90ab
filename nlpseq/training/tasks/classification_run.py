"""A run that trains a classifier: its labelled texts, what is chosen for it, and the model that teaches it.

A language model may be started from: its embedding and its layers become the classifier's, which then reads in one
direction, and only what is above them is new (Dai and Le, 2015; Howard and Ruder, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import tasks
from nlpseq.models import language_model
from nlpseq.models.classifier import TASK, ClassifierOptions, initial_weights
from nlpseq.models.model_file import Model, load_model, task_of
from nlpseq.models.options import RecurrentOptions
from nlpseq.text.tokenisers import NUM_BYTES, Tokeniser
from nlpseq.training.data.labels import LabelledCorpus, open_labelled, tokenise_labelled
from nlpseq.training.defaults import complete_classifier
from nlpseq.training.options import ClassifierTraining
from nlpseq.training.requests import ClassifierRequest
from nlpseq.training.tasks.classification import ClassificationTask
from nlpseq.training.tasks.task_run import TaskRun

SHOWN_LABELS = 6


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
        self._note_texts()
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

    def _note_texts(self) -> None:
        facts = self.corpus.facts
        counted = sorted(zip(facts["label_counts"], facts["labels"], strict=True), reverse=True)
        shown = ", ".join(f"{label!r} {count:,}" for count, label in counted[:SHOWN_LABELS])
        more = f" and {len(counted) - SHOWN_LABELS:,} more labels" if len(counted) > SHOWN_LABELS else ""
        valid = f"{facts['valid_texts']:,} {'given' if facts['valid_is'] == 'given' else 'held out'} for validation"
        self.notes.append(f"{_texts(facts['texts'])} to train on: {shown}{more}; {valid}")
        for fact, what in (
            ("blank", "left out, for label or text are blank"),
            ("repeated", "that were there before"),
            ("contradicting", "that were there before with another label"),
            ("in_both_parts", "that are in the validation part too: its scores are too good"),
            ("cut", f"of more than {self.request.training.longest:,} tokens, whose middle is left out (--longest)"),
        ):
            if facts[fact]:
                self.notes.append(f"{_texts(facts[fact])} {what}")
        if rare := [label for count, label in counted if count == 1]:
            self.notes.append(f"labels with a single text: {', '.join(map(repr, rare[:SHOWN_LABELS]))}")

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
        seconds = max(self.run.seconds, 1e-9)
        result["texts_per_second"] = result["tokens_per_second"]
        result["tokens_per_second"] = round(self.task.tokens / seconds, 1)
        return result


def _lowercase(tokeniser: Tokeniser | None) -> bool:
    """Whether capital letters become small ones: unless a tokeniser is there already that has learned such."""
    if tokeniser is None:
        return True
    learned = [tokeniser.spell(token) for token in range(NUM_BYTES, tokeniser.size)]
    return bool(learned) and all(one == one.lower() for one in learned)


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count:,} texts"
