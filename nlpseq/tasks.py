"""The table of tasks: what each is called, where its models lie, and the code that trains and runs it.

Commands, default paths and hints are derived from these records. Code is named as `module:attribute` and imported when
it is asked for, so the table itself imports nothing; the cost is that a misspelt name is found by a test, not by the
type checker.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Task:
    """One task."""

    name: str  # in model files
    command: str  # of `nlpseq train`
    noun: str
    folder: Path  # of a run, if none is named
    corpus: str  # the bundled corpus, if none is named
    bundled: str  # the bundled model, if none is named and none is in the folder
    bundled_text: str  # that the bundled model was trained on
    example: str  # a command that runs a model
    request: str  # the options dataclass of a training run
    run: str  # the training run
    model: str  # the trained model, in the Python API
    structure: str  # what its model file must hold

    @property
    def plural(self) -> str:
        """The noun for several models."""
        return f"{self.noun}s"

    def load(self, what: str) -> Any:
        """The code that one of the fields `request`, `run`, `model` and `structure` names."""
        module, _, attribute = getattr(self, what).partition(":")
        return getattr(import_module(module), attribute)


LANGUAGE_MODEL = Task(
    name="language-model",
    command="lm",
    noun="language model",
    folder=Path("checkpoints/lm"),
    corpus="stories",
    example="nlpseq generate",
    bundled="stories",
    bundled_text="176 kB of short stories",
    request="nlpseq.training.requests:LanguageModelRequest",
    run="nlpseq.training.tasks.language_model:LanguageModelRun",
    model="nlpseq.api.language_model:LanguageModel",
    structure="nlpseq.models.language_model:STRUCTURE",
)
CLASSIFIER = Task(
    name="classifier",
    command="sentiment",
    noun="classifier",
    folder=Path("checkpoints/sentiment"),
    corpus="reviews",
    example='nlpseq classify "your text"',
    bundled="reviews",
    bundled_text="5,000 made-up reviews",
    request="nlpseq.training.requests:ClassifierRequest",
    run="nlpseq.training.tasks.classification:ClassificationRun",
    model="nlpseq.api.classifier:Classifier",
    structure="nlpseq.models.classifier:STRUCTURE",
)
TRANSLATOR = Task(
    name="translator",
    command="translation",
    noun="translator",
    folder=Path("checkpoints/translation"),
    corpus="english-german",
    example='nlpseq translate "your text"',
    bundled="english-german",
    bundled_text="9,000 made-up pairs",
    request="nlpseq.training.requests:TranslatorRequest",
    run="nlpseq.training.tasks.translation:TranslationRun",
    model="nlpseq.api.translator:Translator",
    structure="nlpseq.models.translator:STRUCTURE",
)

TASKS: dict[str, Task] = {task.name: task for task in (LANGUAGE_MODEL, CLASSIFIER, TRANSLATOR)}
COMMANDS: dict[str, Task] = {task.command: task for task in TASKS.values()}
