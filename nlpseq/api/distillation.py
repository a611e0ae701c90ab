"""Small models from large ones in Python: the options of `nlpseq distil` by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nlpseq.api.classifier import Classifier
from nlpseq.api.language_model import LanguageModel
from nlpseq.api.paths import as_name, as_names
from nlpseq.api.training import check_callables, train_request
from nlpseq.api.translator import Translator
from nlpseq.evaluation.scores import Note, say_nothing
from nlpseq.training.distillation.student import lesson, sort_arguments
from nlpseq.training.progress import Progress


def distil(
    *arguments: object,
    corpus: object = (),
    progress: Callable[[Progress], object] | None = None,
    note: Note = say_nothing,
    **options: Any,
) -> LanguageModel | Classifier | Translator:
    """Train a small model from large ones, and load it; see `nlpseq.distil`."""
    check_callables(progress, note)
    models, corpora = sort_arguments([as_name(argument, "MODEL") for argument in arguments])
    corpora += as_names(corpus if isinstance(corpus, list | tuple) else [corpus])
    found = lesson(models, corpora, options)
    for text in found.notes:
        note(text)
    return train_request(found.task, found.request, progress, note)
