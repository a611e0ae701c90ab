"""The one training loop, for every task.

It knows parameters, a loss as (total, count), and a validation loss or score. It knows nothing of texts and models. It
is a generator of progress records, and its caller decides what to show. Everything that the next step depends on is in
a `RunState`, so a run that is killed and resumed is the same run to the last bit. The price is that the state, three
times the size of the parameters, is written every half minute.
"""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from nlpseq.errors import Interrupted, RunError
from nlpseq.kernels.replay import Recorder
from nlpseq.training.data.feed import Feed
from nlpseq.training.device_faults import explained
from nlpseq.training.optimisers import Updates
from nlpseq.training.options import TrainingOptions
from nlpseq.training.run_folder import RunFolder
from nlpseq.training.run_state import RunState, SavedTask
from nlpseq.training.schedule import Budget, rate
from nlpseq.training.step import DeviceStep, HostStep, Outcome, Plan, Step, StepTask
from nlpseq.training.validation import ValidatedTask, Validation, ValidationResult

SAVE_SECONDS = 30.0
RETRIES = 3


class Task(StepTask, SavedTask, ValidatedTask, Protocol):
    """What the loop needs of a task."""

    depths: dict[str, int]  # of parameters below the output, for `rate_scales`; 0 for parameters not in it
    unit: str  # that losses are counted in: token or text
    criterion: str  # the name of the selection score
    most_passes: float | None  # over the corpus, with a budget in minutes; None for no limit

    def steps_in_epoch(self) -> int:
        """Number of batches in one pass over the corpus."""

    def rate_scales(self, fraction: float) -> Sequence[float]:
        """The factor of the learning rate at each depth, after this fraction of the run."""

    def final_seconds(self, validation_seconds: float) -> float:
        """The time that the evaluation after the last step will take."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run after one step."""

    step: int
    total: int | None  # number of steps of the whole run, None until it is known
    loss: float  # nats per token, of this step
    gradient_norm: float
    tokens: int  # in this step
    tokens_per_second: float
    seconds_left: float | None
    rate: float
    validation: float | None = None  # loss in nats per token
    score: float | None = None  # that the best model is chosen by, unless by the loss
    best: bool = False
    note: str = ""
    unit: str = "token"  # of `tokens`
    criterion: str = ""  # name of `score`


