"""`nlpseq generate`: continue a text, or write a new one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nlpseq.commands import output
from nlpseq.commands.chosen_model import chosen_model
from nlpseq.commands.filters import LineFaults
from nlpseq.commands.flags import RARE, Device, Json, ModelPath, Precision, Quiet, application, command
from nlpseq.commands.inputs import find_input, piped_text
from nlpseq.decoding.generation import Generated, GenerationOptions, Generator, Group
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.errors import OptionError
from nlpseq.models.state_file import check_state_target
from nlpseq.tasks import LANGUAGE_MODEL
from nlpseq.text.lines import write_lines
from nlpseq.text.tokenisers import to_utf8

app = application("Continue a text, or write a new one.")

SEED = (
    "Text to continue; - takes one from each line of standard input. "
    "[default: the text of standard input, if it is a pipe or a file]"
)
Seed = Annotated[str | None, typer.Option("--seed", metavar="TEXT", help=SEED)]
Samples = Annotated[int, typer.Option("--samples", "-n", metavar="N", min=1, help="Number of texts.")]
State = Annotated[Path | None, typer.Option("--state", metavar="FILE", help="Continue from a saved state.")]
SaveState = Annotated[
    Path | None, typer.Option("--save-state", metavar="FILE", help="Save the state to continue from.")
]
Echo = Annotated[bool, typer.Option("--echo/--no-echo", help="Show the seed before a text.")]


@command(app)
def generate(
    seed: Seed = None,
    model: ModelPath = None,
    samples: Samples = 1,
    echo: Annotated[Echo, RARE] = True,
    state: Annotated[State, RARE] = None,
    save_state: Annotated[SaveState, RARE] = None,
    precision: Annotated[Precision, RARE] = "fp32",
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: GenerationOptions,
    sampling: SamplingOptions,
) -> None:
    """Continue a text or write a new one, and show it as it grows.

    With --seed - each line of standard input is a text to continue, and its continuation is one line. Without --seed
    the whole text of a pipe or a file is continued. A pipe that stays open and empty is left alone after 5 seconds;
    with --seed "" standard input is not read at all.

    \b
      nlpseq generate --seed "Once upon a time" --length 300
      echo Nora | nlpseq generate
      nlpseq generate -n 5 --stop "." --temperature 0.5
      nlpseq generate --seed - < first_lines.txt
      nlpseq generate --save-state here && nlpseq generate --state here

    With --json each text is an object: seed, text (what was added), tokens, log_probability (in nats, under the
    model), random_seed.
    """
    lines = seed == "-"
    _check_together(lines=lines, samples=samples, save_state=save_state)
    generation = replace(options, stop=(*options.stop, "\n")) if lines else options
    path = chosen_model(model, LANGUAGE_MODEL, quiet=quiet)
    generator = Generator.load(path, sampling, generation, device, precision)
    if state is not None:
        generator.resume(state)
    faults = LineFaults(quiet=quiet)
    statuses: deque[str] = deque()
    display = _Objects(statuses) if json else _Lines(echo=echo) if lines else _Texts(echo=echo)
    at_once = isinstance(display, _Texts) and samples == 1 and output.is_terminal()
    text = piped_text(quiet=quiet) if seed is None else seed
    for group in _line_groups(generator, faults, statuses) if lines else generator.samples(text, samples):
        _write(group, display, at_once=at_once)
        if save_state is not None:
            group.save(save_state)
    faults.report()


def _write(group: Group, display: _Objects | _Lines | _Texts, *, at_once: bool) -> None:
    """Show the texts of a group while they grow."""
    display.start(group.texts)
    for _ in group.grow(at_once=at_once):
        display.show()
    display.end()


def _check_together(*, lines: bool, samples: int, save_state: Path | None) -> None:
    if lines and samples > 1:
        raise OptionError("samples", "goes with a single seed; --seed - writes one line for each line")
    if save_state is not None and (lines or samples > 1):
        raise OptionError("save_state", "saves the state after one text, but there may be several here")
    if save_state is not None:
        check_state_target(save_state)


def _line_groups(generator: Generator, faults: LineFaults, statuses: deque[str]) -> Iterator[Group]:
    """Texts that continue the lines of standard input, all waiting lines together; adds the lines' statuses."""
    for _, batch in find_input(("-",), "nlpseq generate", quiet=faults.quiet).batches():
        lines = [faults.decode(line) for line in batch]
        statuses.extend(status for _, status in lines)
        yield from generator.continue_each([text for text, _ in lines])


class _Objects:
    """Writes each text as an object, with the status of its line if it continues one."""

    def __init__(self, statuses: deque[str]) -> None:
        self.statuses = statuses
        self.texts: Sequence[Generated] = ()

    def start(self, texts: Sequence[Generated]) -> None:
        """Take the texts of the next group."""
        self.texts = texts

    def show(self) -> None:
        """Nothing is written before the texts are complete."""

    def end(self) -> None:
        """Write the texts."""
        write_lines(output.to_json(self._fields(text)).encode() for text in self.texts)

    def _fields(self, generated: Generated) -> dict[str, object]:
        return generated.as_json() | ({"status": self.statuses.popleft()} if self.statuses else {})


class _Lines:
    """Writes each text as a line."""

    def __init__(self, *, echo: bool) -> None:
        self.echo = echo
        self.texts: Sequence[Generated] = ()

    def start(self, texts: Sequence[Generated]) -> None:
        """Take the texts of the next group."""
        self.texts = texts

    def show(self) -> None:
        """Nothing is written before the texts are complete."""

    def end(self) -> None:
        """Write the texts."""
        write_lines(map(self._line, self.texts))

    def _line(self, generated: Generated) -> bytes:
        data = (to_utf8(generated.prompt) if self.echo else b"") + generated.text.take()
        return data.decode("utf-8", "replace").encode()


class _Texts:
    """Writes texts that grow side by side one after the other, each as it grows, with a blank line between them."""

    def __init__(self, *, echo: bool) -> None:
        self.stream = output.Stream()
        self.echo = echo
        self.waiting: list[Generated] = []  # the next text is last

    def start(self, texts: Sequence[Generated]) -> None:
        """Take the texts of the next group."""
        self.waiting = list(reversed(texts))
        self._start_text()

    def show(self) -> None:
        """Write the bytes added since the last call."""
        while self.waiting:
            text = self.waiting[-1].text
            self.stream.add(text.take())
            if not text.stopped:
                return
            self.stream.end_line()
            self.waiting.pop()
            self._start_text()

    def end(self) -> None:
        """Write the rest of the texts."""
        self.stream.flush()

    def _start_text(self) -> None:
        if self.waiting:
            if self.stream.written:
                self.stream.add(b"\n")
            if self.echo:
                self.stream.add(to_utf8(self.waiting[-1].prompt))
