"""Runs a search from its request to the best model, and shows it: a line for each trial, and a table at the end.

People read standard error, and programs one object on standard output. On a terminal a bar shows the trial in hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nlpseq.api.tuning import open_tuning
from nlpseq.commands import output
from nlpseq.commands.tables.trial_table import evaluation_lines, options_text, trial_line, trial_lines
from nlpseq.commands.training import lines
from nlpseq.commands.training.screen import Screen, open_screen
from nlpseq.errors import Interrupted
from nlpseq.tasks import Task
from nlpseq.training.progress import Progress
from nlpseq.training.requests import Request
from nlpseq.training.tuning.listener import Listener
from nlpseq.training.tuning.trainer import Introduction
from nlpseq.training.tuning.trial import Trial


class ShownTrials(Listener):
    """Shows trials on a screen."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._has_read = False

    def read(self, work: str, done: int, total: int | None) -> None:
        """A Watch: show how far the reading is, before the first trial."""
        if not self._has_read:
            self.screen.read(work, done, total)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.screen.say(f"note: {text}")

    def introduce(self, introduction: Introduction) -> None:
        """What the defaults are, and what was noticed while reading."""
        self._has_read = True
        self.screen.close()
        for line in (introduction.summary, *introduction.chosen.splitlines()):
            self.screen.say(line)
        for note in introduction.notes:
            self.note(note)

    def begin(self, number: int, options: Mapping[str, Any], what: str) -> None:
        """Remove the bar of the trial before."""
        self.screen.close()

    def step(self, progress: Progress) -> None:
        """Move the bar, if there is one; a trial's validations and notes are not told."""
        if not progress.note:
            self.screen.train(replace(progress, validation=None), None, due=False)

    def end(self, trial: Trial) -> None:
        """A line that stays."""
        self.screen.close()
        for line in trial_line(trial, self.screen.width):
            self.screen.say(line)


def show_tuning(
    task: Task,
    request: Request,
    test: Sequence[str],
    minutes: float,
    started: float,
    *,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Search, show the trials on standard error, and write the result to standard output.

    `started` is the time at which the minutes began. Raises Interrupted after a signal, once the best run is kept, and
    NlpseqError for what the user can mend.
    """
    screen = open_screen(quiet=quiet, json=json)
    try:
        shown = ShownTrials(screen)
        tuning = open_tuning(task, request, test, minutes, started, shown, shown.read)
        screen.say(lines.reading(task, request))
        report = tuning.run()
    except (Interrupted, KeyboardInterrupt):
        screen.close()
        screen.say("stopped before the first trial had ended: nothing was kept")
        raise
    finally:
        screen.close()
    show_report(report, screen, json=json)
    if report["stopped"] is not None:
        raise Interrupted(report["stopped"])


def show_report(report: Mapping[str, Any], screen: Screen, *, json: bool) -> None:
    """The table, the result, and what to do with it."""
    for line in ["", *trial_lines(report["trials"], report["best"], screen.width), ""]:
        screen.say(line)
    if json:
        output.write_json(report)
    else:
        output.write_lines([_result(report), *evaluation_lines(report["test"])])
    were_tried = any(trial["options"] for trial in report["trials"])
    if report["stopped"] is not None:
        screen.say("stopped: the best run so far is kept")
    elif report["defaults_are_best"]:
        screen.say("no other options were " + ("better than the defaults" if were_tried else "tried"))
    screen.say(f"the same model again: {report['command']}")
    if report["command_for_whole"] and were_tried:
        screen.say(f"the same options for the whole corpus: {report['command_for_whole']}")


def _result(report: Mapping[str, Any]) -> str:
    best = report["trials"][report["best"]]
    of_all = f"trial {report['best']} of {len(report['trials'])}" if len(report["trials"]) > 1 else "the defaults"
    return "  ".join([report["model"], f"{of_all} in {report['seconds']} s", options_text(best["options"])])
