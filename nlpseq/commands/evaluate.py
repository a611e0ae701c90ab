"""`nlpseq evaluate`: how good a model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    LANGUAGE_MODEL,
    TRANSLATION,
    Corpora,
    Json,
    ModelOrDefault,
    PairColumns,
    Quiet,
    application,
    command,
    read_columns,
)
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations
from nlpseq.errors import OptionError
from nlpseq.evaluation.scores import Score
from nlpseq.evaluation.text_scores import EvaluationText, held_out_text, recorded_text, text_scores
from nlpseq.evaluation.translation_scores import BleuOptions, given_source_scores, reference_scores
from nlpseq.models import language_model, translator
from nlpseq.models.model_file import Model, task_of
from nlpseq.options import flag
from nlpseq.text.pair_tables import is_table
from nlpseq.text.parallel import read_parallel
from nlpseq.text.parts import CorpusPart

app = application("How good a model is on a text.")

HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Only the end of the corpus, as training without --valid holds it out.")
]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="A translator's source texts.")]
Targets = Annotated[
    list[Path] | None,
    typer.Option("--target", metavar="FILE", help="Their references; more than once: other references."),
]


@command(app)
def evaluate(
    corpus: Corpora = None,
    source: Source = None,
    target: Targets = None,
    model: ModelOrDefault = None,
    held_out: HeldOut = False,
    columns: PairColumns = None,
    json: Json = False,
    quiet: Quiet = False,
    *,
    search: BeamOptions,
    bleu: BleuOptions,
) -> None:
    """Write a model's scores, each with its unit and its signature. Scores may be compared where signatures agree.

    A language model: several corpora are one text, read with the state carried from first to last, every token
    predicted once. Without a corpus it is the text that training was validated on, and the scores are those that
    training reported.

    A translator: BLEU, chrF, TER, exact matches of its translations, and the perplexity of the references given
    their sources, of tables of pairs or of two files.

    \b
      nlpseq evaluate test.txt
      nlpseq evaluate --held-out corpus.txt -m checkpoints/poems --json
      nlpseq evaluate -m checkpoints/translation --source test.en --target test.de
    """
    parallel = source is not None or any(map(is_table, corpus or []))
    model = model or (TRANSLATION if parallel else LANGUAGE_MODEL)
    if task_of(model) == translator.TASK:
        if held_out:
            raise OptionError("--held-out", "is for language models", "name the pairs")
        path, scores = _translator_scores(
            model, corpus or [], source, target or [], read_columns(columns), search, bleu, quiet=quiet
        )
    else:
        if source or target or columns:
            raise OptionError(
                "--source" if source else "--target" if target else "--columns",
                "is for translators",
                "-m checkpoints/translation",
            )
        for given, plain in ((search, BeamOptions()), (bleu, BleuOptions())):
            _refuse_set(given, plain)
        path, scores = _language_model_scores(model, corpus or [], held_out=held_out, quiet=quiet)
    if json:
        output.write_json({"model": str(path), "scores": [score.as_json() for score in scores]})
    else:
        output.write_table([(one.name, f"{one.value:.6g}", one.unit, one.signature) for one in scores])


def _refuse_set(given: BeamOptions | BleuOptions, plain: BeamOptions | BleuOptions) -> None:
    """Raises OptionError for the first option of translators that was set."""
    for field in fields(given):
        if getattr(given, field.name) != getattr(plain, field.name):
            raise OptionError(flag(field.name), "is for translators", f"leave out {flag(field.name)}")


def _language_model_scores(
    model: Path, corpus: list[str], *, held_out: bool, quiet: bool
) -> tuple[Path, Sequence[Score]]:
    loaded, options = language_model.load(model)
    text = _text(corpus, loaded, held_out=held_out)
    scores, same = text_scores(loaded, options, text)
    if not same:
        names = " ".join(text.part.names)
        output.note(f"note: {names} has changed since the model was trained on it", quiet=quiet)
    return loaded.path, scores


def _translator_scores(
    model: Path,
    tables: list[str],
    source: Path | None,
    targets: list[Path],
    columns: tuple[str, str] | None,
    search: BeamOptions,
    bleu: BleuOptions,
    *,
    quiet: bool,
) -> tuple[Path, Sequence[Score]]:
    if search.n_best != 1:
        raise OptionError("--n-best", "is for `translate`: one translation is evaluated", "leave out --n-best")
    if bool(tables) == (source is not None) or (source is None) != (not targets):
        raise OptionError("CORPUS", "must be tables of pairs, or two files", "--source FILE --target FILE")
    loaded, options = translator.load(model)
    if source is None:
        pairs = [read_parallel(tables, two_files=False, columns=columns, keep_blank=True)]
    else:
        pairs = [read_parallel((str(source), str(one)), two_files=True, keep_blank=True) for one in targets]
    sources = pairs[0].sources
    made = Translations(Ensemble.of([(loaded, options)]), search).translate(sources)
    texts = [best[0].text if best else "" for best in made]
    if left_out := sum(not best for best in made):
        output.note(f"note: {left_out} of {len(made):,} sources are too long, and have no translation", quiet=quiet)
    scores = reference_scores(texts, [one.targets for one in pairs], bleu)
    return loaded.path, [*scores, *given_source_scores(loaded, options, sources, pairs[0].targets)]


def _text(corpus: list[str], model: Model, *, held_out: bool) -> EvaluationText:
    if not corpus:
        return recorded_text(model)
    if held_out:
        return held_out_text(corpus, model.tokeniser.kind)
    return EvaluationText(CorpusPart(tuple(corpus)))
