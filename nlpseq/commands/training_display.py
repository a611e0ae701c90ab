"""Shows a training run on standard error: a live line on a terminal, else a line every ten seconds.

A line is also written at each validation. rich shows the live line; generated text never goes through its markup.
"""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from nlpseq.commands import output
from nlpseq.errors import Interrupted
from nlpseq.tasks import TASKS
from nlpseq.training.loop import Progress, stopping_on_signals
from nlpseq.training.tasks.task_run import TaskRun

EVERY_SECONDS = 10.0

Sample = Callable[[], str | None]


def show_training(run: TaskRun, *, quiet: bool) -> dict[str, Any]:
    """Run to the end and show the progress; returns the run's result. Validations show a sample of generated text.

    Raises Interrupted after a signal, once the run is saved.
    """
    output.note(run.summary(), quiet=quiet)
    for note in run.notes:
        output.note(f"note: {note}", quiet=quiet)
    with stopping_on_signals(run.run), _display(run.sample, quiet) as show:
        try:
            for progress in run.progress():
                show(progress)
        except Interrupted:
            output.note(_stopped(run), quiet=quiet)
            raise
    return run.finish()


def _stopped(run: TaskRun) -> str:
    """How to continue a stopped run, if it was saved; a second signal may stop it before it is saved."""
    if run.folder.resume.exists():
        command = shlex.join(["nlpseq", "train", TASKS[run.name].command, "--resume", "--out", str(run.folder.path)])
        return f"stopped at step {run.run.step}; continue with: {command}"
    return f"stopped at step {run.run.step}, before anything was saved for --resume"


@contextmanager
def _display(sample: Sample, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    if quiet:
        yield lambda progress: None
    elif sys.stderr is not None and sys.stderr.isatty():
        with _live(sample) as show:
            yield show
    else:
        yield _every_ten_seconds(sample)


def _every_ten_seconds(sample: Sample) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if progress.validation is None and not progress.note and time.monotonic() - last < EVERY_SECONDS:
            return
        last = time.monotonic()
        for line in _lines(sample, progress):
            output.note(line)

    return show


@contextmanager
def _live(sample: Sample) -> Iterator[Callable[[Progress], None]]:
    """A live line on a terminal. Training goes on without it if the terminal is lost."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)

    def show(progress: Progress) -> None:
        lines = _lines(sample, progress) if progress.validation is not None or progress.note else []
        with suppress(OSError):
            for line in lines:
                live.console.print(Text(line), soft_wrap=True, highlight=False)
            live.update(Text(describe(progress), no_wrap=True, overflow="ellipsis"))

    with suppress(OSError):
        live.start()
    try:
        yield show
    finally:
        with suppress(OSError):
            live.stop()


def _lines(sample: Sample, progress: Progress) -> list[str]:
    """The step in one line; at a validation, a sample of generated text in another."""
    text = None if progress.validation is None else sample()
    return [describe(progress)] if text is None else [describe(progress), f"  sample {text!r}"]


def describe(progress: Progress) -> str:
    """A step in one line: number, loss, perplexity, speed, gradient norm, time left, results of a validation."""
    if progress.note:
        return progress.note
    total = "?" if progress.total is None else f"{progress.total:,}"
    items = [
        f"step {progress.step:,}/{total}",
        f"loss {progress.loss:.4f}",
        *([f"perplexity {_perplexity(progress.loss)}"] if progress.unit == "token" else []),
        f"{progress.tokens_per_second:,.0f} {progress.unit}s/s",
        f"gradient {progress.gradient_norm:.2f}",
    ]
    if progress.seconds_left is not None:
        items.append(f"{_clock(progress.seconds_left)} left")
    if progress.validation is not None:
        best = " (best)" if progress.best else ""
        score = "" if progress.score is None else f"  {progress.criterion} {progress.score:.2f}"
        items.append(f"quick valid {progress.validation:.4f}{score}{best}")
    return "  ".join(items)


def _perplexity(loss: float) -> str:
    return f"{math.exp(loss):,.2f}" if loss < 50 else "huge"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
