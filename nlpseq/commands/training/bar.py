"""The live line on a terminal: rich's bar, and texts that drop from the right as the terminal narrows.

The bar and the first text, which is the time left, are always there. What is written to a terminal that was closed is
lost, and the run goes on. Text is never read as rich's markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from nlpseq.commands.training import lines
from nlpseq.commands.training.sparkline import Losses
from nlpseq.text.display import harmless

if TYPE_CHECKING:
    from nlpseq.training.progress import Progress as Step

GAP = 2  # characters between two texts
NARROWEST, WIDEST = 10, 40  # characters of the bar
SHORTEST, LONGEST = 8, 32  # characters of the sparkline
REFRESHES = 4  # in a second
DELAY = 0.3  # seconds: reading that takes less shows no bar


class Words(ProgressColumn):
    """A text of the line, made when the line is drawn."""

    def __init__(self, words: Callable[[], str], style: str = "") -> None:
        super().__init__()
        self.words = words
        self.style = style

    def render(self, task: Task) -> Text:
        """The text; nothing of it is markup."""
        return Text(harmless(self.words()), self.style, no_wrap=True)


class Narrowing(Progress):
    """rich's progress of one task in one line: a bar, texts, and a sparkline if there is room for all."""

    def __init__(self, texts: Sequence[Words], console: Console, losses: Losses | None = None, **extra: Any) -> None:
        self.losses = losses
        self.starts_at = 0.0  # on the clock of `get_time`: the line is drawn from then on
        super().__init__(
            BarColumn(None),
            *texts,
            console=console,
            refresh_per_second=REFRESHES,
            transient=True,
            redirect_stdout=False,  # it is data
            **extra,
        )

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """The line, as wide as the terminal is now."""
        table = Table.grid(padding=(0, GAP), pad_edge=False)
        bar, *texts = (cast(ProgressColumn, column) for column in self.columns)
        for task in tasks if self.tasks and self.get_time() >= self.starts_at else ():
            cells = [cell for cell in (cast(Text, text(task)) for text in texts) if cell]
            shown, room = fitting([cell.cell_len for cell in cells], self.console.width)
            shapes = self._sparkline(room) if shown == len(cells) else ""
            words = Text("  ").join([*cells[:shown], *([Text(shapes, "cyan")] if shapes else [])])
            width = max(1, min(room - (len(shapes) + GAP if shapes else 0), WIDEST))
            table.add_column(width=width, no_wrap=True)
            table.add_column(no_wrap=True, overflow="crop")
            table.add_row(bar(task), words)
        return table

    def _sparkline(self, room: int) -> str:
        """The losses, if the terminal has characters for them and there is room beside the bar."""
        length = min(room - GAP - NARROWEST, (room - GAP) * 3 // 5, LONGEST)
        if self.losses is None or length < SHORTEST or self.console.options.ascii_only:
            return ""
        return self.losses.sparkline(length)


def fitting(lengths: Sequence[int], width: int) -> tuple[int, int]:
    """How many texts of these lengths fit into the width beside a bar, at least one, and the room left for the bar."""
    count, room = 1, width - GAP - lengths[0]
    for length in lengths[1:]:
        if room - GAP - length < NARROWEST:
            break
        count, room = count + 1, room - GAP - length
    return count, room


class Terminal:
    """A terminal that may be closed while the program runs: what is written to it then is lost."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, if there still is a terminal."""
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if there still is a terminal."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def open_console(stream: Any) -> Console:
    """rich's console on a stream that may be closed."""
    return Console(file=cast("IO[str]", Terminal(stream)), highlight=False, markup=False, emoji=False)


class Bar:
    """A line that is shown until `stop`."""

    def __init__(self, line: Narrowing) -> None:
        self.line = line
        self.task = line.add_task("", start=False, total=None)

    def start(self) -> None:
        """Show the line from now on."""
        self.line.start()

    def stop(self) -> None:
        """Remove the line."""
        self.line.stop()

    def say(self, text: str) -> None:
        """Write a line that stays, above this one."""
        self.line.refresh()  # rich would draw the bar below it as it was
        self.line.console.print(Text(harmless(text)), soft_wrap=True)

    def _fill(self, done: float, total: float | None) -> None:
        if total is not None and not self.line.tasks[0].started:
            self.line.start_task(self.task)
        self.line.update(self.task, completed=done, total=total)


class ReadingBar(Bar):
    """How far the reading of a corpus is; not shown in its first `delay` seconds."""

    def __init__(self, console: Console, delay: float = DELAY) -> None:
        self.work, self.share = "", ""
        super().__init__(Narrowing([Words(lambda: self.share or "0%"), Words(lambda: self.work)], console))
        self.line.starts_at = self.line.get_time() + delay

    def show(self, work: str, done: int, total: int | None) -> None:
        """What is read, and how much of it was."""
        if work != self.work:
            self.line.reset(self.task, start=False)
        self.work, self.share = work, lines.share_read(done, total)
        self._fill(done, total)


class TrainingBar(Bar):
    """The step that a run is at, its losses, its speed and the time left."""

    def __init__(self, console: Console, losses: Losses | None = None) -> None:
        self.step: Step | None = None
        self.best = ""
        self.evaluates = False
        self.losses = Losses() if losses is None else losses
        texts = [
            Words(self._left, "bold"),
            Words(lambda: self._of_step(lines.steps)),
            Words(lambda: self._of_step(lines.training_loss)),
            Words(lambda: self.best),
            Words(lambda: self._of_step(lines.speed)),
        ]
        super().__init__(Narrowing(texts, console, self.losses))

    def show(self, step: Step) -> None:
        """Show a step, and if it was validated, its validation in a line that stays."""
        if step.note:
            return
        self.step = step
        self.losses.add(step.loss)
        if step.best:
            self.best = lines.best_result(step)
        self._fill(step.step, step.total)

    def evaluate(self) -> None:
        """Show that the model is evaluated, after the last step."""
        self.evaluates = True
        self.line.reset(self.task, start=False)

    def _left(self) -> str:
        return "evaluating" if self.evaluates else lines.time_left(self.step)

    def _of_step(self, words: Callable[[Step], str]) -> str:
        return "" if self.step is None else words(self.step)
