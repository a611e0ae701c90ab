"""A classifier's part of `nlpseq evaluate`: scores, each label's own, the confusion table, and baselines beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq.commands import output
from nlpseq.decoding.classification import TextClassifier
from nlpseq.errors import ModelFileError
from nlpseq.evaluation.baselines import baseline_labels
from nlpseq.evaluation.label_scores import accuracy, confusion, label_scores, macro_f1, precision_and_recall
from nlpseq.models.model_file import Model
from nlpseq.text.label_tables import LabelColumns
from nlpseq.text.labelled import LabelledTexts, check_known, read_labelled, read_parts


def show_label_scores(
    path: Path, corpus: Sequence[str], columns: LabelColumns, *, baseline: bool, as_json: bool, quiet: bool
) -> None:
    """Evaluate a classifier on labelled texts, or on those that its training was validated on, and write what is found.

    Raises CorpusError for texts that cannot be read or have other labels, OptionError where a baseline's library lacks.
    """
    classifier = TextClassifier.load(path)
    texts, part = _texts(classifier.model, corpus, columns, quiet=quiet)
    names = classifier.labels
    check_known(texts, names)
    labels = np.array([names.index(label) for label in texts.labels])
    logits = classifier.logits([classifier.ids(text) for text in texts.texts])
    signature = f"texts:{len(texts)}|{part}#{texts.sha256[:8]}"
    scores = label_scores(logits, labels, names, classifier.temperature, signature)
    table = confusion(labels, logits.argmax(1), len(names))
    beside = _baselines(classifier, texts, labels) if baseline else {}
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


def _texts(model: Model, corpus: Sequence[str], columns: LabelColumns, *, quiet: bool) -> tuple[LabelledTexts, str]:
    """The texts to evaluate on, and what they are."""
    if corpus:
        return read_labelled(corpus, columns), f"{Path(corpus[-1]).name}:given"
    facts = _facts(model)
    _, texts = _parts(model)
    if texts.sha256 != facts["valid_sha256"]:
        output.note(f"note: {' '.join(facts['valid'])} has changed since the model was trained", quiet=quiet)
    return texts, f"{Path(facts['valid'][-1]).name}:{facts['valid_is'].replace(' ', '-')}"


def _facts(model: Model) -> dict[str, Any]:
    facts: dict[str, Any] = model.header.get("data") or {}
    if "valid_is" not in facts:
        raise ModelFileError(str(model.path), "does not say what it was validated on", "name a corpus")
    return facts


def _parts(model: Model) -> tuple[LabelledTexts, LabelledTexts]:
    """What a model was trained on, and validated on, read again."""
    facts = _facts(model)
    columns = LabelColumns(*facts["columns"]) if facts["columns"] else None
    return read_parts(facts["corpus"], facts["valid"] if facts["valid_is"] == "given" else (), columns)


def _baselines(classifier: TextClassifier, texts: LabelledTexts, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Accuracy and macro-F1 of linear models of the training texts. Raises ModelFileError where those have changed."""
    train, _ = _parts(classifier.model)
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
    """A line for each label: precision, recall, texts, and as what they were taken."""
    precision, recall = precision_and_recall(table)
    head = ("label", "precision", "recall", "texts", *(f"as {name}" for name in names))
    rows = [
        (name, f"{precision[place]:.2f}", f"{recall[place]:.2f}", str(table[place].sum()), *map(str, table[place]))
        for place, name in enumerate(names)
    ]
    return [head, *rows]
