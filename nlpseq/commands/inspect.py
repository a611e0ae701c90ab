"""`nlpseq inspect`: what a model file contains, what a translator looks at, which words decide a label."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands import output
from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.flags import ClassifierPath, Json, ModelPath, ModelPaths, Without, application, command
from nlpseq.commands.inputs import one_text
from nlpseq.commands.parsing import Group
from nlpseq.commands.tables.facts_table import facts_lines
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
from nlpseq.models.model_path import BUNDLED
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR
from nlpseq.text.display import harmless, quoted


class InspectGroup(Group):
    """The group of inspections; a path in place of a command's name is that of a model."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names; `model -m PATH` for a path or a bundled model."""
        is_model = "/" in args[0] or args[0] in BUNDLED or os.path.exists(args[0])
        if is_model and args[0] not in self.list_commands(ctx):
            args = ["model", "--model", *args]
        return super().resolve_command(ctx, args)


HELP = """What a model file contains, what a translator looks at, which words decide a label.

\b
  nlpseq inspect checkpoints/lm
  nlpseq inspect words "a dull film"

A path in place of a command is that of a model: the first example is `nlpseq inspect model -m checkpoints/lm`.
"""

app = application(HELP)
app.info.cls = InspectGroup

Text = Annotated[
    str | None, typer.Argument(metavar="TEXT|FILE", help="A source text, or its file. [default: standard input]")
]
Target = Annotated[
    str | None, typer.Option("--target", metavar="TEXT", help="Its target. [default: the model's translation]")
]


ClassifiedText = Annotated[
    str | None, typer.Argument(metavar="TEXT|FILE", help="A text, or its file. [default: standard input]")
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="LABEL", help="The label to explain. [default: the most probable one]")
]
Page = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the words in colours.")]


@app.callback()
def inspect() -> None:
    """What a model file contains, what a translator looks at, which words decide a label."""


@command(app)
def model(model: ModelPath = None, json: Json = False) -> None:
    """Write a model's options and tensors, how it was trained and how good it is.

    \b
      nlpseq inspect model -m checkpoints/lm
      nlpseq inspect checkpoints/lm
    """
    facts = model_facts(load_model(chosen_model(model, LANGUAGE_MODEL, quiet=False)))
    if json:
        output.write_json(facts)
    else:
        output.write_lines(facts_lines(facts))


@command(app)
def attention(
    text: Text = None,
    target: Target = None,
    model: ModelPaths = None,
    json: Json = False,
    *,
    search: Annotated[BeamOptions, Without("n_best")],
) -> None:
    """Write what each token of a translation looked at: a row for each token, darker for more attention.

    \b
      nlpseq inspect attention "A man is sleeping."
      echo "A man is sleeping." | nlpseq inspect attention
    """
    text = one_text(text, "nlpseq inspect attention", "A man is sleeping.")
    ensemble = Ensemble.of([translator.load(path) for path in model or [chosen_model(None, TRANSLATOR, quiet=False)]])
    target, alignment = explain_translation(ensemble, text, target, search)
    if json:
        output.write_json({"text": text, "translation": target, **to_json(alignment)})
    else:
        output.write_text("".join(line + "\n" for line in shade(alignment)))


@command(app)
def words(
    text: ClassifiedText = None,
    label: Label = None,
    page: Page = None,
    model: ClassifierPath = None,
    json: Json = False,
) -> None:
    """Show which words speak for a classifier's label, and which against it: on a terminal, the text in colours.

    Elsewhere, write a word, a tab and its weight in each line, and its attention weight if the model has attention
    pooling. Without the word, the label's log-odds would fall by about the weight. This command imports torch.

    \b
      nlpseq inspect words "a dull film with a wonderful end"
      nlpseq inspect words "a dull film" --label positive --html words.html
      nlpseq inspect words review.txt
    """
    if page is not None:
        output.check_target(page, "--html", (".html", ".htm"), "words")
    text = one_text(text, "nlpseq inspect words", "a dull film")
    explained = explain(TextClassifier.load(chosen_model(model, CLASSIFIER, quiet=False)), text, label)
    if page is not None:
        replace_file(page, to_html(explained.words, explained.label, explained.probability).encode("utf-8", "replace"))
        output.note(f"note: {page} shows the words for the label {quoted(explained.label)}")
    if json:
        output.write_json({**explained._asdict(), "words": words_to_json(explained.words)})
    elif output.shows_colour(sys.stdout):
        heading = f"{harmless(explained.label)} {explained.probability:.1%}"
        output.write_text(f"{heading}\n{colour(explained.words)}\n", is_harmless=True)
    elif page is None:
        label, probability = quoted(explained.label), f"{explained.probability:.1%}"
        output.note(f"note: weights for the label {label}, which has a probability of {probability}")
        rows = (
            (word.text.strip(), f"{word.weight:+.4f}", word.attention) for word in explained.words if word.text.strip()
        )
        output.write_text("".join("\t".join(str(cell) for cell in row if cell is not None) + "\n" for row in rows))
