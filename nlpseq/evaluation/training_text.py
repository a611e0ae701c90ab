"""The text that a model was trained with, by the facts in its header: read again for a score, or scored by mistake."""

from __future__ import annotations

from typing import Any

from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.models.model_file import Model
from nlpseq.models.model_path import argument
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


def unreadable(model: Model, error: CorpusError) -> ModelFileError:
    """The error for a text of training that cannot be read again."""
    hint = f"{naming_a_text(model)}; or change to the folder it was trained in"
    return ModelFileError(model.name, f"the text that it was trained with cannot be read: {error}", hint)


def has_changed(model: Model, what: str) -> ModelFileError:
    """The error for a training text that has another hash than in training; `what` is `texts have` or the like."""
    said = f"its training {what} changed: a baseline trained on them would say nothing"
    return ModelFileError(model.name, said, WITHOUT_BASELINE)


def changed(facts: dict[str, Any]) -> str:
    """The note on a validation text that has another hash than in training."""
    return f"{' '.join(facts['valid'])} has changed since the model was trained on it"
