"""Teachers and student on the student's validation part: scores, and texts whose speed can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.classifier_report import classifier_report
from nlpseq.evaluation.evaluation_pairs import recorded_pairs
from nlpseq.evaluation.scores import Note, Score
from nlpseq.evaluation.text_scores import read_text, recorded_text, tokenised_scores
from nlpseq.evaluation.training_text import facts_of
from nlpseq.evaluation.translation_scores import translator_scores
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model, load_model, read_options
from nlpseq.models.translator import TranslatorOptions
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL
from nlpseq.text.readers.rows import text_lines
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled_parts import read_parts
from nlpseq.text.tables.unlabelled import is_plain_text

MOST_LINES = 512  # whose speed is measured
OPTIONS = {LANGUAGE_MODEL.name: LanguageModelOptions, CLASSIFIER.name: ClassifierOptions}


class Compared(NamedTuple):
    """A model beside others."""

    role: str  # teacher or student
    name: str
    model: Model
    options: Any
    scores: list[Score]

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return self.model.path.stat().st_size


def compared(teachers: Sequence[str], student: Path, note: Note) -> list[Compared]:
    """The teachers and then the student, each scored on the student's validation part, on the processor.

    `note` is told if the teachers cannot be scored. Raises ModelFileError if a model is gone.
    """
    last = load_model(student)
    facts = facts_of(last)
    own = [Score(**score) for score in last.header.get("scores") or []]
    rows = []
    for role, path in (*(("teacher", Path(name)) for name in teachers), ("student", student)):
        loaded = load_model(path, last.task, "nlpseq distil")
        model = replace(loaded, header={**loaded.header, "data": facts})
        options: Any = read_options(model, OPTIONS.get(model.task, TranslatorOptions))
        scores = own if role == "student" else []
        if not _has_unlabelled(facts):
            scores = _scores(model, options, note)
        rows.append(Compared(role, str(path), loaded, options, scores))
    if _has_unlabelled(facts):
        note("texts without labels have those of the teacher: the scores say how far the student agrees with it")
    return rows


def _has_unlabelled(facts: dict[str, Any]) -> bool:
    return "labels" in facts and any(map(is_plain_text, (*facts["corpus"], *facts["valid"])))


def _scores(model: Model, options: Any, note: Note) -> list[Score]:
    """The scores on the validation part that the model's header names."""
    if model.task == LANGUAGE_MODEL.name:
        return tokenised_scores(model, options, read_text(model, recorded_text(model), note))
    if model.task == CLASSIFIER.name:
        return classifier_report(TextClassifier(model, options), (), LabelColumns(), note=note).scores
    pairs = recorded_pairs(model, note=note)
    return translator_scores([(model, options)], [pairs], BeamOptions(), BleuOptions(), note=note)


def validation_lines(student: Model) -> list[str]:
    """Some texts of the student's validation part: sources of a translator. Of a language model none are needed.

    Raises CorpusError if they cannot be read.
    """
    facts = facts_of(student)
    if student.task == LANGUAGE_MODEL.name:
        return []
    if student.task != CLASSIFIER.name:
        return list(recorded_pairs(student).sources[:MOST_LINES])
    if _has_unlabelled(facts):
        names = filter(is_plain_text, (*facts["valid"], *facts["corpus"]))
        return list(islice((line for name in names for line in text_lines(name) if line.strip()), MOST_LINES))
    columns = LabelColumns(*facts["columns"]) if facts["columns"] else None
    valid = facts["valid"] if facts["valid_is"] == "given" else ()
    _, texts = read_parts(facts["corpus"], valid, columns, several=bool(facts.get("several_labels")))
    if not texts.texts:
        raise CorpusError(facts["corpus"][0], "it has no validation texts")
    return texts.texts[:MOST_LINES]
