"""`nlpseq evaluate`: how good a model is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.api.classifier import Classifier
from nlpseq.api.loading import load
from nlpseq.commands import output
from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.flags import (
    RARE,
    Corpora,
    Device,
    Json,
    LabelColumn,
    ModelOrDefault,
    PairColumns,
    Quiet,
    Take,
    TextColumn,
    Without,
    application,
    command,
)
from nlpseq.commands.inputs import note_typed_corpus, note_unread
from nlpseq.commands.tables.score_table import WIDTH, score_lines
from nlpseq.decoding.beam import BeamOptions
from nlpseq.errors import CorpusError, OptionError
from nlpseq.evaluation.classifier_report import ClassifierReport
from nlpseq.evaluation.label_scores import precision_and_recall
from nlpseq.evaluation.scores import Score, shown_value
from nlpseq.evaluation.translation_scores import BleuOptions
from nlpseq.models.model_path import usual_model
from nlpseq.options import flag
from nlpseq.tasks import CLASSIFIER, COMMANDS, LANGUAGE_MODEL, TASKS, TRANSLATOR, Task
from nlpseq.text import beginnings
from nlpseq.text.checks.corpus import corpus_kind
from nlpseq.text.compression import format_suffix
from nlpseq.text.readers import FORMATS

MOST_MISTAKES = 12  # that are listed if the table of all of them is too wide
LONGEST_SHOWN = 32  # characters of a label

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
    take: Annotated[Take, RARE] = None,
    columns: Annotated[PairColumns, RARE] = None,
    label_column: LabelColumn = None,
    text_column: TextColumn = None,
    baseline: Baseline = False,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    search: Annotated[BeamOptions, Without("n_best"), RARE],
    bleu: BleuOptions,
) -> None:
    """Write a model's scores with their units, and their signatures. Compare only scores whose signatures agree.

    A language model: several corpora are read as one text, the state is carried from first to last, and every token
    is predicted once. A classifier: accuracy, macro-F1, calibration, each label's precision and recall, and the
    confusion table. A translator: BLEU, chrF, TER and exact matches of its translations, and the perplexity of the
    references given their sources.

    Without a corpus, the model reads the validation text of its training again. A language model and a classifier then
    get the scores that training reported.

    \b
      nlpseq evaluate test.txt
      nlpseq evaluate -m checkpoints/sentiment test.tsv --baseline
      nlpseq evaluate -m checkpoints/translation --source test.en --target test.de
    """
    corpus = list(beginnings.take(corpus or (), take))
    labelled = {"label_column": label_column, "text_column": text_column, "baseline": baseline}
    files = {"source": _beginnings(source, take), "target": [_beginnings(path, take) for path in target or ()]}
    parallel = {**files, "columns": columns, **_changed(search), **_changed(bleu)}
    path = model or chosen_model(None, _usual_task(corpus or [], labelled, parallel), quiet=quiet)
    loaded = load(path, device=device)
    if model is None and path.is_dir():
        _note(f"the model is {path}", quiet=quiet)
    options = {CLASSIFIER.name: labelled, TRANSLATOR.name: parallel, LANGUAGE_MODEL.name: {"held_out": held_out}}
    _refuse_foreign(loaded.task, options)
    values = {name: value for name, value in options.get(loaded.task.name, {}).items() if value}
    note = partial(_note, quiet=quiet)
    if not isinstance(loaded, Classifier):
        note_typed_corpus(corpus, quiet=quiet)
    if not (corpus or source):
        note_unread("nlpseq evaluate - reads a text, and a FILE a table", quiet=quiet)
    try:
        if isinstance(loaded, Classifier):
            _write_report(loaded, loaded.report(*corpus or (), note=note, **values), baseline=baseline, json=json)
        else:
            _write_scores(loaded.path, loaded.evaluate(*corpus or (), note=note, **values), json=json)
    except CorpusError as error:
        raise CorpusError(error.where, error.what, _for_evaluation(error.hint)) from None


def _beginnings(path: Path | None, count: int | None) -> str | None:
    """The name of a file's first lines."""
    return None if path is None else beginnings.take([str(path)], count)[0]


def _note(text: str, *, quiet: bool) -> None:
    output.note(f"note: {text}", quiet=quiet)


