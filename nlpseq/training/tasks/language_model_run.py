"""A run that trains a language model: its corpus, and what is chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlpseq import tasks
from nlpseq.decoding.generation import sample_text
from nlpseq.models.language_model import TASK, LanguageModelOptions, initial_weights
from nlpseq.models.options import RecurrentOptions
from nlpseq.text.tokenisers import Tokeniser
from nlpseq.training.data.corpus import TokenisedCorpus, open_tokenised, tokenise_corpus
from nlpseq.training.defaults import DEFAULT_SECONDS, Circumstances, complete, free_memory, measure_speed
from nlpseq.training.options import LanguageModelTraining
from nlpseq.training.requests import LanguageModelRequest
from nlpseq.training.tasks.language_model import LanguageModelTask
from nlpseq.training.tasks.task_run import TaskRun

SAMPLE_TOKENS = 60
QUICK_SHARE = 0.004  # of the run's time, for one validation


class LanguageModelRun(TaskRun):
    """A language model's training run."""

    name = TASK
    request: LanguageModelRequest
    corpus: TokenisedCorpus
    model: LanguageModelOptions
    training: LanguageModelTraining
    task: LanguageModelTask

    def prepare(self, model: RecurrentOptions, tokeniser: Tokeniser | None) -> dict[str, Any]:
        """Tokenise the corpus and choose what was left open, by it and by the machine."""
        assert isinstance(model, LanguageModelOptions)
        request, asked = self.request, self.request.corpus_options
        self.corpus = tokenise_corpus(
            request.files() or (tasks.LANGUAGE_MODEL.corpus,),
            request.valid,
            self.folder.fresh,
            tokens=asked.tokens,
            vocabulary_size=asked.vocab_size,
            tokeniser=tokeniser,
        )
        self.note_vocabulary()
        if self.corpus.facts["valid_is"] == "training text":
            self.notes.append("the corpus is too short to hold a tenth out: validation is on the training text")
        speed = measure_speed(self.choice)
        size, device = self.corpus.tokeniser.size, self.choice.device
        seconds, memory = self._seconds(), free_memory(device)
        facts = Circumstances(len(self.corpus.train), size, seconds, speed, device.type, memory)
        self.model, self.training = complete(model, request.training, facts)
        self.quick_tokens = self._quick_tokens(speed)
        return {"quick_tokens": self.quick_tokens, "machine": {"speed": speed}}

    def reopen(self, config: Mapping[str, Any]) -> None:
        """The corpus, and how much of it a quick validation reads."""
        self.corpus = open_tokenised(self.folder.tokens)
        self.quick_tokens = config["quick_tokens"]

    def make_task(self, weights: Mapping[str, Any] | None) -> LanguageModelTask:
        """The task, from weights or from initial ones."""
        if weights is None:
            seed, size = self.training.random_seed, self.corpus.tokeniser.size
            weights = initial_weights(self.model, size, seed, self.corpus.frequencies)
        return LanguageModelTask(
            self.model, self.training, self.corpus, self.choice, weights, quick_tokens=self.quick_tokens
        )

    def _seconds(self) -> float:
        minutes = self.request.training.minutes
        return DEFAULT_SECONDS if minutes is None else minutes * 60

    def _quick_tokens(self, speed: float) -> int:
        """As many validation tokens as a small share of the run's time can score."""
        hidden, embedding = self.model.hidden_size or 0, self.model.embedding_size or 0
        features = embedding if self.model.tied else hidden
        operations = 2 * (4 * hidden * hidden * (2 * self.model.layers - 1) + features * self.corpus.tokeniser.size)
        affordable = 0.3 * QUICK_SHARE * self._seconds() * speed / operations
        return min(len(self.corpus.valid), max(4096, int(affordable)))

    def sample(self) -> str:
        """A text of SAMPLE_TOKENS tokens."""
        seed = self.training.random_seed
        return sample_text(
            self.task.weights(), self.model, self.corpus.tokeniser, tokens=SAMPLE_TOKENS, random_seed=seed
        )

    def summary(self) -> str:
        """What was decided, in one line."""
        sizes = {name: value.numel() / 1e6 for name, value in self.task.parameters.items()}
        ngrams = sizes.get("ngrams.weight", 0.0)
        of_which = f" ({ngrams:.2f} M for n-grams)" if ngrams else ""
        tokeniser, model = self.corpus.tokeniser, self.model
        return (
            f"{model.cell} {model.layers}x{model.hidden_size} | {sum(sizes.values()):.2f} M parameters{of_which} | "
            f"{tokeniser.kind} vocabulary of {tokeniser.size:,} | {len(self.corpus.train):,} tokens | "
            f"{self.choice.reason} | random seed {self.training.random_seed}"
        )
