"""Training in Python: the options of `nlpseq train` by their names, progress by a callable."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext
from difflib import get_close_matches
from typing import Any

from nlpseq.api.classifier import Classifier
from nlpseq.api.language_model import LanguageModel
from nlpseq.api.loading import load
from nlpseq.api.translator import Translator
from nlpseq.errors import Interrupted, OptionError, RunError
from nlpseq.evaluation.scores import Note, say_nothing
from nlpseq.tasks import COMMANDS, TASKS, Task
from nlpseq.training.distribution.launch import follow, open_processes
from nlpseq.training.parts import Part, training_parts
from nlpseq.training.progress import Progress
from nlpseq.training.requests import Request, make_request
from nlpseq.training.signals import stopping_on_signals


def train(
    task: str,
    *corpora: object,
    progress: Callable[[Progress], object] | None = None,
    note: Note = say_nothing,
    **options: Any,
) -> LanguageModel | Classifier | Translator:
    """Train a model and load it; see `nlpseq.train`."""
    found = find_task(task)
    check_callables(progress, note)
    return train_request(found, make_request(found, corpora, options), progress, note)


def check_callables(progress: object, note: object) -> None:
    """Raises OptionError if what should be called cannot be."""
    for name, function in (("progress", progress), ("note", note)):
        if function is not None and not callable(function):
            raise OptionError(name, f"must be callable, was {function!r}", f"{name}=print")


def train_request(
    task: Task, request: Request, progress: Callable[[Progress], object] | None, note: Note
) -> LanguageModel | Classifier | Translator:
    """Train the model of a request and load it. Raises RunError if there is not enough memory."""
    try:
        with open_processes(task, request) as processes:
            if processes.is_first:
                with closing(training_parts(task, request, processes=processes)) as parts:
                    for part in parts:
                        _run_part(part, progress, note)
            else:
                follow(task, request, processes)
                processes.wait_for_end()
    except MemoryError:
        what = "there is not enough memory for this model and these batches"
        raise RunError(str(request.out), what, "a smaller hidden_size or batch_size, and overwrite=True") from None
    return load(request.out)


def _run_part(part: Part, progress: Callable[[Progress], object] | None, note: Note) -> None:
    """Create a run, say what it is, and run it to the end."""
    if part.title:
        note(part.title)
    run = part.create()
    for text in (run.summary(), run.chosen(), *run.notes):
        note(text)
    _run(run, progress)


def _run(run: Any, progress: Callable[[Progress], object] | None) -> None:
    """Run to the end. A signal to the main thread saves the run, then ends it as the signal would."""
    in_main = threading.current_thread() is threading.main_thread()
    try:
        with stopping_on_signals(run.run) if in_main else nullcontext():
            for record in run.progress():
                if progress is not None:
                    progress(record)
    except Interrupted as stopped:
        if stopped.signal_number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + stopped.signal_number) from None
    run.finish()


def find_task(name: str) -> Task:
    """The task of a command's name, or of a model's. Raises OptionError for another name."""
    known = {**TASKS, **COMMANDS}
    if isinstance(name, str) and name in known:
        return known[name]
    near = get_close_matches(str(name), known, 1) or list(COMMANDS)
    what = f"must be one of {', '.join(COMMANDS)}, was {name!r}"
    raise OptionError("task", what, f"nlpseq.train({known[near[0]].command!r}, ...)")
