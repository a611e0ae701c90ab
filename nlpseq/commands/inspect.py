"""`nlpseq inspect`: what is in a model file, what a translator looks at, which words carry a decision."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    LANGUAGE_MODEL,
    SENTIMENT,
    TRANSLATION,
    Json,
    ModelPath,
    ModelPaths,
    application,
    command,
)
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.classification import LONGEST, TextClassifier
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.translation import Translations, aligned
from nlpseq.errors import OptionError
from nlpseq.insight.attention import shade, to_json
from nlpseq.insight.words import colour, to_html, weigh_tokens, words_of
from nlpseq.insight.words import to_json as words_to_json
from nlpseq.models import translator
from nlpseq.models.model_file import Model, load_model, replace_file

app = application("What is in a model file, what a translator looks at, which words carry a decision.")

Text = Annotated[str, typer.Argument(metavar="TEXT", help="A source text.")]
Target = Annotated[
    str | None, typer.Option("--target", metavar="TEXT", help="Its target. [default: the model's translation]")
]


ClassifiedText = Annotated[str, typer.Argument(metavar="TEXT", help="A text.")]
Label = Annotated[
    str | None, typer.Option("--label", metavar="LABEL", help="The label to explain. [default: the most probable one]")
]
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page that shows it.")]


@app.callback()
def inspect() -> None:
    """What is in a model file, what a translator looks at, which words carry a decision."""


@command(app)
def model(model: ModelPath = LANGUAGE_MODEL, json: Json = False) -> None:
    """Write what a model is made of, how it was trained and how good it is."""
    loaded = load_model(model)
    facts = _facts(loaded)
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
    search: BeamOptions,
) -> None:
    """Write what each token of a translation looked at: a row for each, the darker the more.

    \b
      nlpseq inspect attention "A man is sleeping."
    """
    ensemble = Ensemble.of([translator.load(one) for one in model or [TRANSLATION]])
    if search.n_best != 1:
        raise OptionError("--n-best", "is for `translate`: one translation is shown", "leave out --n-best")
    if not text.strip():
        raise OptionError("TEXT", "must not be blank", 'nlpseq inspect attention "some words"')
    if target is None:
        (best,) = Translations(ensemble, search).translate([text])
        if not best:
            raise OptionError("TEXT", f"must have at most {translator.LONGEST:,} tokens, has more")
        target = best[0].text
    found = aligned(ensemble, text, target)
    if json:
        output.write_json({"text": text, "translation": target, **to_json(found)})
    else:
        output.write_text("".join(line + "\n" for line in shade(found)))


@command(app)
def words(
    text: ClassifiedText,
    label: Label = None,
    page: Page = None,
    model: ModelPath = SENTIMENT,
    json: Json = False,
) -> None:
    """Write which words spoke for a classifier's label, and which against it: on a terminal the text in colours.

    Elsewhere a word, a tab and its weight in each line, and what attention pooling gave it where the model has that.
    The weight is about by how much the label's log-odds would fall without the word. This command imports torch.

    \b
      nlpseq inspect words "a dull film with a wonderful end"
      nlpseq inspect words "a dull film" --label positive --html words.html
    """
    if page is not None:
        output.check_target(page, "--html", (".html", ".htm"))
    classifier = TextClassifier.load(model)
    if label is not None and label not in classifier.labels:
        known = ", ".join(classifier.labels)
        raise OptionError("--label", f"must be one of {known}, was {label!r}", f"--label {classifier.labels[0]}")
    if not text.strip():
        raise OptionError("TEXT", "must not be blank", 'nlpseq inspect words "some words"')
    (decision,) = classifier.classify([text])
    label = label or decision.labels[0]
    probability = decision.probabilities[decision.labels.index(label)]
    ids = classifier.ids(text)[:LONGEST]
    loaded = classifier.model
    found = weigh_tokens(loaded.weights, classifier.options, ids, classifier.labels.index(label))
    carried = words_of(loaded.tokeniser, ids.tolist(), *found)
    if page is not None:
        replace_file(page, to_html(carried, label, probability).encode("utf-8", "replace"))
        output.note(f"note: {page} shows the words for the label {label!r}")
    if json:
        output.write_json({"label": label, "probability": probability, "words": words_to_json(carried)})
    elif output.shows_colour(sys.stdout):
        output.write_text(f"{label} {probability:.1%}\n{colour(carried)}\n")
    elif page is None:
        output.note(f"note: weights for the label {label!r}, which has a probability of {probability:.1%}")
        rows = ((one.text.strip(), f"{one.weight:+.4f}", one.attention) for one in carried if one.text.strip())
        output.write_text("".join("\t".join(_spelled(cell) for cell in row if cell is not None) + "\n" for row in rows))


def _facts(model: Model) -> dict[str, Any]:
    tokeniser = model.tokeniser
    tensors = {name: list(tensor.shape) for name, tensor in model.weights.items()}
    return {
        "model": {
            "path": str(model.path),
            "task": model.task,
            "version": model.header.get("version"),
            "format": model.header.get("format"),
            "checksum": model.header["checksum"],
            "parameters": sum(int(tensor.size) for tensor in model.weights.values()),
            "bytes": model.path.stat().st_size,
        },
        "options": model.options,
        "tokeniser": {"kind": tokeniser.kind, "size": tokeniser.size, "fingerprint": tokeniser.fingerprint},
        "data": model.header.get("data") or {},
        "training": model.header.get("training") or {},
        "tensors": tensors,
        "scores": model.header.get("scores") or [],
    }


def _section(name: str, value: dict[str, Any] | list[dict[str, Any]]) -> str:
    """A heading and its lines; every score is a line of its own."""
    if isinstance(value, list):
        rows = [(one["name"], f"{one['value']:.6g} per {one['unit']}", one["signature"]) for one in value]
    else:
        rows = [(key, _spelled(one), "") for key, one in value.items()]
    width = max((len(row[0]) for row in rows), default=0)
    return "\n".join([name, *(f"  {key:{width}}  {one}  {more}".rstrip() for key, one, more in rows)])


def _spelled(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return " x ".join(map(str, value))
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
