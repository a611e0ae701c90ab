"""A run that trains a translator: its pairs, and what is chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlpseq import tasks
from nlpseq.decoding.translation import greedy_translations
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.translator import TASK, TranslatorOptions, initial_weights
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.data.pairs import ParallelCorpus, open_pairs, tokenise_pairs
from nlpseq.training.defaults import complete_translator
from nlpseq.training.options import TranslationTraining
from nlpseq.training.requests import TranslatorRequest
from nlpseq.training.tasks.task_run import TaskRun
from nlpseq.training.tasks.translation import TranslationTask

QUICK_PAIRS = 500


class TranslationRun(TaskRun):
    """A translator's training run."""

    name = TASK
    request: TranslatorRequest
    corpus: ParallelCorpus
    model: TranslatorOptions
    training: TranslationTraining
    task: TranslationTask

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the pairs and choose what was left open."""
        assert isinstance(model, TranslatorOptions)
        request, asked = self.request, self.request.corpus_options
        self.corpus = tokenise_pairs(
            request.files() or (tasks.TRANSLATOR.corpus,),
            request.valid,
            self.folder.fresh,
            two_files=request.source is not None,
            columns=request.pair_columns,
            tokens=asked.tokens,
            vocabulary_size=asked.vocab_size,
            tokeniser=tokeniser,
            longest=request.training.longest,
        )
        self.note_vocabulary()
        self._note_losses()
        self.model, self.training = complete_translator(model, request.training, len(self.corpus.train))
        return {}

    def reopen(self, config: Mapping[str, Any]) -> None:
        """The pairs."""
        self.corpus = open_pairs(self.folder.tokens)

    def make_task(self, weights: Mapping[str, Any] | None) -> TranslationTask:
        """The task, from weights or from initial ones."""
        if weights is None:
            seed, size = self.training.random_seed, self.corpus.tokeniser.size
            weights = initial_weights(self.model, size, seed, self.corpus.frequencies)
        quick = min(QUICK_PAIRS, len(self.corpus.valid))
        return TranslationTask(
            self.model,
            self.training,
            self.corpus,
            self.choice,
            weights,
            quick_pairs=quick,
        )

    def sample(self) -> str:
        """The first validation pair's source and its greedy translation."""
        text = self.corpus.tokeniser.decode(self.corpus.valid.sources[0][:-1])
        (translation,) = greedy_translations(self.task.running_weights(), self.model, self.corpus.tokeniser, [text])
        return f"{text} -> {translation}"

    def _note_losses(self) -> None:
        for fact, what in (
            ("blank", "a blank side"),
            ("too_long", f"more than {self.request.training.longest} tokens"),
        ):
            if count := self.corpus.facts[fact]:
                self.notes.append(f"{_pairs(count)} with {what} left out")

    def summary(self) -> str:
        """What was decided, in one line."""
        model, tokeniser = self.model, self.corpus.tokeniser
        millions = sum(value.numel() for value in self.task.parameters.values()) / 1e6
        return (
            f"{model.cell} {model.encoder_layers}+{model.layers}x{model.hidden_size} | {millions:.2f} M parameters | "
            f"{tokeniser.kind} vocabulary of {tokeniser.size:,} | {_pairs(len(self.corpus.train))} | "
            f"{self.choice.reason} | random seed {self.training.random_seed}"
        )


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"
