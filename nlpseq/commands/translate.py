"""`nlpseq translate`: a line in, its translation out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands.attention_file import AttentionFile
from nlpseq.commands.filters import Answers, filter_texts
from nlpseq.commands.flags import Device, JsonLines, ModelPaths, Quiet, application, command
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.decoding.translation import (
    Translation,
    TranslationOptions,
    Translations,
    translation_fields,
    translation_status,
)
from nlpseq.errors import OptionError
from nlpseq.insight.attention import to_json
from nlpseq.native.memory import keep_freed_memory
from nlpseq.tasks import TRANSLATOR

Ranked = list[Translation]  # the translations of a line, the best first

app = application("Translate each line of standard input.")

HELP = "Write what each token looked at: to a .jsonl, to an .svg as a drawing, or with - to the objects of --jsonl."
AttentionPath = Annotated[Path | None, typer.Option("--attention", metavar="FILE", help=HELP)]


@command(app)
def translate(
    model: ModelPaths = None,
    attention: AttentionPath = None,
    device: Device = "cpu",
    jsonl: JsonLines = False,
    quiet: Quiet = False,
    *,
    options: TranslationOptions,
    search: BeamOptions,
    sampling: SamplingOptions,
) -> None:
    """Write one line for each line of standard input: its translation.

    With --n-best N or --sample N there are N lines for each line that is not blank: the line's number, the
    translation, its log-probability in nats and the score of its rank, separated by tabs. A blank line has
    one empty translation; a
    line that is too long (over 2,000 tokens) has an empty translation. With --jsonl `status` is ok, cut (the
    translation went on too long, or in circles), too-long, no-text, invalid-json or invalid-utf8. If your object
    already has a field `translation`, it is kept as `given_translation`, and so on.

    \b
      nlpseq translate < in.txt > out.txt
      nlpseq translate -m first -m second --attention look.svg < in.txt
      nlpseq translate --sample 3 --temperature 0.7 < in.txt
      nlpseq translate --jsonl < in.jsonl | jq -r .translation
    """
    into_objects = attention == Path("-")
    if into_objects and not jsonl:
        raise OptionError("attention", "- is for objects", "--jsonl --attention -")
    drawing = options.drawing(search, sampling)
    keep_freed_memory()
    settings = {"align": attention is not None, "replace_unknown": options.replace_unknown}
    translations = Translations.load(model or [TRANSLATOR.folder], search, drawing, device=device, **settings)
    names = (*translations.names, "attention") if into_objects else translations.names
    with AttentionFile(None if into_objects else attention, quiet=quiet) as file:
        answer, as_fields = partial(_translate, translations, file), partial(_as_fields, into_objects)
        answers = Answers(answer, translations.as_line, as_fields, names, translation_status)
        filter_texts(answers, objects_in=jsonl, objects_out=jsonl, quiet=quiet, whole_batches=device != "cpu")


def _translate(translations: Translations, file: AttentionFile, lines: Sequence[str | None]) -> list[Ranked]:
    translated = translations.translate([line or "" for line in lines])
    file.add(ranked[0].alignment if ranked else None for ranked in translated)
    return translated


def _as_fields(into_objects: bool, ranked: Ranked | None) -> dict[str, Any]:
    alignment = ranked[0].alignment if ranked and into_objects else None
    return translation_fields(ranked) | ({"attention": to_json(alignment)} if alignment else {})
