"""`nlpseq score`: how likely each text is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.filters import Answers, filter_texts
from nlpseq.commands.flags import Device, Quiet, ScoringModel, application, command
from nlpseq.commands.inputs import LineOptions
from nlpseq.errors import OptionError
from nlpseq.evaluation.line_scores import SCORE_FIELDS, LineScore, StreamScorer, score_fields, score_status
from nlpseq.evaluation.scorers import load_scorer
from nlpseq.models.state_file import check_state_target
from nlpseq.tasks import LANGUAGE_MODEL, TRANSLATOR
from nlpseq.workers import usual_processes

app = application("How likely each text is.")

Source = Annotated[
    Path | None,
    typer.Option("--source", metavar="FILE", help="A translator's sources, one for each line."),
]
Follow = Annotated[
    bool, typer.Option("--follow", help="Read the lines as one text: each line is scored given those before it.")
]
State = Annotated[
    Path | None, typer.Option("--state", metavar="FILE", help="With --follow: continue from a saved state.")
]
SaveState = Annotated[
    Path | None, typer.Option("--save-state", metavar="FILE", help="With --follow: save the state to continue from.")
]


@command(app)
def score(
    model: ScoringModel = None,
    source: Source = None,
    follow: Follow = False,
    state: State = None,
    save_state: SaveState = None,
    device: Device = "cpu",
    quiet: Quiet = False,
    *,
    lines: LineOptions,
) -> None:
    """Write one line for each text or line of a file: how likely it is.

    \b
      log_probability <TAB> tokens <TAB> perplexity <TAB> bits_per_byte

    The log-probability is in nats. Each line is read by itself, after a newline. Its tokens and the newline that ends
    it are counted. A line that is not UTF-8 is read byte by byte. A line that is too long or not an object has nan for
    each number. If your object already has a field `tokens`, it is kept as `given_tokens`, and so on.

    \b
      nlpseq score "The cat sat." "Sat cat the."
      nlpseq score --json sentences.txt | jq .bits_per_byte
      tail -f log | nlpseq score --follow
      nlpseq score -m checkpoints/translation --source in.txt < out.txt
    """
    if save_state is not None:
        check_state_target(save_state)
        if not follow:
            raise OptionError("save_state", "is for lines that follow each other", "--follow")
    texts = lines.find("nlpseq score", quiet=quiet)
    processes = lines.processes_on(device, 1 if source is None else usual_processes())
    path = chosen_model(model, LANGUAGE_MODEL if source is None else TRANSLATOR, quiet=quiet)
    scorer = load_scorer(path, source, follow=follow, state=state, device=device, processes=processes)
    answers = Answers(scorer.score_lines, _as_line, score_fields, SCORE_FIELDS, score_status, scorer.by_workers)
    filter_texts(answers, texts, lines, quiet=quiet, every_byte=True, processes=processes)
    scorer.finish()
    if save_state is not None and isinstance(scorer, StreamScorer):
        scorer.save(save_state)


def _as_line(number: int, score: LineScore | None) -> str:
    return "\t".join(map(_spelled, score_fields(score).values()))


def _spelled(value: float | int | None) -> str:
    if value is None:
        return "nan"
    return str(value) if isinstance(value, int) else f"{value:.6f}"
