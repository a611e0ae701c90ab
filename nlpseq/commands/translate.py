"""`nlpseq translate`: a text in, its translation out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nlpseq.commands.attention_file import AttentionFile
from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.filters import Answers, filter_texts
from nlpseq.commands.flags import RARE, Device, ModelPaths, Quiet, application, command
from nlpseq.commands.inputs import LineOptions
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.decoding.translation import Ranked, Translations
from nlpseq.decoding.translation import translation_fields as fields_of
from nlpseq.decoding.translation import translation_status as status_of
from nlpseq.decoding.translation_options import TranslationOptions
from nlpseq.errors import OptionError
from nlpseq.insight.attention import to_json
from nlpseq.native.memory import keep_freed_memory
from nlpseq.tasks import TRANSLATOR
from nlpseq.workers import usual_processes

app = application("Translate texts.")

HELP = "Write what each token looked at: to a .jsonl, to an .svg as a drawing, or with - to the objects of --json."
AttentionPath = Annotated[Path | None, typer.Option("--attention", metavar="FILE", help=HELP)]


@command(app)
def translate(
    model: ModelPaths = None,
    attention: Annotated[AttentionPath, RARE] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
    *,
    lines: LineOptions,
    options: TranslationOptions,
    search: BeamOptions,
    sampling: Annotated[SamplingOptions, RARE],
) -> None:
    """Write one line for each text or line of a file: its translation.

    With --n-best N or --sample N there are N lines for each line that is not blank: the line's number, the
    translation, its log-probability in nats and the score of its rank, separated by tabs. A line that is blank or too
    long (over 2,000 tokens) has one empty translation. In objects `status` is ok, cut (the translation went on too
    long, or in circles), too-long, no-text, invalid-json or invalid-utf8. If your object already has a field
    `translation`, it is kept as `given_translation`, and so on.

    \b
      nlpseq translate "A man is sleeping."
      nlpseq translate -m first -m second --attention look.svg notes.txt
      nlpseq translate --sample 3 --temperature 0.7 < in.txt
      nlpseq translate --jsonl < in.jsonl | jq -r .translation
    """
    into_objects = attention == Path("-")
    if into_objects and not lines.objects_out:
        raise OptionError("attention", "- is for objects", "--json --attention -")
    source = lines.find("nlpseq translate", quiet=quiet)
    processes = lines.processes_on(device, usual_processes())
    drawing = options.drawing(search, sampling)
    keep_freed_memory()
    settings = {"align": attention is not None, "replace_unknown": options.replace_unknown}
    paths = model or [chosen_model(None, TRANSLATOR, quiet=quiet)]
    translations = Translations.load(paths, search, drawing, device=device, **settings)
    with AttentionFile(None if into_objects else attention, quiet=quiet) as file:
        answers = _answers(translations, into_objects, file)
        filter_texts(answers, source, lines, quiet=quiet, whole_batches=device != "cpu", processes=processes)


def _answers(made: Translations, into_objects: bool, file: AttentionFile) -> Answers[Ranked]:
    names = (*made.names, "attention") if into_objects else made.names
    as_fields, seen = partial(_as_fields, into_objects), partial(_keep_attention, file)
    return Answers(made.translate, made.as_line, as_fields, names, status_of, made.by_workers, seen)


def _keep_attention(file: AttentionFile, translated: Sequence[Ranked | None]) -> None:
    file.add(ranked[0].alignment if ranked else None for ranked in translated)


def _as_fields(into_objects: bool, ranked: Ranked | None) -> dict[str, Any]:
    alignment = ranked[0].alignment if ranked and into_objects else None
    return fields_of(ranked) | ({"attention": to_json(alignment)} if alignment else {})
