"""`nlpseq evaluate`: how good a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.evaluate_labels import show_label_scores
from nlpseq.commands.flags import (
    LANGUAGE_MODEL,
    SENTIMENT,
    TRANSLATION,
    Corpora,
    Device,
    Json,
    LabelColumn,
    ModelOrDefault,
    PairColumns,
    Quiet,
    TextColumn,
    application,
    command,
    read_columns,
)
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.errors import OptionError
from nlpseq.evaluation.reader import placed
from nlpseq.evaluation.scores import Score
from nlpseq.evaluation.text_scores import EvaluationText, held_out_text, recorded_text, text_scores
from nlpseq.evaluation.translation_scores import BleuOptions, given_source_scores, reference_scores
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.model_file import Model, task_of
from nlpseq.options import flag
from nlpseq.text.parts import CorpusPart
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.text.tables.pair_tables import is_table
from nlpseq.text.tables.parallel import read_parallel

app = application("How good a model is on a text.")

HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Only the end of the corpus, as training without --valid holds it out.")
]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="A translator's source texts.")]
Targets = Annotated[
    list[Path] | None,
    typer.Option("--target", metavar="FILE", help="Their references; more than once: other references."),
]
Baseline = Annotated[
    bool, typer.Option("--baseline", help="Linear models of a classifier's training texts beside it, by scikit-learn.")
]

TASKS = {
    language_model.TASK: ("language models", LANGUAGE_MODEL),
    translator.TASK: ("translators", TRANSLATION),
    classifier.TASK: ("classifiers", SENTIMENT),
}


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
    search: BeamOptions,
    bleu: BleuOptions,
) -> None:
    """Write a model's scores, each with its unit and its signature. Scores may be compared where signatures agree.

    A language model: several corpora are one text, read with the state carried from first to last, every token
    predicted once. A classifier: accuracy, macro-F1, calibration, each label's precision and recall, and the confusion
    table. Without a corpus both are evaluated on what training was validated on, with the scores that it reported.

    A translator: BLEU, chrF, TER, exact matches of its translations, and the perplexity of the references given
    their sources, of tables of pairs or of two files.

    \b
      nlpseq evaluate test.txt
      nlpseq evaluate -m checkpoints/sentiment test.tsv --baseline
      nlpseq evaluate -m checkpoints/translation --source test.en --target test.de
    """
    labelled = {"--label-column": label_column, "--text-column": text_column, "--baseline": baseline}
    parallel = {"--source": source, "--target": target, "--columns": columns, **_set(search), **_set(bleu)}
    model = model or _usual_model(corpus or [], labelled, parallel)
    task = task_of(model)
    for own, given in ((classifier.TASK, labelled), (translator.TASK, parallel)):
        _refuse_foreign(task, own, given)
    _refuse_foreign(task, language_model.TASK, {"--held-out": held_out})
    if task == classifier.TASK:
        named = LabelColumns(label_column, text_column)
        show_label_scores(model, corpus or [], named, baseline=baseline, as_json=json, quiet=quiet, device=device)
        return
    if task == translator.TASK:
        pairs = (corpus or [], source, target or [], read_columns(columns))
        path, scores = _translator_scores(model, pairs, search, bleu, quiet=quiet, device=device)
    else:
        path, scores = _language_model_scores(model, corpus or [], held_out=held_out, quiet=quiet, device=device)
    if json:
        output.write_json({"model": str(path), "scores": [score.as_json() for score in scores]})
    else:
        output.write_table([(one.name, f"{one.value:.6g}", one.unit, one.signature) for one in scores])


def _usual_model(corpus: Sequence[str], labelled: Mapping[str, Any], parallel: Mapping[str, Any]) -> Path:
    """The usual place of a model of the kind that what is given is for."""
    if any(labelled.values()):
        return SENTIMENT
    if any(parallel.values()) or any(map(is_table, corpus)):
        return TRANSLATION if any(parallel.values()) or TRANSLATION.exists() or not SENTIMENT.exists() else SENTIMENT
    return LANGUAGE_MODEL


def _set(given: BeamOptions | BleuOptions) -> dict[str, Any]:
    """The flags of options that were set."""
    plain = type(given)()
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    return {flag(name): True for name, value in values.items() if value != getattr(plain, name)}


def _refuse_foreign(task: str | None, own: str, given: Mapping[str, Any]) -> None:
    """Raises OptionError for the first flag that is for models of another task."""
    if task in TASKS and task != own:
        for name, value in given.items():
            if value:
                kind, usual = TASKS[own]
                raise OptionError(name, f"is for {kind}", f"-m {usual}, or leave out {name}")


def _language_model_scores(
    model: Path, corpus: list[str], *, held_out: bool, quiet: bool, device: str
) -> tuple[Path, Sequence[Score]]:
    loaded, options = language_model.load(model)
    there = placed(loaded, device)
    text = _text(corpus, loaded, held_out=held_out)
    scores, same = text_scores(there, options, text)
    if not same:
        names = " ".join(text.part.names)
        output.note(f"note: {names} has changed since the model was trained on it", quiet=quiet)
    return loaded.path, scores


def _translator_scores(
    model: Path,
    given: tuple[Sequence[str], Path | None, Sequence[Path], tuple[str, str] | None],
    search: BeamOptions,
    bleu: BleuOptions,
    *,
    quiet: bool,
    device: str,
) -> tuple[Path, Sequence[Score]]:
    tables, source, targets, columns = given
    if search.n_best != 1:
        raise OptionError("--n-best", "is for `translate`: one translation is evaluated", "leave out --n-best")
    if bool(tables) == (source is not None) or (source is None) != (not targets):
        raise OptionError("CORPUS", "must be tables of pairs, or two files", "--source FILE --target FILE")
    loaded, options = translator.load(model)
    there = placed(loaded, device)
    if source is None:
        pairs = [read_parallel(tables, two_files=False, columns=columns, keep_blank=True)]
    else:
        pairs = [read_parallel((str(source), str(one)), two_files=True, keep_blank=True) for one in targets]
    sources = pairs[0].sources
    made = Translations(Ensemble.of([(loaded, options)], device), search).translate(sources)
    texts = [best[0].text if best else "" for best in made]
    if left_out := sum(not best for best in made):
        output.note(f"note: {left_out} of {len(made):,} sources are too long, and have no translation", quiet=quiet)
    scores = reference_scores(texts, [one.targets for one in pairs], bleu)
    return loaded.path, [*scores, *given_source_scores(there, options, sources, pairs[0].targets)]


def _text(corpus: list[str], model: Model, *, held_out: bool) -> EvaluationText:
    if not corpus:
        return recorded_text(model)
    if held_out:
        return held_out_text(corpus, model.tokeniser.kind)
    return EvaluationText(CorpusPart(tuple(corpus)))
