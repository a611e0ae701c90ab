"""A model of any task from its file."""

from __future__ import annotations

from pathlib import Path

from nlpseq.api.classifier import Classifier
from nlpseq.api.language_model import LanguageModel
from nlpseq.api.model import check_choice
from nlpseq.api.paths import as_path
from nlpseq.api.translator import Translator
from nlpseq.errors import ModelFileError, OptionError
from nlpseq.models.model_file import load_model, task_of


def load(
    path: str | bytes | Path, *others: str | bytes | Path, device: str = "cpu", precision: str = "fp32"
) -> LanguageModel | Classifier | Translator:
    """A model from its file or run folder; see `nlpseq.load`."""
    check_choice("device", device, ("cpu", "cuda"))
    check_choice("precision", precision, ("fp32", "bf16"))
    task = task_of(as_path(path))
    if others and task != Translator.task.name:
        raise OptionError("path", "may be several only for translators, which then translate together")
    if precision != "fp32" and task != LanguageModel.task.name:
        raise OptionError("precision", "is for language models", "leave out precision")
    if task == LanguageModel.task.name:
        return LanguageModel.load(path, device=device, precision=precision)
    if task == Classifier.task.name:
        return Classifier.load(path, device=device)
    if task == Translator.task.name:
        return Translator.load(path, *others, device=device)
    model = load_model(as_path(path))  # raises for a file that is missing, damaged or foreign
    raise ModelFileError(str(model.path), f"is of the task {model.task}, which this version does not know")
