"""One trial: a training run as any other, in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nlpseq.tasks import CLASSIFIER, LANGUAGE_MODEL, TRANSLATOR, Task
from nlpseq.text.progress import Watch, unwatched
from nlpseq.training.progress import Progress
from nlpseq.training.requests import Request
from nlpseq.training.tuning.parts import split_anew
from nlpseq.training.tuning.spaces import Values, with_values
from nlpseq.training.tuning.trial import Measure, measure_of

ERRORS = {"accuracy": ("accuracy", "micro_f1"), "macro-f1": ("macro_f1",), "micro-f1": ("micro_f1",)}  # by criterion


class Pruned(Exception):
    """A trial that was stopped; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """A run that has ended."""

    folder: Path
    scores: dict[str, Any]  # of the whole validation part
    measure: Measure
    steps: int
    passes: float  # over the training part
    chosen: Values  # the values of all options of the run; `epochs` only if the run ended by itself


@dataclass(frozen=True)
class Introduction:
    """What a run says before its first step."""

    summary: str
    chosen: str
    notes: tuple[str, ...]


class Observer(Protocol):
    """Sees a trial while it runs, and may stop it by raising Pruned or Interrupted."""

    def introduce(self, introduction: Introduction) -> None:
        """The run is ready for its first step."""

    def step(self, progress: Progress) -> None:
        """A step was taken."""

    def validation(self, number: int, measure: Measure) -> None:
        """The model was validated, for the `number`-th time; on a part of the validation texts, perhaps."""


class Trials(Protocol):
    """What a search needs to train."""

    def train(
        self, number: int, values: Values, budget: Mapping[str, float], observer: Observer, split: int = 0
    ) -> Outcome:
        """Train with options that differ from the request's, and with other texts held out if `split` is not 0.

        Raises what a run raises, and what the observer does.
        """

    def chosen(self, budget: Mapping[str, float]) -> Values:
        """The values that a run of this budget would choose for the request's open options."""

    def drop(self, number: int) -> None:
        """Remove the folder of a trial."""


class Trainer:
    """Trains the trials of one request, each in a folder in `scratch`."""

    def __init__(self, task: Task, request: Request, scratch: Path, watch: Watch = unwatched) -> None:
        self.task = task
        self.request = request
        self.scratch = scratch
        self.watch = watch
        self._requests = {0: request}  # by split

    def train(
        self, number: int, values: Values, budget: Mapping[str, float], observer: Observer, split: int = 0
    ) -> Outcome:
        """Train with options that differ from the request's, for a budget of `minutes` or `epochs`.

        `split` is as for `parts.split_anew`, or 0. Raises what a run raises, and what the observer does; the folder is
        then gone.
        """
        try:
            run = self._create(self._folder(number), values, budget, split)
            observer.introduce(Introduction(run.summary(), run.chosen(), tuple(run.notes)))
            self._steps(run, observer)
            scores = run.finish()["valid"]
        except BaseException:
            self.drop(number)
            raise
        passes = run.run.step * run.training.accumulate / run.task.steps_in_epoch()
        chosen = _chosen(run) | _limit(run, passes)
        return Outcome(run.folder.path, scores, self._measure(run, scores), run.run.step, passes, chosen)

    def chosen(self, budget: Mapping[str, float]) -> Values:
        """The values that a run of this budget would choose for the request's open options."""
        folder = self.scratch / "chosen"
        run = self._create(folder, {}, budget)
        run.folder.release()
        shutil.rmtree(folder, ignore_errors=True)
        return _chosen(run)

    def drop(self, number: int) -> None:
        """Remove the folder of a trial."""
        shutil.rmtree(self._folder(number), ignore_errors=True)

    def _folder(self, number: int) -> Path:
        return self.scratch / str(number)

    def _create(self, folder: Path, values: Values, budget: Mapping[str, float], split: int = 0) -> Any:
        length = dict.fromkeys(("minutes", "epochs", "steps")) | dict(budget)
        if split not in self._requests:
            self._requests[split] = split_anew(self.request, split, self.scratch / "splits", self.watch)
        request = with_values(self._requests[split], length | values, out=folder, overwrite=False, resume=False)
        return self.task.load("run")(request, watch=self.watch)

    def _steps(self, run: Any, observer: Observer) -> None:
        """Take all steps, and tell the observer."""
        validations = 0
        try:
            with closing(run.progress()) as steps:
                for progress in steps:
                    observer.step(progress)
                    if progress.validation is not None:
                        validations += 1
                        observer.validation(validations, self._quick_measure(run, progress))
        except BaseException:
            run.folder.release()
            raise

    def _measure(self, run: Any, scores: Mapping[str, Any]) -> Measure:
        names = ERRORS.get(run.training.criterion, ()) if self.task is CLASSIFIER else ()
        return measure_of(scores, names=names, texts=self._texts(run), scale=self._scale(run))

    def _quick_measure(self, run: Any, progress: Progress) -> Measure:
        error = 1 - progress.score / 100 if self.task is CLASSIFIER and progress.score is not None else None
        return Measure((progress.validation or 0.0) * self._scale(run), error, self._texts(run))

    def _texts(self, run: Any) -> int:
        return 1 if self.task is LANGUAGE_MODEL else len(run.corpus.valid)

    def _scale(self, run: Any) -> float:
        """Tokens of a pair for translators, whose losses per token depend on the vocabulary; 1 for other tasks."""
        if self.task is not TRANSLATOR:
            return 1.0
        return len(run.corpus.valid.targets.ids) / len(run.corpus.valid)


def _chosen(run: Any) -> Values:
    """The values of all options of a run, those of the tokeniser too."""
    tokeniser = run.config["tokeniser"]
    length = dict.fromkeys(("epochs", "steps", "minutes"))
    tokens = {"tokens": tokeniser["kind"], "vocab_size": tokeniser["size"]}
    return {**run.config["model"], **run.config["training"], **length, **tokens}


def _limit(run: Any, passes: float) -> Values:
    """The number of passes after which a run ends by itself, if it has ended so; nothing for other runs."""
    most = run.task.most_passes
    return {"epochs": most} if most is not None and passes >= most else {}
