"""`nlpseq train`: make a model. Everything that decides lives in `nlpseq.training`; here it is asked for and shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import LANGUAGE_MODEL, Corpora, Json, Quiet, application, command
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.training.options import CorpusOptions, TrainingOptions

STARTED = time.monotonic()

app = application("Train a model of your own text.")

Valid = Annotated[
    list[str] | None,
    typer.Option("--valid", metavar="FILE", help="Validation text. [default: the corpus' last tenth]"),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder to write.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, to the same bits.")]
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
    training: TrainingOptions,
) -> None:
    """Train a language model on text files, or on the bundled stories if none is named."""
    from nlpseq.commands.training_display import show_training
    from nlpseq.training.language_model_run import LanguageModelRun, Request

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
    result = show_training(LanguageModelRun(request, STARTED), quiet=quiet)
    output.write_json(result) if json else output.write_text(_line(result))


def _line(result: dict[str, object]) -> str:
    valid = result["valid"]
    assert isinstance(valid, dict)
    return (
        f"{result['model']}  {result['steps']} steps in {result['seconds']} s  "
        f"loss {valid['loss']:.4f}  perplexity {valid['perplexity']:.2f}  "
        f"bits per byte {valid['bits_per_byte']:.4f}  {valid['signature']}\n"
    )