def _usual_task(corpus: Sequence[str], labelled: Mapping[str, Any], parallel: Mapping[str, Any]) -> Task:
    """The task that the options and the corpora belong to."""
    if any(labelled.values()):
        return CLASSIFIER
    if any(parallel.values()):
        return TRANSLATOR
    kind = corpus_kind(corpus[0]) if corpus else "text"
    if kind == "text" and corpus and format_suffix(corpus[0]) in FORMATS:  # a table without a header
        return next((task for task in (TRANSLATOR, CLASSIFIER) if task.folder.exists()), TRANSLATOR)
    return {"text": LANGUAGE_MODEL, "pairs": TRANSLATOR, "labels": CLASSIFIER}[kind]


def _changed(options: BeamOptions | BleuOptions) -> dict[str, Any]:
    """The options that differ from their defaults."""
    values = {field.name: (getattr(options, field.name), field.default) for field in fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _refuse_foreign(task: Task, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises OptionError for the first option that belongs to another task."""
    for other, values in options.items():
        for name, value in values.items():
            if value and other != task.name:
                hint = f"-m {usual_model(TASKS[other])}, or leave out {flag(name)}"
                raise OptionError(name, f"is for {TASKS[other].plural}, and the model is a {task.noun}", hint)


def _for_evaluation(hint: str) -> str:
    """The hint of a reader of corpora, in which each command that would train a model on the file evaluates one."""

    def evaluating(match: re.Match[str]) -> str:
        return f"nlpseq evaluate -m {usual_model(COMMANDS[match[1]])}"

    return re.sub(rf"nlpseq train ({'|'.join(COMMANDS)})\b", evaluating, hint)


def _write_scores(path: Path, scores: Sequence[Score], *, json: bool) -> None:
    if json:
        output.write_json({"model": str(path), "scores": [score.as_json() for score in scores]})
    else:
        output.write_lines(score_lines(scores))


def _write_report(classifier: Classifier, report: ClassifierReport, *, baseline: bool, json: bool) -> None:
    if json:
        fields = {
            "model": str(classifier.path),
            "scores": [score.as_json() for score in report.scores],
            "confusion": {"labels": report.labels, "table": report.confusion.tolist()},
        }
        output.write_json({**fields, "baselines": report.baselines} if baseline else fields)
        return
    tables = [_baselines(report)] if report.baselines else []
    confusions = output.table_lines(_by_label(report, confusions=True))
    if max(map(len, confusions)) <= WIDTH:
        tables.append(confusions)
    else:
        tables += [output.table_lines(_by_label(report, confusions=False)), _mistakes(report)]
    output.write_lines(score_lines(report.scores))
    for lines in tables:
        output.write_lines(["", *lines])


def _baselines(report: ClassifierReport) -> list[str]:
    """The scores of the linear models, a line for each."""
    names = list(dict.fromkeys(name for values in report.baselines.values() for name in values))
    rows = [
        (name, *(shown_value(score, values[score]) for score in names)) for name, values in report.baselines.items()
    ]
    return output.table_lines([("trained on the same texts", *names), *rows])


def _by_label(report: ClassifierReport, *, confusions: bool) -> list[tuple[str, ...]]:
    """A row for each label: precision, recall, texts and, if wanted, the number of its texts taken as each label."""
    precision, recall = precision_and_recall(report.confusion)
    shown = report.labels if confusions else []
    rows = [("label", "precision", "recall", "texts", *(f"as {_short(label)}" for label in shown))]
    for label, precise, recalled, counts in zip(report.labels, precision, recall, report.confusion, strict=True):
        numbers = f"{precise:.2f} %", f"{recalled:.2f} %", str(counts.sum()), *map(str, counts[: len(shown)])
        rows.append((_short(label), *numbers))
    return rows


def _mistakes(report: ClassifierReport) -> list[str]:
    """The most frequent mistakes, a line for each."""
    mistakes = report.mistakes(MOST_MISTAKES)
    rows = [(_short(label), _short(other), str(count)) for label, other, count in mistakes]
    return output.table_lines([("label", "taken as", "texts"), *rows])


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_SHOWN else label[: LONGEST_SHOWN - 2] + ".."
