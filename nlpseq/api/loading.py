"""A model of any task from its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlpseq.api.model import TrainedModel
from nlpseq.api.paths import as_path
from nlpseq.errors import ModelFileError, OptionError
from nlpseq.models.model_file import load_model, task_of
from nlpseq.options import check_choice
from nlpseq.tasks import TASKS

if TYPE_CHECKING:
    from nlpseq.api.classifier import Classifier
    from nlpseq.api.language_model import LanguageModel
    from nlpseq.api.translator import Translator


def load(
    path: str | bytes | Path, *others: str | bytes | Path, device: str = "cpu", precision: str = "fp32"
) -> LanguageModel | Classifier | Translator:
    """A model from its file or run folder; see `nlpseq.load`."""
    check_choice("device", device, ("cpu", "cuda"))
    check_choice("precision", precision, ("fp32", "bf16", "int8"))
    name = task_of(as_path(path))
    if name not in TASKS:
        model = load_model(as_path(path))  # raises for a file that is missing, damaged or foreign
        raise ModelFileError(model.name, f"is of the task {model.task}, which this version does not know")
    kind: type[TrainedModel] = TASKS[name].load("model")
    options: dict[str, Any] = {"device": device}
    if precision != "fp32":
        if precision not in kind.precisions:
            what = f"must be {' or '.join(kind.precisions)} for a {kind.task.noun}, was {precision!r}"
            raise OptionError("precision", what, "leave out precision")
        options["precision"] = precision
    if others and not kind.together:
        raise OptionError("path", f"may be several only for models that work together, and this is a {kind.task.noun}")
    loaded: Any = kind.load(path, *others, **options)
    return loaded  # type: ignore[no-any-return]
