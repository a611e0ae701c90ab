"""The text that a model was trained with, by the facts in its header: read again for a score, or scored by mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.models.model_file import Model
from nlpseq.models.model_path import UNLABELLED, argument
from nlpseq.text.beginnings import whole_name
from nlpseq.text.compression import STANDARD_INPUT

WITHOUT_BASELINE = "leave out --baseline"


def facts_of(model: Model) -> dict[str, Any]:
    """The facts about the text of a model's training; empty if the model file has none."""
    facts: dict[str, Any] = model.header.get("data") or {}
    return facts


def validation_facts(model: Model) -> dict[str, Any]:
    """As `facts_of`. Raises ModelFileError if the validation text is not named, or was standard input."""
    facts = facts_of(model)
    if "valid" not in facts or "valid_is" not in facts:
        raise ModelFileError(model.name, "does not say what text it was validated on", naming_a_text(model))
    if STANDARD_INPUT in facts["valid"]:
        raise ModelFileError(model.name, "was validated on standard input, which is gone", naming_a_text(model))
    return facts


def training_facts(model: Model) -> dict[str, Any]:
    """As `facts_of`, for a baseline. Raises ModelFileError if the training text is not named, or was standard input."""
    facts = facts_of(model)
    if not facts.get("corpus") or "sha256" not in facts:
        raise ModelFileError(model.name, "does not say what text it was trained on", WITHOUT_BASELINE)
    if STANDARD_INPUT in facts["corpus"]:
        raise ModelFileError(model.name, "was trained on standard input, which is gone", WITHOUT_BASELINE)
    return facts


def naming_a_text(model: Model) -> str:
    """The hint to evaluate a model on another text than that of its training."""
    return f"nlpseq evaluate -m {argument(model.path)} FILE"


def unreadable(model: Model, error: CorpusError, remedy: str | None = None) -> ModelFileError:
    """The error for a text of training that cannot be read again; `remedy` is the hint to do without it."""
    remedy = remedy or naming_a_text(model)
    if was_removed(error.where):
        what = "was not kept: it was made for the training of a classifier, and removed after that"
        return ModelFileError(model.name, f"the text that it was trained with {what}", remedy)
    hint = f"{remedy}; or change to the folder it was trained in"
    return ModelFileError(model.name, f"the text that it was trained with cannot be read: {error}", hint)


def was_removed(name: str) -> bool:
    """Whether a corpus is a file that a training run made for itself, and removed when it no longer needed it."""
    path = Path(whole_name(name))
    return UNLABELLED in path.parts and not path.exists()


def without_labels(model: Model, names: Sequence[str], remedy: str | None = None) -> ModelFileError:
    """The error for plain texts of training, for which a teacher chose the labels; `remedy` as for `unreadable`."""
    parts = (("corpus", "training"), ("valid", "validation"))
    kinds = [kind for key, kind in parts if set(names).intersection(facts_of(model).get(key, ()))]
    said = f"its {kinds[0]} texts have no labels, only those that its teacher chose: {' '.join(names)}"
    return ModelFileError(model.name, said, remedy or f"{naming_a_text(model)}, a table with labels")


def has_changed(model: Model, what: str) -> ModelFileError:
    """The error for a training text that has another hash than in training; `what` is `texts have` or the like."""
    said = f"its training {what} changed: a baseline trained on them would say nothing"
    return ModelFileError(model.name, said, WITHOUT_BASELINE)


def changed(facts: dict[str, Any]) -> str:
    """The note on a validation text that has another hash than in training."""
    return f"{' '.join(facts['valid'])} has changed since the model was trained on it"