class Run:
    """One training run: a task, its options and its folder."""

    def __init__(
        self,
        task: Task,
        options: TrainingOptions,
        folder: RunFolder,
        *,
        started: float | None = None,
        late: bool | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """With `late`, the default on a GPU, the host reads a step's results late; `recorder` then records graphs."""
        self.task = task
        self.options = options
        self.folder = folder
        self.started = time.monotonic() if started is None else started
        self.updates = Updates(
            options.optimiser,
            task.parameters,
            options.learning_rate,
            options.weight_decay,
            options.clip,
            task.depths,
            late=late,
        )
        self.state = RunState(task, self.updates, average=bool(options.average))
        self.counters = self.state.counters
        self.counters.total = self._requested_total()
        self.validation = Validation(task, self.state, folder)
        self.step_taker = self._step_taker(recorder)
        self.signal_number: int | None = None

    @property
    def step(self) -> int:
        """The number of steps so far."""
        return self.counters.step

    def _step_taker(self, recorder: Recorder | None) -> Step:
        arguments = self.task, self.updates, self.state.averages, self.options.accumulate
        place = Feed(self.updates.device).place
        return DeviceStep(*arguments, place, recorder) if self.updates.late else HostStep(*arguments)

    def _requested_total(self) -> int | None:
        if self.options.epochs is None:
            return self.options.steps
        return max(1, self._steps_in(self.options.epochs))

    def _steps_in(self, passes: float) -> int:
        return math.ceil(passes * self.task.steps_in_epoch() / self.options.accumulate)

    def resume(self) -> None:
        """Continue from the folder's resume file. Raises RunError if it is damaged."""
        self.state.restore(*self.folder.load_resume())
        self.step_taker.forget()

    def progress(self) -> Iterator[Progress]:
        """Train to the end.

        Raises RunError if the loss stays non-finite or the GPU fails. After a signal it saves the run and raises
        Interrupted.
        """
        with explained(self.folder.path, self.options):
            yield from self._steps()

    def _steps(self) -> Iterator[Progress]:
        budget = self._start_budget()
        self.last_saved, self.saved_at = self.state.capture(), time.monotonic()
        waiting: deque[Outcome] = deque()  # outcomes that have not been read yet
        while self.counters.total is None or self.step < self.counters.total:
            outcome, read = self._advance(budget, waiting)
            if note := self.step_taker.note():
                yield self._note(note)
            failed = read.pop() if read and not read[-1].finite else None
            newest = read.pop() if read and read[-1] is outcome else None
            for earlier in read:
                yield self._record(earlier)
            if failed is not None:
                waiting.clear()
                yield self._recover(failed.step - 1)
            if newest is None:
                continue
            result = self.validation.run() if self._validates() else None
            if result is not None and not math.isfinite(result.loss):
                yield self._recover(self.step)
                continue
            yield self._record(newest, result)
            self._save(first=result is not None and result.best and not self.folder.resume.exists())
            if self.options.patience and self.counters.without_progress >= self.options.patience:
                break

    def _advance(self, budget: Budget | None, waiting: deque[Outcome]) -> tuple[Outcome, list[Outcome]]:
        """Take one step: its outcome, and the outcomes that were read, in order.

        Raises Interrupted if a signal came between two accumulated batches.
        """
        started = time.monotonic()
        outcome = self._take_step()
        if outcome is None:
            self.folder.save_resume(*self.last_saved)
            raise Interrupted(self.signal_number or signal.SIGINT)
        waiting.append(outcome)
        read: list[Outcome] = []
        self._read(waiting, self.step_taker.lag, read)
        self.counters.seconds += time.monotonic() - started
        if budget is not None and self.counters.total is None:
            most = None if self.task.most_passes is None else self._steps_in(self.task.most_passes)
            self.counters.total = budget.steps(self.step, most, usual=outcome.usual)
        if self._validates() or self._due() or self.signal_number is not None:
            self._read(waiting, 0, read)
            self.step_taker.check()
        return outcome, read

    def _read(self, waiting: deque[Outcome], lag: int, read: list[Outcome]) -> None:
        """Move outcomes from `waiting` to `read`: all but the newest `lag`, up to the first that is not finite."""
        while len(waiting) > lag and (not read or read[-1].finite):
            read.append(waiting.popleft())
            self.counters.tokens += read[-1].count

    def _start_budget(self) -> Budget | None:
        if self.counters.total is not None:
            return None
        if self.updates.late:
            self.task.validate()  # compiles kernels, which is not to be timed
        started = time.monotonic()
        self.task.validate()
        self.task.selection_score()
        seconds = time.monotonic() - started
        overhead = seconds * self.options.validations + self.task.final_seconds(seconds)
        minutes = 5.0 if self.options.minutes is None else self.options.minutes
        return Budget(minutes * 60 - (time.monotonic() - self.started), overhead)

    def _save(self, *, first: bool) -> None:
        """Save the run if it is time. Raises Interrupted, all saved, if a signal came.

        `first` says that there is a model, but no saved state yet to continue from.
        """
        if first or self._due() or self.signal_number is not None:
            self.last_saved = self.state.capture()
            self.folder.save_resume(*self.last_saved)
            self.saved_at = time.monotonic()
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)

    def _due(self) -> bool:
        if self.options.save_every is not None:
            return self.step % self.options.save_every == 0
        return time.monotonic() - self.saved_at > SAVE_SECONDS

    def _take_step(self) -> Outcome | None:
        """Take one step; None, with nothing updated, if a signal came between two accumulated batches."""
        total = self.counters.total
        fraction = self.counters.rate_scale * rate(self.step, total, self.options.warm_up, self.options.anneal)
        scales = self.task.rate_scales(self.step / total if total else 0.0)
        decay = min(self.options.average, (self.step + 1) / (self.step + 11))
        outcome = self.step_taker.take(Plan(self.step, fraction, scales, decay), lambda: self.signal_number is not None)
        self.counters.step += outcome is not None
        return outcome

    def _validates(self) -> bool:
        total = self.counters.total
        if total is None:
            return False
        every = max(1, math.ceil(total / self.options.validations))
        return self.step % every == 0 or self.step == total

    def _record(self, outcome: Outcome, result: ValidationResult | None = None) -> Progress:
        counters = self.counters
        speed = counters.tokens / counters.seconds if counters.seconds else 0.0
        left = None if counters.total is None else (counters.total - outcome.step) * counters.seconds / outcome.step
        fraction = rate(outcome.step, counters.total, self.options.warm_up, self.options.anneal)
        return Progress(
            outcome.step,
            counters.total,
            outcome.loss,
            outcome.norm,
            outcome.count,
            speed,
            left,
            fraction * counters.rate_scale * self.updates.learning_rate,
            result and result.loss,
            result and result.score,
            result is not None and result.best,
            unit=self.task.unit,
            criterion=self.task.criterion,
        )

    def _recover(self, failed: int) -> Progress:
        """Return to the last saved state with half the learning rate. Raises RunError after RETRIES times."""
        scale, retries = self.counters.rate_scale, self.counters.retries + 1
        learning_rate = scale * self.updates.learning_rate
        if retries > RETRIES:
            raise RunError(
                str(self.folder.path),
                f"the loss became non-finite at step {failed} {retries} times, last with a rate of {learning_rate:g}",
                f"--overwrite --learning-rate {min(learning_rate / 4, 1e-3):g}",
            )
        self.state.restore(*self.last_saved)
        self.step_taker.forget()
        self.counters.rate_scale, self.counters.retries = scale / 2, retries
        return self._note(
            f"the loss became non-finite at step {failed}: back to step {self.step} with half the learning rate"
        )

    def _note(self, note: str) -> Progress:
        rate_now = self.counters.rate_scale * self.updates.learning_rate
        return Progress(self.step, self.counters.total, math.nan, math.nan, 0, 0.0, None, rate_now, note=note)


@contextmanager
def stopping_on_signals(run: Run) -> Iterator[None]:
    """Inside, SIGINT or SIGTERM ends the run after the current step, all saved; a second signal stops it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if run.signal_number is not None:
            raise Interrupted(number)
        run.signal_number = number

    held = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
