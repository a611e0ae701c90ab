"""`nlpseq translate`: a line in, its translation out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.attention_file import AttentionFile
from nlpseq.commands.flags import (
    TRANSLATION,
    Device,
    JsonLines,
    ModelPaths,
    Quiet,
    RandomSeed,
    application,
    command,
)
from nlpseq.commands.output import Line
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.ensemble import Ensemble
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.decoding.translation import Drawing, Translation, Translations
from nlpseq.errors import OptionError
from nlpseq.insight.attention import to_json
from nlpseq.models import translator
from nlpseq.native.memory import keep_freed_memory
from nlpseq.text.lines import TOO_LONG, portions, read_batches, standard_input, write_lines

TAB = "\t"

app = application("Translate each line of standard input.")

Attention = Annotated[
    Path | None,
    typer.Option(
        "--attention",
        metavar="FILE",
        help="What each token looked at: .jsonl, or .svg for a drawing; - puts it into the objects of --jsonl.",
    ),
]
ReplaceUnknown = Annotated[
    bool, typer.Option("--replace-unknown", help="Take words without a token over from where attention looks.")
]
Sample = Annotated[
    int, typer.Option("--sample", metavar="N", min=0, help="Draw N translations of each line; 0: search for the best.")
]


@command(app)
def translate(
    model: ModelPaths = None,
    attention: Attention = None,
    replace_unknown: ReplaceUnknown = False,
    sample: Sample = 0,
    random_seed: RandomSeed = None,
    device: Device = "cpu",
    jsonl: JsonLines = False,
    quiet: Quiet = False,
    *,
    search: BeamOptions,
    sampling: SamplingOptions,
) -> None:
    """Write one line for each line of standard input: its translation.

    With --n-best N, or --sample N, there are N lines for each that is not blank, of the line's number, the
    translation, its log-probability in nats and the score that it was ranked by, between tabs. A blank line stays
    blank; a line that is too long (over 2,000 tokens) has an empty translation. Under `status` --jsonl says ok, cut
    (it went on too long, or in circles), too-long, no-text, invalid-json or invalid-utf8.

    \b
      nlpseq translate < in.txt > out.txt
      nlpseq translate --beam 1 < in.txt
      nlpseq translate -m first -m second --attention look.svg < in.txt
      nlpseq translate --sample 3 --temperature 0.7 < in.txt
      nlpseq translate --jsonl < in.jsonl | jq -r .translation
    """
    into_objects = attention == Path("-")
    if into_objects and not jsonl:
        raise OptionError("--attention", "- is for objects", "--jsonl --attention -")
    if not sample and (sampling != SamplingOptions() or random_seed is not None):
        raise OptionError("--sample", "is missing: without it nothing is drawn", "--sample 1")
    if sample and (search.beam, search.n_best) != (BeamOptions().beam, 1):
        raise OptionError("--sample", "draws, and --beam and --n-best search: give one of them", f"--sample {sample}")
    keep_freed_memory()
    ensemble = Ensemble.of([translator.load(one) for one in model or [TRANSLATION]], device)
    drawing = Drawing(sample, sampling, random_seed) if sample else None
    translations = Translations(ensemble, search, drawing, align=attention is not None, replace_unknown=replace_unknown)
    faults = output.LineFaults(quiet=quiet)
    several = max(search.n_best, sample) > 1
    number = 0
    with AttentionFile(None if into_objects else attention, quiet=quiet) as looked:
        for batch in read_batches(standard_input()):
            for some in portions(batch) if device == "cpu" else [batch]:  # a GPU is the faster, the more there is
                lines = [faults.read_plain(line, as_object=jsonl) for line in some]
                made = translations.translate([line.text or "" for line in lines])
                lines = [_marked(line, best, faults) for line, best in zip(lines, made, strict=True)]
                if jsonl:
                    both = zip(lines, made, strict=True)
                    output.write_objects(_object(line, best, attention=into_objects) for line, best in both)
                else:
                    write_lines(_lines(made, number, several=several))
                looked.add(number, (best[0].alignment if best else None for best in made))
                number += len(lines)
    faults.report()


def _marked(line: Line, best: Sequence[Translation], faults: output.LineFaults) -> Line:
    """The line with the status of its translation, where that is not to be had, or not whole."""
    if line.text is None or (best and not best[0].cut):
        return line
    status = output.CUT if best else TOO_LONG
    faults.add(status)
    return line._replace(status=status)


def _lines(made: Sequence[Sequence[Translation]], number: int, *, several: bool) -> list[bytes]:
    if not several:
        return [(best[0].text if best else "").encode() for best in made]
    return [
        f"{place}\t{one.text.replace(TAB, ' ')}\t{one.log_probability:.6f}\t{one.score:.6f}".encode()
        for place, best in enumerate(made, number + 1)
        for one in best or [Translation("", float("nan"), float("nan"))]
    ]


def _object(line: Line, best: Sequence[Translation], *, attention: bool) -> dict[str, object]:
    if line.text is None or not best:
        return {**line.fields, "translation": None, "status": line.status}
    first, *others = (_fields(one) for one in best)
    return {
        **line.fields,
        "translation": first.pop("text"),
        **first,
        **({"others": others} if others else {}),
        **({"attention": to_json(best[0].alignment)} if attention and best[0].alignment else {}),
        "status": line.status,
    }


def _fields(one: Translation) -> dict[str, object]:
    return {"text": one.text, "log_probability": one.log_probability, "score": one.score}
