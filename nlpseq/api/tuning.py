"""Searching for better options in Python: the options of `nlpseq tune` by their names."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlpseq.api.classifier import Classifier
from nlpseq.api.language_model import LanguageModel
from nlpseq.api.loading import load
from nlpseq.api.paths import as_names
from nlpseq.api.training import find_task
from nlpseq.api.translator import Translator
from nlpseq.errors import OptionError
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, Task
from nlpseq.text.progress import Watch, unwatched
from nlpseq.text.tables.parallel import are_two_files
from nlpseq.training.pretraining.refusals import BEFORE
from nlpseq.training.requests import Request, make_request
from nlpseq.training.run_config import CONFIG
from nlpseq.training.tuning.clock import DEFAULT_MINUTES, Clock
from nlpseq.training.tuning.listener import Listener
from nlpseq.training.tuning.named_part import refuse_test_without_pairs
from nlpseq.training.tuning.parts import Parts
from nlpseq.training.tuning.spaces import LENGTH
from nlpseq.training.tuning.trial import Trial
from nlpseq.training.tuning.tuning_run import TuningRun

COLUMNS = ("label_column", "text_column", "label_separator")


@dataclass(frozen=True)
class Tuned:
    """The result of a search: the best model, and the report that `nlpseq tune --json` writes."""

    model: LanguageModel | Classifier | Translator
    report: Mapping[str, Any]

    @property
    def command(self) -> str:
        """The shell command that trains the model again."""
        return str(self.report["command"])


class _Told(Listener):
    """Calls functions of the user."""

    def __init__(self, trial: Callable[[dict[str, Any]], object] | None, note: Note) -> None:
        self._trial, self._note = trial, note

    def note(self, text: str) -> None:
        self._note(text)

    def end(self, trial: Trial) -> None:
        if self._trial is not None:
            self._trial(trial.as_json())


def tune(
    task: str,
    *corpora: object,
    minutes: float = DEFAULT_MINUTES,
    test: object = (),
    trial: Callable[[dict[str, Any]], object] | None = None,
    note: Note = say_nothing,
    **options: Any,
) -> Tuned:
    """Search for better options; see `nlpseq.tune`."""
    started, found = time.monotonic(), find_task(task)
    for name in options:
        if name in BEFORE:
            what = "is no option of a search, whose runs may start from a language model"
            raise OptionError(name, what, "init_from=MODEL")
        if name in LENGTH:
            raise OptionError(name, "is no option of a search, which chooses the length of its runs", "minutes=30")
    request = make_request(found, corpora, options)
    tests = as_names(test if isinstance(test, list | tuple) else [test])
    tuning = open_tuning(found, request, tests, minutes, started, _Told(trial, note))
    report = tuning.run()
    if (stopped := report["stopped"]) is not None:
        if stopped == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + stopped)
    return Tuned(load(request.out), report)


def open_tuning(
    task: Task,
    request: Request,
    test: Sequence[str],
    minutes: float,
    started: float,
    listener: Listener,
    watch: Watch = unwatched,
) -> TuningRun:
    """A search that is ready to run; `started` is the time at which its minutes began.

    Raises OptionError for options that make no sense, or without Optuna, and RunError if the run folder is used.
    """
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < 1e6:
        raise OptionError("minutes", f"must be a number above 0, was {minutes!r}", "--minutes 30")
    if task not in (CLASSIFIER, LANGUAGE_MODEL):
        refuse_test_without_pairs(test)

    told: set[str] = set()

    def note_once(text: str) -> None:
        if text not in told:
            told.add(text)
            listener.note(text)

    def evaluate(folder: Path, parts: Parts) -> list[Score]:
        return evaluate_run(task, request, folder, parts, note_once)

    clock = Clock(minutes, started, may_end_early=task is CLASSIFIER)
    return TuningRun(task, request, test, clock, evaluate, listener, watch)


def evaluate_run(task: Task, request: Any, folder: Path, parts: Parts, note: Note) -> list[Score]:
    """The scores on the test part of the model in a run folder, on the device that it was trained on.

    Raises CorpusError if the part cannot be read, or has labels that training had not.
    """
    device = json.loads((folder / CONFIG).read_text())["machine"]["device"]
    model: Any = load(folder, device=device)
    if task is CLASSIFIER:
        named = {name: getattr(request, name, None) for name in COLUMNS}
        columns = {} if parts.are_own else {name: value for name, value in named.items() if value is not None}
        scores: list[Score] = model.evaluate(*parts.test, note=note, **columns)
    elif task is LANGUAGE_MODEL:
        scores = model.evaluate(*parts.test, note=note)
    elif are_two_files(parts.test):
        source, target = parts.test
        scores = model.evaluate(source=source, target=target, note=note)
    else:
        scores = model.evaluate(*parts.test, columns=None if parts.are_own else request.columns, note=note)
    return scores
