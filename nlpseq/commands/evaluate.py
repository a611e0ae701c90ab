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
    LabelSeparator,
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
from nlpseq.commands.tables.baseline_table import baseline_lines
from nlpseq.commands.tables.score_table import WIDTH, score_lines
from nlpseq.decoding.beam import BeamOptions
from nlpseq.errors import CorpusError, OptionError
from nlpseq.evaluation.adaptation import AdaptationOptions
from nlpseq.evaluation.bleu import BleuOptions
from nlpseq.evaluation.classifier_report import ClassifierReport
from nlpseq.evaluation.comparison.resampling import ResamplingOptions
from nlpseq.evaluation.floors.baseline import Report
from nlpseq.evaluation.floors.language_model import LONGEST_ORDER, ORDER
from nlpseq.evaluation.label_scores import precision_and_recall
from nlpseq.evaluation.label_set_scores import set_f1, set_precision_and_recall
from nlpseq.models.model_path import usual_model
from nlpseq.options import flag
from nlpseq.tasks import CLASSIFIER, COMMANDS, LANGUAGE_MODEL, TRANSLATOR, Task
from nlpseq.text import beginnings
from nlpseq.text.checks.corpus import corpus_kind
from nlpseq.text.compression import format_suffix
from nlpseq.text.display import display_width, shortened
from nlpseq.text.readers import FORMATS

MOST_MISTAKES = 12  # that are listed if the table of all of them is too wide
LONGEST_SHOWN = 32  # columns that a label takes on the screen

app = application("How good a model is on a text.")

HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Only the end of the corpus, which training without --valid holds out.")
]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="A translator's source texts.")]
Targets = Annotated[
    list[Path] | None,
    typer.Option("--target", metavar="FILE", help="Their references; repeat it for more references."),
]
WithBaseline = Annotated[
    bool, typer.Option("--baseline", help="Also score simple models of the same training text, as a floor.")
]
Confidence = Annotated[
    bool, typer.Option("--confidence", help="Add 95 % intervals, by the bootstrap over lines or blocks of text.")
]
Order = Annotated[
    int | None,
    typer.Option(
        "--order",
        metavar="N",
        min=1,
        max=LONGEST_ORDER,
        help=f"Tokens in the n-grams of a language model's baseline. [default: {ORDER}]",
    ),
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
    label_separator: Annotated[LabelSeparator, RARE] = None,
    baseline: WithBaseline = False,
    order: Annotated[Order, RARE] = None,
    confidence: Confidence = False,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    search: Annotated[BeamOptions, Without("n_best"), RARE],
    bleu: BleuOptions,
    adaptation: Annotated[AdaptationOptions, RARE],
    resampling: Annotated[ResamplingOptions, Without("trials"), RARE],
) -> None:
    """Write a model's scores with their units, and their signatures. Compare only scores whose signatures agree.

    A language model: several corpora are read as one text, the state is carried from first to last, and every token
    is predicted once. A classifier: accuracy, macro-F1, calibration, each label's precision and recall, and the
    confusion table; if a text may have several labels, micro-F1, macro-F1, exact match and each label's F1. A
    translator: BLEU, chrF, TER and exact matches of its translations, and the perplexity of the references given their
    sources.

    Without a corpus, the model reads the validation text of its training again. A language model and a classifier then
    get the scores that training reported.

    \b
      nlpseq evaluate test.txt
      nlpseq evaluate -m checkpoints/sentiment test.tsv --baseline
      nlpseq evaluate -m checkpoints/translation --source test.en --target test.de
    """
    corpus = list(beginnings.take(corpus or (), take))
    labelled = _set(label_column=label_column, text_column=text_column, label_separator=label_separator)
    files = {"source": _beginnings(source, take), "target": [_beginnings(path, take) for path in target or ()]}
    parallel = _set(**files, columns=columns, **_changed(search), **_changed(bleu))
    read = _set(held_out=held_out, order=order, **_changed(adaptation))
    path = model or chosen_model(None, _usual_task(corpus, labelled, parallel), quiet=quiet)
    loaded = load(path, device=device)
    if model is None and path.is_dir():
        _note(f"the model is {path}", quiet=quiet)
    options = {CLASSIFIER: labelled, TRANSLATOR: parallel, LANGUAGE_MODEL: read}
    values = {"baseline": baseline, "note": partial(_note, quiet=quiet), **_own(loaded.task, options)}
    values |= {"confidence": confidence, **_changed(resampling)}
    if order is not None and not baseline:
        raise OptionError("order", "is an option of the baseline", "add --baseline")
    if not isinstance(loaded, Classifier):
        note_typed_corpus(corpus, quiet=quiet)
    if not (corpus or source):
        note_unread("nlpseq evaluate - reads a text, and a FILE a table", quiet=quiet)
    report = _report(loaded, corpus, values)
    (_write_json if json else _write_lines)(loaded.path, report, baseline=baseline)


def _report(loaded: Any, corpus: Sequence[str], values: Mapping[str, Any]) -> Report | ClassifierReport:
    """The report of a model. Raises CorpusError as it does, with a hint that evaluates."""
    try:
        report: Report | ClassifierReport = loaded.report(*corpus, **values)
    except CorpusError as error:
        raise CorpusError(error.where, error.what, _for_evaluation(error.hint)) from None
    return report


