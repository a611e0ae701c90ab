"""`nlpseq generate`: continue a text, or make one up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.flags import (
    LANGUAGE_MODEL,
    Device,
    Json,
    ModelPath,
    Precision,
    Quiet,
    RandomSeed,
    application,
    command,
)
from nlpseq.decoding.generation import Generated, Generator
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.errors import OptionError
from nlpseq.models.state_file import check_state_target
from nlpseq.text.lines import read_batches, standard_input, write_lines
from nlpseq.text.tokenisers import to_utf8

app = application("Continue a text, or make one up.")

Seed = Annotated[
    str, typer.Option("--seed", metavar="TEXT", help="Text to continue; - takes one from each line of standard input.")
]
Samples = Annotated[int, typer.Option("--samples", "-n", metavar="N", min=1, help="Texts to make.")]
Length = Annotated[
    int, typer.Option("--length", metavar="N", min=1, help="Most tokens in a text, the seed not counted.")
]
Stop = Annotated[
    list[str] | None, typer.Option("--stop", metavar="TEXT", help="End a text before this; may be repeated.")
]
State = Annotated[Path | None, typer.Option("--state", metavar="FILE", help="Go on from what --save-state left.")]
SaveState = Annotated[Path | None, typer.Option("--save-state", metavar="FILE", help="Leave what to go on from.")]
Echo = Annotated[bool, typer.Option("--echo/--no-echo", help="Begin a text with its seed.")]


@command(app)
def generate(
    seed: Seed = "",
    model: ModelPath = LANGUAGE_MODEL,
    samples: Samples = 1,
    length: Length = 500,
    stop: Stop = None,
    echo: Echo = True,
    state: State = None,
    save_state: SaveState = None,
    random_seed: RandomSeed = None,
    precision: Precision = "fp32",
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    sampling: SamplingOptions,
) -> None:
    """Continue a text, or make one up where no --seed is given, and show it as it comes.

    With --seed - each line of standard input is a text to continue, in one line of its own.

    \b
      nlpseq generate --seed "Once upon a time" --length 300
      nlpseq generate -n 5 --stop "." --temperature 0.5
      nlpseq generate --seed - < first_lines.txt
      nlpseq generate --save-state here && nlpseq generate --state here

    With --json each text is an object: seed, text (what was added), tokens, log_probability (in nats, by the
    model itself), random_seed.
    """
    lines = seed == "-"
    _check_together(lines=lines, samples=samples, save_state=save_state)
    if "" in (stop or ()):
        raise OptionError("--stop", "must be a text, was empty", "leave out --stop")
    stops = [*(stop or ()), *(["\n"] if lines else [])]
    generator = Generator(
        model, sampling, random_seed=random_seed, length=length, stops=stops, precision=precision, device=device
    )
    if state is not None:
        generator.resume(state)
    if lines:
        _continue_lines(generator, echo=echo, json=json, quiet=quiet)
    elif json:
        _write_objects(generator, seed, samples, save_state)
    else:
        _stream(generator, seed, samples, save_state, echo=echo)


def _check_together(*, lines: bool, samples: int, save_state: Path | None) -> None:
    if lines and samples > 1:
        raise OptionError("--samples", "goes with one seed; --seed - makes one line from each line")
    if save_state is not None and (lines or samples > 1):
        raise OptionError("--save-state", "saves the state after one text, and here there may be several")
    if save_state is not None:
        check_state_target(save_state)


def _stream(generator: Generator, seed: str, samples: int, save_state: Path | None, *, echo: bool) -> None:
    """Show texts as they come: the first one at once, those beside it when their turn comes."""
    stream = output.Stream()
    at_once = samples == 1 and sys.stdout is not None and sys.stdout.isatty()
    for steps, texts in generator.samples(seed, samples):
        show = _InOrder(stream, texts, echo=echo)
        for _ in generator.lengthen(steps, texts, at_once=at_once):
            show.more()
        if save_state is not None:
            generator.save(save_state, steps, texts[0].text)
    stream.flush()


class _InOrder:
    """Shows texts that grow side by side one after another, a blank line between two."""

    def __init__(self, stream: output.Stream, texts: list[Generated], *, echo: bool) -> None:
        self.stream = stream
        self.waiting = texts[::-1]
        self.echo = echo
        self._begin()

    def _begin(self) -> None:
        if self.waiting:
            if self.stream.written:
                self.stream.add(b"\n")
            if self.echo:
                self.stream.add(to_utf8(self.waiting[-1].prompt))

    def more(self) -> None:
        """Show what has come since the last time."""
        while self.waiting:
            text = self.waiting[-1].text
            self.stream.add(text.take())
            if not text.stopped:
                return
            self.stream.end_line()
            self.waiting.pop()
            self._begin()


def _write_objects(generator: Generator, seed: str, samples: int, save_state: Path | None) -> None:
    for steps, texts in generator.samples(seed, samples):
        for _ in generator.lengthen(steps, texts):
            pass
        for one in texts:
            output.write_json(_as_json(generator, one))
        if save_state is not None:
            generator.save(save_state, steps, texts[0].text)


def _as_json(generator: Generator, one: Generated, **more: str) -> dict[str, object]:
    return {
        "seed": one.prompt,
        "text": one.text.take().decode("utf-8", "replace"),
        "tokens": one.text.tokens,
        "log_probability": one.text.log_probability,
        "random_seed": generator.random_seed,
        **more,
    }


def _continue_lines(generator: Generator, *, echo: bool, json: bool, quiet: bool) -> None:
    """One line out for each line in, as many at once as wait on standard input."""
    faults = output.LineFaults(quiet=quiet)
    for batch in read_batches(standard_input()):
        decoded = [faults.decode(line) for line in batch]
        made: list[tuple[Generated, str]] = []
        for steps, texts in generator.continue_each([text for text, _ in decoded]):
            for _ in generator.lengthen(steps, texts):
                pass
            made += zip(texts, (status for _, status in decoded[len(made) :]), strict=False)
        if json:
            output.write_objects(_as_json(generator, one, status=status) for one, status in made)
        else:
            write_lines(_line(one, echo=echo) for one, _ in made)
    faults.report()


def _line(one: Generated, *, echo: bool) -> bytes:
    data = (to_utf8(one.prompt) if echo else b"") + one.text.take()
    return data.decode("utf-8", "replace").encode()
