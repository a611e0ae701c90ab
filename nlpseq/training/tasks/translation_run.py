"""A run that trains a translator: its pairs, and what is chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlpseq.errors import OptionError
from nlpseq.models.options import RecurrentOptions
from nlpseq.models.translator import TASK, TranslatorOptions, initial_weights
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.data.pairs import ParallelCorpus, open_pairs, tokenise_pairs
from nlpseq.training.defaults import complete_translator
from nlpseq.training.options import TranslationTraining
from nlpseq.training.tasks import task_run
from nlpseq.training.tasks.translation import Translate, TranslationTask

DEFAULT_CORPUS = "english-german"
QUICK_PAIRS = 500


@dataclass(frozen=True, kw_only=True)
class Request(task_run.Request):
    """What a user asks for of a translator; `corpus` is tables, or with `two_files` a source and a target."""

    out: Path = Path("checkpoints/translation")
    two_files: bool = False
    columns: tuple[str, str] | None = None  # of tables: the names of source and target
    model: TranslatorOptions = field(default_factory=TranslatorOptions)
    training: TranslationTraining = field(default_factory=TranslationTraining)

    def as_json(self) -> dict[str, Any]:
        """What makes two runs the same run."""
        return {**super().as_json(), "columns": None if self.columns is None else list(self.columns)}


class TranslationRun(task_run.TaskRun):
    """A translator's training run."""

    name = TASK
    request: Request
    corpus: ParallelCorpus
    model: TranslatorOptions
    training: TranslationTraining
    task: TranslationTask

    def __init__(self, request: Request, started: float | None = None, translate: Translate | None = None) -> None:
        """`translate` makes the translations that `--criterion bleu` compares. Raises OptionError if it lacks."""
        if request.training.criterion == "bleu" and translate is None:
            raise OptionError("--criterion", "bleu needs somebody who translates", "--criterion loss")
        self.translate = translate
        super().__init__(request, started)

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the pairs and choose what was left open."""
        assert isinstance(model, TranslatorOptions)
        request, asked = self.request, self.request.corpus_options
        self.corpus = tokenise_pairs(
            request.corpus or (DEFAULT_CORPUS,),
            request.valid,
            self.folder.fresh,
            two_files=request.two_files,
            columns=request.columns,
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
            translate=self.translate,
        )

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
