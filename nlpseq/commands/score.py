"""`nlpseq score`: how likely each line is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.arrays import from_numpy, to_numpy
from nlpseq.commands import output
from nlpseq.commands.flags import (
    LANGUAGE_MODEL,
    TRANSLATION,
    Device,
    Json,
    JsonLines,
    ModelOrDefault,
    Quiet,
    application,
    command,
)
from nlpseq.commands.output import Line
from nlpseq.errors import OptionError
from nlpseq.evaluation.line_scores import LineScore, LineScorer, PairScorer, StreamScorer
from nlpseq.evaluation.reader import placed
from nlpseq.models import language_model, translator
from nlpseq.models.model_file import task_of
from nlpseq.models.state_file import check_state_target, load_state
from nlpseq.models.state_file import save_state as write_state
from nlpseq.text.formats import read_text, split_lines
from nlpseq.text.lines import portions, read_batches, standard_input, write_lines
from nlpseq.text.tokenisers import NEWLINE

app = application("How likely each line of standard input is.")

Source = Annotated[
    Path | None, typer.Option("--source", metavar="FILE", help="A translator's sources, in step with standard input.")
]
Follow = Annotated[bool, typer.Option("--follow", help="Read the lines as one text, each given those before it.")]
State = Annotated[Path | None, typer.Option("--state", metavar="FILE", help="With --follow: go on from a saved state.")]
SaveState = Annotated[
    Path | None, typer.Option("--save-state", metavar="FILE", help="With --follow: leave what to go on from.")
]


@command(app)
def score(
    model: ModelOrDefault = None,
    source: Source = None,
    follow: Follow = False,
    state: State = None,
    save_state: SaveState = None,
    device: Device = "cpu",
    jsonl: JsonLines = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one line for each line of standard input: how likely it is.

    \b
      log_probability <TAB> tokens <TAB> perplexity <TAB> bits_per_byte

    The log-probability is in nats. Each line is read for itself, after a newline; its tokens and the newline
    that closes it are counted. A line that is not UTF-8 is read byte by byte. Of a line that is too long, or no
    object, all is nan.

    \b
      nlpseq score < sentences.txt
      nlpseq score --json < sentences.txt | jq .bits_per_byte
      tail -f log | nlpseq score --follow
      nlpseq score -m checkpoints/translation --source in.txt < out.txt
    """
    if save_state is not None:
        check_state_target(save_state)
    if not follow and (state or save_state):
        raise OptionError("--state" if state else "--save-state", "goes with --follow")
    if follow and source:
        raise OptionError("--follow", "is for language models", "leave out --follow")
    model = model or (TRANSLATION if source is not None else LANGUAGE_MODEL)
    scorer = _scorer(model, source, state, follow=follow, device=device)
    faults = output.LineFaults(quiet=quiet)
    for some in (some for batch in read_batches(standard_input()) for some in portions(batch)):
        lines = [faults.read(line, as_object=jsonl) for line in some]
        _write(scorer, lines, as_objects=json or jsonl)
    faults.report()
    if isinstance(scorer, PairScorer):
        scorer.finish()
    if save_state is not None and isinstance(scorer, StreamScorer):
        write_state(save_state, scorer.model, language_model.map_state(to_numpy, scorer.state), NEWLINE)


def _scorer(
    model: Path, source: Path | None, state: Path | None, *, follow: bool, device: str
) -> LineScorer | PairScorer:
    if source is not None:
        pairs, pair_options = translator.load(model)
        return PairScorer(placed(pairs, device), pair_options, str(source), split_lines(read_text(source)))
    if task_of(model) == translator.TASK:
        raise OptionError("--source", "is missing: a translator scores a text given its source", "--source FILE")
    loaded, options = language_model.load(model)
    start = None if state is None else load_state(state, loaded, options)[0]
    there = placed(loaded, device)
    if not follow:
        return LineScorer(there, options)
    if start is not None:
        like = there.weights["embedding.weight"]
        start = language_model.map_state(lambda one: from_numpy(one, like), start)
    return StreamScorer(there, options, start)


def _write(scorer: LineScorer | PairScorer, lines: Sequence[Line], *, as_objects: bool) -> None:
    paired = isinstance(scorer, PairScorer)  # a line that cannot be read has a source all the same
    scores = iter(scorer.score([line.text or "" for line in lines if paired or line.text is not None]))
    made = [next(scores) if paired or line.text is not None else None for line in lines]
    scored = [(line, None if line.text is None else one) for line, one in zip(lines, made, strict=True)]
    if as_objects:
        output.write_objects({**line.fields, **_fields(one), "status": line.status} for line, one in scored)
    else:
        write_lines("\t".join(map(_spelled, _fields(one).values())).encode() for _, one in scored)


def _fields(score: LineScore | None) -> dict[str, float | int | None]:
    return {
        "log_probability": None if score is None else -score.nats,
        "tokens": None if score is None else score.tokens,
        "perplexity": None if score is None else score.perplexity,
        "bits_per_byte": None if score is None else score.bits_per_byte,
    }


def _spelled(value: float | int | None) -> str:
    if value is None:
        return "nan"
    return str(value) if isinstance(value, int) else f"{value:.6f}"
