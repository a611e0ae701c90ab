"""`nlpseq inspect`: what a model file contains, what a translator looks at, which words decide a label."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    Json,
    ModelPath,
    ModelPaths,
    Without,
    application,
    command,
)
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import TextClassifier
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import explain_translation
from nlpseq.files import replace_file
from nlpseq.insight.attention import shade, to_json
from nlpseq.insight.facts import model_facts
from nlpseq.insight.words import colour, explain, to_html
from nlpseq.insight.words import to_json as words_to_json
from nlpseq.models import translator
from nlpseq.models.model_file import load_model
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR

app = application("What a model file contains, what a translator looks at, which words decide a label.")

Text = Annotated[str, typer.Argument(metavar="TEXT", help="A source text.")]
Target = Annotated[
    str | None, typer.Option("--target", metavar="TEXT", help="Its target. [default: the model's translation]")
]


ClassifiedText = Annotated[str, typer.Argument(metavar="TEXT", help="A text.")]
Label = Annotated[
    str | None, typer.Option("--label", metavar="LABEL", help="The label to explain. [default: the most probable one]")
]
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the words in colours.")]


@app.callback()
def inspect() -> None:
    """What a model file contains, what a translator looks at, which words decide a label."""


@command(app)
def model(model: ModelPath = LANGUAGE_MODEL.folder, json: Json = False) -> None:
    """Write a model's options and tensors, how it was trained and how good it is."""
    facts = model_facts(load_model(model))
    if json:
        output.write_json(facts)
    else:
        output.write_text("\n\n".join(_section(name, value) for name, value in facts.items()) + "\n")


@command(app)
def attention(
    text: Text,
    target: Target = None,
    model: ModelPaths = None,
    json: Json = False,
    *,
    search: Annotated[BeamOptions, Without("n_best")],
) -> None:
    """Write what each token of a translation looked at: a row for each token, darker for more attention.

    \b
      nlpseq inspect attention "A man is sleeping."
    """
    ensemble = Ensemble.of([translator.load(path) for path in model or [TRANSLATOR.folder]])
    target, alignment = explain_translation(ensemble, text, target, search)
    if json:
        output.write_json({"text": text, "translation": target, **to_json(alignment)})
    else:
        output.write_text("".join(line + "\n" for line in shade(alignment)))


@command(app)
def words(
    text: ClassifiedText,
    label: Label = None,
    page: Page = None,
    model: ModelPath = CLASSIFIER.folder,
    json: Json = False,
) -> None:
    """Show which words speak for a classifier's label, and which against it: on a terminal, the text in colours.

    Elsewhere, write a word, a tab and its weight in each line, and its attention weight if the model has attention
    pooling. Without the word, the label's log-odds would fall by about the weight. This command imports torch.

    \b
      nlpseq inspect words "a dull film with a wonderful end"
      nlpseq inspect words "a dull film" --label positive --html words.html
    """
    if page is not None:
        output.check_target(page, "--html", (".html", ".htm"))
    explained = explain(TextClassifier.load(model), text, label)
    if page is not None:
        replace_file(page, to_html(explained.words, explained.label, explained.probability).encode("utf-8", "replace"))
        output.note(f"note: {page} shows the words for the label {explained.label!r}")
    if json:
        output.write_json({**explained._asdict(), "words": words_to_json(explained.words)})
    elif output.shows_colour(sys.stdout):
        output.write_text(f"{explained.label} {explained.probability:.1%}\n{colour(explained.words)}\n")
    elif page is None:
        output.note(
            f"note: weights for the label {explained.label!r}, which has a probability of {explained.probability:.1%}"
        )
        rows = (
            (word.text.strip(), f"{word.weight:+.4f}", word.attention) for word in explained.words if word.text.strip()
        )
        output.write_text("".join("\t".join(_spelled(cell) for cell in row if cell is not None) + "\n" for row in rows))


def _section(name: str, value: dict[str, Any] | list[dict[str, Any]]) -> str:
    """A heading and its lines, one for each fact or score."""
    if isinstance(value, list):
        rows = [(score["name"], f"{score['value']:.6g} per {score['unit']}", score["signature"]) for score in value]
    else:
        rows = [(key, _spelled(fact), "") for key, fact in value.items()]
    width = max((len(row[0]) for row in rows), default=0)
    return "\n".join([name, *(f"  {key:{width}}  {fact}  {signature}".rstrip() for key, fact, signature in rows)])


def _spelled(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return " x ".join(map(str, value))
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
