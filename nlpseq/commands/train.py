"""`nlpseq train`: make a model. Everything that decides lives in `nlpseq.training`; here it is asked for and shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    LANGUAGE_MODEL,
    SENTIMENT,
    TRANSLATION,
    Corpora,
    Json,
    LabelColumn,
    PairColumns,
    Quiet,
    SourceFile,
    TargetFile,
    TextColumn,
    application,
    command,
    read_columns,
    two_files,
)
from nlpseq.errors import OptionError
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.translator import TranslatorOptions
from nlpseq.text.tables.label_tables import LabelColumns
from nlpseq.training.options import ClassifierTraining, CorpusOptions, LanguageModelTraining, TranslationTraining

STARTED = time.monotonic()
SAMPLE_TOKENS = 60
SHOWN = (  # of a run's scores, in words, and how
    ("accuracy", "accuracy", ".2f"),
    ("macro_f1", "macro-F1", ".2f"),
    ("expected_calibration_error", "calibration error", ".4f"),
    ("loss", "loss", ".4f"),
    ("perplexity", "perplexity", ".2f"),
    ("bits_per_byte", "bits per byte", ".4f"),
)

app = application("Train a model of your own text.")

Valid = Annotated[
    list[str] | None,
    typer.Option("--valid", metavar="FILE", help="Validation text. [default: the corpus' last tenth]"),
]
Tables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CORPUS",
        help="Tables of pairs: .tsv, .csv, .jsonl, .po, .tmx (.gz, .xz too), .parquet, hf:NAME[:CONFIG]. "
        "[default: english-german]",
    ),
]
LabelledTables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CORPUS",
        help="Texts with labels: .tsv, .csv, .jsonl (.gz, .xz too), .parquet, hf:NAME[:CONFIG], a folder of a folder "
        "for each label, fastText's lines. [default: reviews]",
    ),
]
ValidTexts = Annotated[
    list[str] | None,
    typer.Option("--valid", metavar="FILE", help="Texts with labels for validation. [default: a tenth of each label]"),
]
ValidPairs = Annotated[
    list[str] | None,
    typer.Option(
        "--valid",
        metavar="FILE",
        help="Pairs for validation: a table, or with --source twice, source and target. [default: the last pairs]",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder to write.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in the folder; on the same device to the same bits.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Put a new run in place of the one in the folder.")]
InitFrom = Annotated[
    Path | None,
    typer.Option("--init-from", metavar="MODEL", help="Start from a model's weights and tokeniser."),
]


@app.callback()
def train() -> None:
    """Train a model of your own text."""


@command(app)
def lm(
    corpus: Corpora = None,
    valid: Valid = None,
    out: Out = LANGUAGE_MODEL,
    resume: Resume = False,
    overwrite: Overwrite = False,
    init_from: InitFrom = None,
    quiet: Quiet = False,
    json: Json = False,
    *,
    corpus_options: CorpusOptions,
    model: LanguageModelOptions,
    training: LanguageModelTraining,
) -> None:
    """Train a language model on text files, or on the bundled stories if none is named."""
    from nlpseq.commands.training_display import show_training
    from nlpseq.decoding.generation import sample_text
    from nlpseq.training.tasks.language_model_run import LanguageModelRun, Request

    request = Request(
        corpus=tuple(corpus or ()),
        valid=tuple(valid or ()),
        out=out,
        resume=resume,
        overwrite=overwrite,
        init_from=init_from,
        corpus_options=corpus_options,
        model=model,
        training=training,
    )
    run = LanguageModelRun(request, STARTED)

    def sample() -> str:
        seed = run.training.random_seed
        return sample_text(run.task.weights(), run.model, run.corpus.tokeniser, tokens=SAMPLE_TOKENS, random_seed=seed)

    result = show_training(run, sample, quiet=quiet)
    output.write_json(result) if json else output.write_text(_line(result))


@command(app)
def sentiment(
    corpus: LabelledTables = None,
    label_column: LabelColumn = None,
    text_column: TextColumn = None,
    valid: ValidTexts = None,
    out: Out = SENTIMENT,
    resume: Resume = False,
    overwrite: Overwrite = False,
    init_from: InitFrom = None,
    quiet: Quiet = False,
    json: Json = False,
    *,
    corpus_options: CorpusOptions,
    model: ClassifierOptions,
    training: ClassifierTraining,
) -> None:
    """Train a classifier on texts with labels, any number of labels and of any kind, or on the bundled reviews.

    \b
      nlpseq train sentiment reviews.tsv --minutes 5
      nlpseq train lm unlabelled.txt && nlpseq train sentiment reviews.tsv --init-from checkpoints/lm
    """
    from nlpseq.commands.training_display import show_training
    from nlpseq.training.tasks.classification_run import ClassificationRun, Request

    request = Request(
        corpus=tuple(corpus or ()),
        columns=LabelColumns(label_column, text_column),
        valid=tuple(valid or ()),
        out=out,
        resume=resume,
        overwrite=overwrite,
        init_from=init_from,
        corpus_options=corpus_options,
        model=model,
        training=training,
    )
    result = show_training(ClassificationRun(request, STARTED), None, quiet=quiet)
    output.write_json(result) if json else output.write_text(_line(result))


@command(app)
def translation(
    corpus: Tables = None,
    source: SourceFile = None,
    target: TargetFile = None,
    columns: PairColumns = None,
    valid: ValidPairs = None,
    out: Out = TRANSLATION,
    resume: Resume = False,
    overwrite: Overwrite = False,
    init_from: InitFrom = None,
    quiet: Quiet = False,
    json: Json = False,
    *,
    corpus_options: CorpusOptions,
    model: TranslatorOptions,
    training: TranslationTraining,
) -> None:
    """Train a translator, or any model from text to text, on pairs: tables or two files, or the bundled pairs.

    \b
      nlpseq train translation pairs.tsv --minutes 10
      nlpseq train translation --source train.en --target train.de --valid val.en --valid val.de
    """
    from nlpseq.commands.training_display import show_training
    from nlpseq.decoding.translation import greedy_translations
    from nlpseq.training.tasks.translation_run import Request, TranslationRun

    request = Request(
        corpus=_pair_files(corpus, source, target, columns),
        two_files=source is not None,
        columns=read_columns(columns),
        valid=tuple(valid or ()),
        out=out,
        resume=resume,
        overwrite=overwrite,
        init_from=init_from,
        corpus_options=corpus_options,
        model=model,
        training=training,
    )
    run = TranslationRun(request, STARTED, greedy_translations)

    def sample() -> str:
        pairs, tokeniser = run.corpus.valid, run.corpus.tokeniser
        text = tokeniser.decode(pairs.sources[0][:-1])
        return f"{text} -> {greedy_translations(run.task.running_weights(), run.model, tokeniser, [text])[0]}"

    result = show_training(run, sample, quiet=quiet)
    output.write_json(result) if json else output.write_text(_line(result))


def _pair_files(
    corpus: list[str] | None, source: Path | None, target: Path | None, columns: str | None
) -> tuple[str, ...]:
    """The tables, or the two files. Raises OptionError where what is given does not go together."""
    files = two_files(source, target)
    if files is None:
        return tuple(corpus or ())
    if corpus:
        raise OptionError("--source and --target", "take the place of CORPUS: give one of them")
    if columns is not None:
        raise OptionError("--columns", "is for tables, and --source and --target are texts", "leave out --columns")
    return files


def _line(result: dict[str, object]) -> str:
    valid = result["valid"]
    assert isinstance(valid, dict)
    shown = "  ".join(f"{words} {valid[name]:{form}}" for name, words, form in SHOWN if name in valid)
    return f"{result['model']}  {result['steps']} steps in {result['seconds']} s  {shown}  {valid['signature']}\n"
