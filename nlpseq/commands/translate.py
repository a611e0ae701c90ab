"""`nlpseq translate`: a line in, its translation out."""

from __future__ import annotations

from collections.abc import Sequence

from nlpseq.commands import output
from nlpseq.commands.flags import TRANSLATION, JsonLines, ModelPath, Quiet, application, command
from nlpseq.commands.output import Line
from nlpseq.decoding.beam import BeamOptions
from nlpseq.decoding.translation import Translation, Translations
from nlpseq.kernels.memory import keep_freed_memory
from nlpseq.models import translator
from nlpseq.text.lines import TOO_LONG, read_batches, standard_input, write_lines

LINES_AT_ONCE = 1024  # of a file: their translations come together

app = application("Translate each line of standard input.")


@command(app)
def translate(
    model: ModelPath = TRANSLATION,
    jsonl: JsonLines = False,
    quiet: Quiet = False,
    *,
    search: BeamOptions,
) -> None:
    """Write one line for each line of standard input: its translation.

    With --n-best N there are N lines for each, of the line's number, the translation, its log-probability in nats and
    the score that it was ranked by, between tabs. A blank line stays blank; a line that is too long has an empty
    translation, and --jsonl says so under `status`.

    \b
      nlpseq translate < in.txt > out.txt
      nlpseq translate --beam 1 < in.txt
      nlpseq translate --jsonl < in.jsonl | jq -r .translation
    """
    keep_freed_memory()
    loaded, options = translator.load(model)
    translations = Translations(loaded, options, search)
    faults = output.LineFaults(quiet=quiet)
    number = 0
    for batch in read_batches(standard_input()):
        for first in range(0, len(batch), LINES_AT_ONCE):
            lines = [faults.read(line, as_object=jsonl) for line in batch[first : first + LINES_AT_ONCE]]
            made = translations.translate([line.text or "" for line in lines])
            lines = [_marked(line, best, faults) for line, best in zip(lines, made, strict=True)]
            if jsonl:
                output.write_objects(_object(line, best) for line, best in zip(lines, made, strict=True))
            else:
                write_lines(_lines(made, search.n_best, number))
            number += len(lines)
    faults.report()


def _marked(line: Line, best: Sequence[Translation], faults: output.LineFaults) -> Line:
    """The line with the status of its translation, where that is not to be had."""
    if best or line.text is None:
        return line
    faults.add(TOO_LONG)
    return line._replace(status=TOO_LONG)


def _lines(made: Sequence[Sequence[Translation]], wanted: int, number: int) -> list[bytes]:
    if wanted == 1:
        return [(best[0].text if best else "").encode() for best in made]
    return [
        f"{place}\t{one.text}\t{one.log_probability:.6f}\t{one.score:.6f}".encode()
        for place, best in enumerate(made, number + 1)
        for one in best or [Translation("", float("nan"), float("nan"))]
    ]


def _object(line: Line, best: Sequence[Translation]) -> dict[str, object]:
    if line.text is None or not best:
        return {**line.fields, "translation": None, "status": line.status}
    first = best[0]
    more = [one._asdict() for one in best[1:]]
    return {
        **line.fields,
        "translation": first.text,
        "log_probability": first.log_probability,
        "score": first.score,
        **({"others": more} if more else {}),
        "status": line.status,
    }
