"""A classifier's part of `nlpseq evaluate`: scores, each label's own, the confusion table, and baselines beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.commands import output
from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import CorpusError, ModelFileError
from nlpseq.evaluation.baselines import baseline_labels
from nlpseq.evaluation.label_scores import accuracy, confusion, label_scores, macro_f1, precision_and_recall
from nlpseq.models.model_file import Model
from nlpseq.text.formats import HUB
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.labelled import LabelledTexts, check_known, part_name, read_labelled, read_parts, shared

Parts = Callable[[], tuple[LabelledTexts, LabelledTexts]]  # what a model was trained on, and validated on

MOST_COLUMNS = 12  # labels whose whole confusion table is shown; of more the most frequent mistakes


def show_label_scores(
    path: Path,
    corpus: Sequence[str],
    columns: LabelColumns,
    *,
    baseline: bool,
    as_json: bool,
    quiet: bool,
    device: str = "cpu",
) -> None:
    """Evaluate a classifier on labelled texts, or on those that its training was validated on, and write what is found.

    Raises CorpusError for texts that cannot be read or have other labels, OptionError where a baseline's library lacks,
    BackendError if there is no such device.
    """
    classifier = TextClassifier.load(path, device)
    parts = cache(partial(_parts, classifier.model))
    texts, part = _texts(classifier.model, parts, corpus, columns, quiet=quiet)
    names = classifier.labels
    check_known(texts, names)
    labels = np.array([names.index(label) for label in texts.labels])
    logits = classifier.logits([classifier.ids(text) for text in texts.texts])
    signature = f"texts:{len(texts)}|{part}#{texts.sha256[:8]}"
    scores = label_scores(logits, labels, names, classifier.temperature, signature)
    table = confusion(labels, logits.argmax(1), len(names))
    beside = _baselines(classifier, parts()[0], texts, labels) if baseline else {}
    if as_json:
        output.write_json(
            {
                "model": str(classifier.model.path),
                "scores": [score.as_json() for score in scores],
                "confusion": {"labels": names, "table": table.tolist()},
                **({"baselines": beside} if baseline else {}),
            }
        )
        return
    rows = [(one.name, f"{one.value:.6g}", one.unit, one.signature) for one in scores]
    for name, found in beside.items():
        rows += [
            (f"{score} of {name}", f"{value:.6g}", "", "trained on the same texts") for score, value in found.items()
        ]
    output.write_table(rows)
    output.write_text("\n")
    output.write_table(_by_label(names, table))
    if len(names) > MOST_COLUMNS:
        output.write_text("\n")
        output.write_table(_confusions(names, table))


def _texts(
    model: Model, parts: Parts, corpus: Sequence[str], columns: LabelColumns, *, quiet: bool
) -> tuple[LabelledTexts, str]:
    """The texts to evaluate on, and what they are."""
    if corpus:
        texts = read_labelled(corpus, columns)
        _note_learned(model, parts, texts, quiet=quiet)
        return texts, part_name(corpus, "given")
    facts = _facts(model)
    _, texts = parts()
    if texts.sha256 != facts["valid_sha256"]:
        output.note(f"note: {' '.join(facts['valid'])} has changed since the model was trained", quiet=quiet)
    return texts, part_name(facts["valid"], facts["valid_is"])


def _note_learned(model: Model, parts: Parts, texts: LabelledTexts, *, quiet: bool) -> None:
    """Say how many of the texts were trained on, where that can be read again from a disk."""
    trained_on = (model.header.get("data") or {}).get("corpus", [])
    if any(name.startswith(HUB) for name in trained_on):
        return
    try:
        train, _ = parts()
    except ModelFileError:
        return
    if known := len(shared(texts, train)):
        what = f"note: {known:,} of the {len(texts):,} texts were trained on: their scores are too good"
        output.note(what, quiet=quiet)


def _facts(model: Model) -> dict[str, Any]:
    facts: dict[str, Any] = model.header.get("data") or {}
    if "valid_is" not in facts:
        raise ModelFileError(str(model.path), "does not say what it was validated on", "name a corpus")
    return facts


def _parts(model: Model) -> tuple[LabelledTexts, LabelledTexts]:
    """What a model was trained on, and validated on, read again."""
    facts = _facts(model)
    columns = LabelColumns(*facts["columns"]) if facts["columns"] else None
    try:
        return read_parts(facts["corpus"], facts["valid"] if facts["valid_is"] == "given" else (), columns)
    except CorpusError as error:
        what = f"the texts that it was trained on cannot be read again: {error}"
        raise ModelFileError(str(model.path), what, "name a corpus, or go to the folder of its training") from None


def _baselines(
    classifier: TextClassifier, train: LabelledTexts, texts: LabelledTexts, labels: np.ndarray
) -> dict[str, dict[str, float]]:
    """Accuracy and macro-F1 of linear models of the training texts. Raises ModelFileError where those have changed."""
    if train.sha256 != _facts(classifier.model)["sha256"]:
        what = "was trained on other texts than are there now: a baseline of those says nothing"
        raise ModelFileError(str(classifier.model.path), what, "leave out --baseline")
    found = baseline_labels(train.texts, train.labels, texts.texts, lowercase=bool(classifier.options.lowercase))
    names = classifier.labels
    made = {}
    for name, given in found.items():
        table = confusion(labels, np.array([names.index(label) for label in given]), len(names))
        made[name] = {"accuracy": accuracy(table), "macro_f1": macro_f1(table)}
    return made


def _by_label(names: Sequence[str], table: np.ndarray) -> list[tuple[str, ...]]:
    """A line for each label: precision, recall, texts, and, of not too many, as what they were taken."""
    precision, recall = precision_and_recall(table)
    columns = list(names) if len(names) <= MOST_COLUMNS else []
    head = ("label", "precision", "recall", "texts", *(f"as {name}" for name in columns))
    rows = [
        (
            name,
            f"{precision[place]:.2f}",
            f"{recall[place]:.2f}",
            str(table[place].sum()),
            *map(str, table[place][: len(columns)]),
        )
        for place, name in enumerate(names)
    ]
    return [head, *rows]


def _confusions(names: Sequence[str], table: np.ndarray) -> list[tuple[str, ...]]:
    """The most frequent mistakes, a line for each."""
    wrong = table * (1 - np.eye(len(names), dtype=int))
    worst = np.argsort(-wrong, axis=None, kind="stable")[:MOST_COLUMNS]
    pairs = [(one, other) for one, other in (divmod(int(place), len(names)) for place in worst) if wrong[one, other]]
    return [
        ("label", "taken as", "texts"),
        *((names[one], names[other], str(wrong[one, other])) for one, other in pairs),
    ]
