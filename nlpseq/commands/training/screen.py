"""Where a training run is shown: nowhere, as lines, or live on a terminal. All of it goes to standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from nlpseq.commands import output
from nlpseq.commands.training import lines

if TYPE_CHECKING:
    from nlpseq.commands.training.bar import ReadingBar, TrainingBar
    from nlpseq.training.progress import Progress

EVERY_SECONDS = 10.0


class Moments:
    """When a step is told: the first, one every ten seconds, and each with a validation or a note."""

    def __init__(self) -> None:
        self._last: float | None = None

    def due(self, progress: Progress) -> bool:
        """Whether this step is to be told."""
        return self.passed() or progress.validation is not None or bool(progress.note)

    def passed(self) -> bool:
        """Whether ten seconds have passed since this was last true; true at first."""
        now = time.monotonic()
        if self._last is not None and now - self._last < EVERY_SECONDS:
            return False
        self._last = now
        return True

    def restart(self) -> None:
        """Wait ten seconds from now."""
        self._last = time.monotonic()


class Screen:
    """Shows what is said, unless it is `quiet`, and no step."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet

    @property
    def width(self) -> int | None:
        """The characters of a line on the terminal; None if it is no terminal."""
        return None

    def say(self, line: str) -> None:
        """Write a line that stays."""
        output.note(line, quiet=self.quiet)

    def read(self, work: str, done: int, total: int | None) -> None:
        """A Watch: show how far the reading is."""

    def begin(self) -> None:
        """Show that training begins; the first step may take long."""

    def train(self, progress: Progress, sample: lines.Sample | None, *, due: bool) -> None:
        """Show a step, and what was generated at its validation; `due` says whether it is time for a line."""

    def evaluate(self) -> None:
        """Show that the model is evaluated, after the last step."""

    def close(self) -> None:
        """Leave only the lines that stay."""


class Lines(Screen):
    """A line every ten seconds, and one for each validation and note."""

    def __init__(self) -> None:
        super().__init__(quiet=False)
        self._moments = Moments()
        self._moments.restart()

    def say(self, line: str) -> None:
        """Write a line that stays; the next one about reading comes ten seconds later."""
        super().say(line)
        self._moments.restart()

    def read(self, work: str, done: int, total: int | None) -> None:
        """A line after ten seconds without one, once something is read."""
        if done and self._moments.passed():
            self.say(f"{output.printable(work)}: {lines.share_read(done, total)}")

    def train(self, progress: Progress, sample: lines.Sample | None, *, due: bool) -> None:
        """A line if it is time, and one for a sample."""
        if due:
            self.say(lines.describe(progress))
        if sample is not None:
            self.say(sample.line())


class Live(Screen):
    """A bar at the bottom of a terminal, and a line above it for each validation and note."""

    def __init__(self) -> None:
        super().__init__(quiet=False)
        self._stream = sys.stderr
        self._bar: ReadingBar | TrainingBar | None = None

    @property
    def width(self) -> int | None:
        """As `Screen.width`, as wide as the terminal is now."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or None
        except (OSError, ValueError):  # it was closed
            return None

    def say(self, line: str) -> None:
        """Write a line that stays, above the bar."""
        super().say(line) if self._bar is None else self._bar.say(line)

    def read(self, work: str, done: int, total: int | None) -> None:
        """Show a bar if reading takes long."""
        from nlpseq.commands.training.bar import ReadingBar, open_console

        if not isinstance(self._bar, ReadingBar):
            self.close()
            self._bar = ReadingBar(open_console(self._stream))
            self._bar.start()
        self._bar.show(output.printable(work), done, total)

    def begin(self) -> None:
        """Show the bar."""
        self._training_bar()

    def train(self, progress: Progress, sample: lines.Sample | None, *, due: bool) -> None:
        """Move the bar, and write validations, samples and notes above it."""
        bar = self._training_bar()
        bar.show(progress)
        if progress.note:
            bar.say(lines.describe(progress))
        elif progress.validation is not None:
            bar.say(lines.describe_validation(progress))
        if sample is not None:
            bar.say(sample.line())

    def evaluate(self) -> None:
        """The bar says so."""
        self._training_bar().evaluate()

    def close(self) -> None:
        """Remove the bar."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def _training_bar(self) -> TrainingBar:
        from nlpseq.commands.training.bar import TrainingBar, open_console

        if not isinstance(self._bar, TrainingBar):
            self.close()
            self._bar = TrainingBar(open_console(self._stream))
            self._bar.start()
        return self._bar


def open_screen(*, quiet: bool, json: bool) -> Screen:
    """The screen for standard error as it is; with `json` on the same terminal, the objects are the progress."""
    if quiet or (json and sys.stdout is not None and sys.stdout.isatty()):
        return Screen(quiet=quiet)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return Live() if terminal and os.environ.get("TERM", "").lower() not in ("dumb", "unknown") else Lines()