def _beginnings(path: Path | None, count: int | None) -> str | None:
    """The name of a file's first lines."""
    return None if path is None else beginnings.take([str(path)], count)[0]


def _note(text: str, *, quiet: bool) -> None:
    output.note(f"note: {text}", quiet=quiet)


def _set(**values: Any) -> dict[str, Any]:
    """The options that were set, by name."""
    return {name: value for name, value in values.items() if not (value is None or value is False or value == [])}


def _usual_task(corpus: Sequence[str], labelled: Mapping[str, Any], parallel: Mapping[str, Any]) -> Task:
    """The task that the options and the corpora belong to."""
    if labelled:
        return CLASSIFIER
    if parallel:
        return TRANSLATOR
    kind = corpus_kind(corpus[0]) if corpus else "text"
    if kind == "text" and corpus and format_suffix(corpus[0]) in FORMATS:  # a table without a header
        return next((task for task in (TRANSLATOR, CLASSIFIER) if task.folder.exists()), TRANSLATOR)
    return {"text": LANGUAGE_MODEL, "pairs": TRANSLATOR, "labels": CLASSIFIER}[kind]


def _changed(options: BeamOptions | BleuOptions | AdaptationOptions | ResamplingOptions) -> dict[str, Any]:
    """The options that differ from their defaults."""
    values = {field.name: (getattr(options, field.name), field.default) for field in fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _own(task: Task, options: Mapping[Task, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The options of a task. Raises OptionError for the first option that belongs to another."""
    for other, values in options.items():
        for name in values if other != task else ():
            hint = f"-m {usual_model(other)}, or leave out {flag(name)}"
            raise OptionError(name, f"is for {other.plural}, and the model is a {task.noun}", hint)
    return options[task]


def _for_evaluation(hint: str) -> str:
    """The hint of a reader of corpora, in which each command that would train a model on the file evaluates one."""

    def evaluating(match: re.Match[str]) -> str:
        return f"nlpseq evaluate -m {usual_model(COMMANDS[match[1]])}"

    return re.sub(rf"nlpseq train ({'|'.join(COMMANDS)})\b", evaluating, hint)


def _write_json(path: Path, report: Report | ClassifierReport, *, baseline: bool) -> None:
    fields: dict[str, Any] = {"model": str(path), "scores": [score.as_json() for score in report.scores]}
    if isinstance(report, ClassifierReport):
        fields["confusion"] = {"labels": report.labels, "table": report.confusion.tolist()}
    if baseline:
        fields["baselines"] = [found.as_json() for found in report.baselines]
    output.write_json(fields)


def _write_lines(path: Path, report: Report | ClassifierReport, *, baseline: bool) -> None:
    tables = [score_lines(report.scores)]
    if baseline:
        tables.append(baseline_lines(report.scores, report.baselines))
    if isinstance(report, ClassifierReport):
        confusions = _set_lines(report) if report.several else output.table_lines(_by_label(report, confusions=True))
        if report.several or max(map(display_width, confusions)) <= WIDTH:
            tables.append(confusions)
        else:
            tables += [output.table_lines(_by_label(report, confusions=False)), _mistakes(report)]
    for number, lines in enumerate(filter(None, tables)):
        output.write_lines([""] * (number > 0) + lines)


def _by_label(report: ClassifierReport, *, confusions: bool) -> list[tuple[str, ...]]:
    """A row for each label: precision, recall, texts and, if wanted, the number of its texts taken as each label."""
    precision, recall = precision_and_recall(report.confusion)
    shown = report.labels if confusions else []
    rows = [("label", "precision", "recall", "texts", *(f"as {_short(label)}" for label in shown))]
    for label, precise, recalled, counts in zip(report.labels, precision, recall, report.confusion, strict=True):
        numbers = f"{precise:.2f} %", f"{recalled:.2f} %", str(counts.sum()), *map(str, counts[: len(shown)])
        rows.append((_short(label), *numbers))
    return rows


def _set_lines(report: ClassifierReport) -> list[str]:
    """A line for each label of texts that may have several: precision, recall, F1, its texts and those found."""
    measures = *set_precision_and_recall(report.confusion), set_f1(report.confusion)
    rows: list[tuple[str, ...]] = [("label", "precision", "recall", "F1", "texts", "found")]
    for label, table, *values in zip(report.labels, report.confusion, *measures, strict=True):
        rows.append(
            (_short(label), *(f"{value:.2f} %" for value in values), *map(str, (table[1].sum(), table[:, 1].sum())))
        )
    return output.table_lines(rows)


def _mistakes(report: ClassifierReport) -> list[str]:
    """The most frequent mistakes, a line for each; an empty list for a model without mistakes."""
    mistakes = report.mistakes(MOST_MISTAKES)
    rows = [(_short(label), _short(other), str(count)) for label, other, count in mistakes]
    return output.table_lines([("label", "taken as", "texts"), *rows]) if rows else []


def _short(label: str) -> str:
    return shortened(output.printable(label), LONGEST_SHOWN)
