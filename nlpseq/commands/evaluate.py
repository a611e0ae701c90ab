"""`nlpseq evaluate`: how good a model is on a text."""

from __future__ import annotations

from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import LANGUAGE_MODEL, Corpora, Json, ModelPath, Quiet, application, command
from nlpseq.evaluation.text_scores import EvaluationText, held_out_text, recorded_text, text_scores
from nlpseq.models import language_model
from nlpseq.models.model_file import Model
from nlpseq.text.parts import CorpusPart

app = application("How good a model is on a text.")

HeldOut = Annotated[
    bool, typer.Option("--held-out", help="Only the end of the corpus, as training without --valid holds it out.")
]


@command(app)
def evaluate(
    corpus: Corpora = None,
    model: ModelPath = LANGUAGE_MODEL,
    held_out: HeldOut = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model's scores on a text, each with its unit and its signature.

    Several corpora are one text, read with the state carried from first to last, every token predicted once.
    Without a corpus it is the text that training was validated on, and the scores are those that training
    reported. Scores may be compared where their signatures agree.

    \b
      nlpseq evaluate test.txt
      nlpseq evaluate --held-out corpus.txt -m checkpoints/poems --json
    """
    loaded, options = language_model.load(model)
    text = _text(corpus or [], loaded, held_out=held_out)
    scores, same = text_scores(loaded, options, text)
    if not same:
        names = " ".join(text.part.names)
        output.note(f"note: {names} has changed since the model was trained on it", quiet=quiet)
    if json:
        output.write_json({"model": str(loaded.path), "scores": [score.as_json() for score in scores]})
    else:
        output.write_table([(one.name, f"{one.value:.6g}", one.unit, one.signature) for one in scores])


def _text(corpus: list[str], model: Model, *, held_out: bool) -> EvaluationText:
    if not corpus:
        return recorded_text(model)
    if held_out:
        return held_out_text(corpus, model.tokeniser.kind)
    return EvaluationText(CorpusPart(tuple(corpus)))
