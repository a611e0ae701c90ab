"""Runs a training run from its request to its model, and shows it.

People read standard error: a bar on a terminal, else lines. Programs read objects on standard output. torch is imported
after the first line was written, because the import takes a second. A signal ends the run in one sentence, whatever it
is doing: reading and the evaluation at the end stop at once, and training after the current step, all saved.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType
from typing import Any

from nlpseq.commands import output
from nlpseq.commands.training import lines
from nlpseq.commands.training.screen import Moments, Screen, open_screen
from nlpseq.errors import Interrupted, NlpseqError
from nlpseq.tasks import Task
from nlpseq.text.formats import need_source
from nlpseq.text.lines import ReaderGone
from nlpseq.training.continuing import refuse_run_as_corpus
from nlpseq.training.distribution.launch import follow, is_follower, open_processes
from nlpseq.training.parts import Part, training_parts
from nlpseq.training.requests import Request
from nlpseq.training.run_folder import RunFolder
from nlpseq.training.signals import stopping_on_signals


class Events:
    """Objects on standard output, one a line, if they are wanted; training goes on if they cannot be written."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self._fault: Exception | None = None

    def write(self, event: str, **values: Any) -> None:
        """Write an object."""
        if self.wanted and self._fault is None:
            try:
                output.write_json({"event": event, **values})
            except (ReaderGone, NlpseqError) as error:
                self._fault = error

    def end(self, result: dict[str, Any]) -> None:
        """Write the result. Raises what kept an object from being written."""
        self.write("result", **result)
        if self._fault is not None:
            raise self._fault


def show_training(task: Task, request: Request, started: float, *, quiet: bool = False, json: bool = False) -> None:
    """Train, show the progress on standard error, and write the result to standard output.

    `started` is the time at which the budget began. Raises Interrupted after a signal, once the run is saved, and
    NlpseqError for what the user can mend.
    """
    if is_follower():
        with open_processes(task, request) as processes:
            return follow(task, request, processes)
    _check(request)
    screen, events = open_screen(quiet=quiet, json=json), Events(wanted=json)
    run, result = None, dict[str, Any]()
    try:
        screen.say(lines.reading(task, request))
        with ExitStack() as stack:
            with _stopping_at_once():
                processes = stack.enter_context(open_processes(task, request))
            parts = training_parts(task, request, started, screen.read, processes)
            for part in _asked_for(stack.enter_context(closing(parts))):
                _begin(part, result, screen, events)
                with _stopping_at_once():
                    run = part.create()
                result = _run(run, screen, events)
    except (Interrupted, KeyboardInterrupt) as stop:
        screen.close()
        screen.say(lines.stopped(run, resumed=request.resume))
        step, command = (0, None) if run is None else (run.run.step, lines.continuing(run) or None)
        events.write("stopped", step=step, command=command)
        raise Interrupted(getattr(stop, "signal_number", signal.SIGINT)) from None
    except NlpseqError as error:
        events.write("error", where=error.where, what=error.what, hint=error.hint)
        raise
    finally:
        screen.close()
    events.end(result) if json else output.write_text(lines.result_line(result) + "\n")
    for line in run.endings() if run is not None else ():
        screen.say(line)


def _check(request: Request) -> None:
    """Raises what can be found wrong with a request before torch is imported."""
    refuse_run_as_corpus(request)
    for name in (*request.all_files(), *request.files_before()):
        need_source(name)
    RunFolder(request.out).check(resume=request.resume, overwrite=request.overwrite)


def _run(run: Any, screen: Screen, events: Events) -> dict[str, Any]:
    """Train a run to the end: its result."""
    screen.close()
    _introduce(run, screen, events)
    _train(run, screen, events)
    screen.evaluate()
    with _stopping_at_once():
        result: dict[str, Any] = run.finish()
    screen.close()
    return result


def _asked_for(parts: Iterator[Part]) -> Iterator[Part]:
    """The parts of a training; a signal stops what is done to find the next one."""
    while True:
        with _stopping_at_once():
            part = next(parts, None)
        if part is None:
            return
        yield part


def _begin(part: Part, result: dict[str, Any], screen: Screen, events: Events) -> None:
    """Say which part begins, if there are several, and the `result` of the one before."""
    screen.close()
    for line in lines.result_line(result).splitlines() if result else ():
        screen.say(line)
    if part.title:
        events.write("part", part=part.title)
        screen.say(part.title)


def _introduce(run: Any, screen: Screen, events: Events) -> None:
    """Say what was chosen, and what was noticed while reading."""
    summary, chosen = run.summary(), run.chosen()
    events.write("start", task=run.name, out=str(run.folder.path), summary=summary, chosen=chosen)
    for line in (summary, *chosen.splitlines()):
        screen.say(line)
    for note in run.notes:
        events.write("note", step=run.run.step, total=None, note=note)
        screen.say(f"note: {note}")


def _train(run: Any, screen: Screen, events: Events) -> None:
    """Take all steps. Raises Interrupted after a signal, once the run is saved."""
    moments = Moments()
    sampled = events.wanted or not screen.quiet
    screen.begin()
    with stopping_on_signals(run.run):
        for progress in run.progress():
            due = moments.due(progress)
            sample = lines.draw_sample(run) if sampled and progress.validation is not None else None
            screen.train(progress, sample, due=due)
            if due:
                events.write(**lines.as_event(progress, sample))
    if run.run.signal_number is not None:
        raise Interrupted(run.run.signal_number)


@contextmanager
def _stopping_at_once() -> Iterator[None]:
    """Inside, SIGINT or SIGTERM raises Interrupted, and again at the end if the code inside dropped it.

    Python drops what is raised in a callback of its own, and prints a traceback, but not for Interrupted.
    """
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        raise Interrupted(number)

    def show_dropped(dropped: Any) -> None:
        if not isinstance(dropped.exc_value, Interrupted):
            hook(dropped)

    hook, sys.unraisablehook = sys.unraisablehook, show_dropped
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    held = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except BaseException:
        if caught:
            raise Interrupted(caught[0]) from None
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in held.items():
            signal.signal(number, handler)
    if caught:
        raise Interrupted(caught[0])
