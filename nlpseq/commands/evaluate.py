"""`nlpseq evaluate`: how good a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.api.classifier import Classifier
from nlpseq.api.loading import load
from nlpseq.commands import output
from nlpseq.commands.flags import (
    Corpora,
    Device,
    Json,
    LabelColumn,
    ModelOrDefault,
    PairColumns,
    Quiet,
    TextColumn,
    Without,
    application,
    command,
)
from nlpseq.decoding.beam import BeamOptions
from nlpseq.errors import OptionError
from nlpseq.evaluation.classifier_report import ClassifierReport
from nlpseq.evaluation.label_scores import precision_and_recall
from nlpseq.evaluation.scores import Score
from nlpseq.evaluation.translation_scores import BleuOptions
from nlpseq.options import flag
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TASKS, TRANSLATOR, Task
from nlpseq.text.checks.corpus import corpus_kind
from nlpseq.text.compression import format_suffix
from nlpseq.text.readers import FORMATS

MOST_LABELS = 12  # in a confusion table; for more labels the most frequent mistakes are listed instead

app = application("How good a model is on a text.")

HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Only the end of the corpus, which training without --valid holds out.")
]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="A translator's source texts.")]
Targets = Annotated[
    list[Path] | None,
    typer.Option("--target", metavar="FILE", help="Their references; repeat it for more references."),
]
Baseline = Annotated[
    bool, typer.Option("--baseline", help="Also score linear models of a classifier's training texts, by scikit-learn.")
]


@command(app)
def evaluate(
    corpus: Corpora = None,
    source: Source = None,
    target: Targets = None,
    model: ModelOrDefault = None,
    held_out: HeldOut = False,
    columns: PairColumns = None,
    label_column: LabelColumn = None,
    text_column: TextColumn = None,
    baseline: Baseline = False,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    search: Annotated[BeamOptions, Without("n_best")],
    bleu: BleuOptions,
) -> None:
    """Write a model's scores, each with its unit and its signature. Compare only scores whose signatures agree.

    A language model: several corpora are read as one text, the state is carried from first to last, and every token
    is predicted once. A classifier: accuracy, macro-F1, calibration, each label's precision and recall, and the
    confusion table. Without a corpus, both read the validation text of training again, and get the scores that
    training reported.

    A translator: BLEU, chrF, TER and exact matches of its translations, and the perplexity of the references given
    their sources. It needs tables of pairs, or two files.

    \b
      nlpseq evaluate test.txt
      nlpseq evaluate -m checkpoints/sentiment test.tsv --baseline
      nlpseq evaluate -m checkpoints/translation --source test.en --target test.de
    """
    labelled = {"label_column": label_column, "text_column": text_column, "baseline": baseline}
    parallel = {"source": source, "target": target, "columns": columns, **_changed(search), **_changed(bleu)}
    path = model or _usual_model(corpus or [], labelled, parallel)
    loaded = load(path, device=device)
    if model is None and corpus:
        _note(f"the model is {path}", quiet=quiet)
    options = {CLASSIFIER.name: labelled, TRANSLATOR.name: parallel, LANGUAGE_MODEL.name: {"held_out": held_out}}
    _refuse_foreign(loaded.task, options)
    values = {name: value for name, value in options.get(loaded.task.name, {}).items() if value}
    note = partial(_note, quiet=quiet)
    if isinstance(loaded, Classifier):
        _write_report(loaded, loaded.report(*corpus or (), note=note, **values), baseline=baseline, json=json)
        return
    scores = loaded.evaluate(*corpus or (), note=note, **values)
    if json:
        output.write_json({"model": str(loaded.path), "scores": [score.as_json() for score in scores]})
    else:
        output.write_table(_rows(scores))


def _note(text: str, *, quiet: bool) -> None:
    output.note(f"note: {text}", quiet=quiet)


def _usual_model(corpus: Sequence[str], labelled: Mapping[str, Any], parallel: Mapping[str, Any]) -> Path:
    """The default folder of the task that the options and the corpora belong to."""
    if any(labelled.values()):
        return CLASSIFIER.folder
    if any(parallel.values()):
        return TRANSLATOR.folder
    kind = corpus_kind(corpus[0]) if corpus else "text"
    if kind == "text" and corpus and format_suffix(corpus[0]) in FORMATS:  # a table without a header
        return next((task.folder for task in (TRANSLATOR, CLASSIFIER) if task.folder.exists()), TRANSLATOR.folder)
    return {"text": LANGUAGE_MODEL, "pairs": TRANSLATOR, "labels": CLASSIFIER}[kind].folder


def _changed(options: BeamOptions | BleuOptions) -> dict[str, Any]:
    """The options that differ from their defaults."""
    values = {field.name: (getattr(options, field.name), field.default) for field in fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _refuse_foreign(task: Task, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises OptionError for the first option that belongs to another task."""
    for other, values in options.items():
        for name, value in values.items():
            if value and other != task.name:
                hint = f"-m {TASKS[other].folder}, or leave out {flag(name)}"
                raise OptionError(name, f"is for {TASKS[other].plural}, and the model is a {task.noun}", hint)


def _write_report(classifier: Classifier, report: ClassifierReport, *, baseline: bool, json: bool) -> None:
    if json:
        fields = {
            "model": str(classifier.path),
            "scores": [score.as_json() for score in report.scores],
            "confusion": {"labels": report.labels, "table": report.confusion.tolist()},
        }
        output.write_json({**fields, "baselines": report.baselines} if baseline else fields)
        return
    baselines = (
        (f"{score} of {name}", f"{value:.6g}", "", "trained on the same texts")
        for name, values in report.baselines.items()
        for score, value in values.items()
    )
    output.write_table([*_rows(report.scores), *baselines])
    output.write_text("\n")
    output.write_table(_by_label(report))
    if len(report.labels) > MOST_LABELS:
        output.write_text("\n")
        output.write_table(_mistakes(report))


def _rows(scores: Sequence[Score]) -> list[tuple[str, ...]]:
    return [(score.name, f"{score.value:.6g}", score.unit, score.signature) for score in scores]


def _by_label(report: ClassifierReport) -> list[tuple[str, ...]]:
    """A row for each label: precision, recall, texts and, if there are not too many labels, its confusions."""
    precision, recall = precision_and_recall(report.confusion)
    shown = report.labels if len(report.labels) <= MOST_LABELS else []
    rows = [("label", "precision", "recall", "texts", *(f"as {label}" for label in shown))]
    for label, precise, recalled, counts in zip(report.labels, precision, recall, report.confusion, strict=True):
        rows.append((label, f"{precise:.2f}", f"{recalled:.2f}", str(counts.sum()), *map(str, counts[: len(shown)])))
    return rows


def _mistakes(report: ClassifierReport) -> list[tuple[str, ...]]:
    """The most frequent mistakes, a row for each."""
    mistakes = ((label, other, str(count)) for label, other, count in report.mistakes(MOST_LABELS))
    return [("label", "taken as", "texts"), *mistakes]
