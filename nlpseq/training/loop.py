"""The one training loop, for every task.

It knows parameters, a loss as (total, count), and a validation loss or score. It knows nothing of texts and models. It
is a generator of progress records, and its caller decides what to show. Everything that the next step depends on is in
a `RunState`, so a run that is killed and resumed is the same run to the last bit. The price is that the state, three
times the size of the parameters, is written every half minute.

Several processes run this loop in step. What depends on the time or on a signal is agreed on after each step; all else
follows from numbers that are the same in all of them. The first process alone validates, and alone has a folder that
writes.
"""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from nlpseq.errors import Interrupted, RunError
from nlpseq.kernels.replay import Recorder
from nlpseq.text.heap import give_back
from nlpseq.training.data.feed import Feed
from nlpseq.training.device_faults import explained
from nlpseq.training.distribution.processes import ALONE, Moment, Processes, ProcessLost
from nlpseq.training.length import Length, MeasuredTask
from nlpseq.training.optimisers import Updates, usual_rates
from nlpseq.training.options import TrainingOptions
from nlpseq.training.progress import Progress
from nlpseq.training.run_folder import RunFolder
from nlpseq.training.run_state import EVERYTHING, Kept, RunState, SavedState, SavedTask
from nlpseq.training.step import DeviceStep, HostStep, Outcome, Plan, Step, StepTask
from nlpseq.training.validation import ValidatedTask, Validation, ValidationResult

SAVE_SECONDS = 30.0
RETRIES = 3
NOT_FINITE = "the loss became non-finite"
HISTORY_ROWS = 1000  # training losses in the history of a run, about


class Task(StepTask, SavedTask, ValidatedTask, MeasuredTask, Protocol):
    """What the loop needs of a task."""

    depths: dict[str, int]  # of parameters below the output, for `rate_scales`; 0 for parameters not in it
    unit: str  # that losses are counted in: token or text
    criterion: str  # the name of the selection score
    worst_loss: float  # a validation loss above it, in nats, means that the run has diverged


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
        processes: Processes = ALONE,
        again: str = "--resume",
        anew: str = "--overwrite",
    ) -> None:
        """`again` is the command that continues the run, and `anew` the one that starts it in place of an earlier one.

        With `late`, the default on a GPU, the host reads a step's results late; `recorder` then records graphs."""
        self.task, self.options = task, options
        self.folder, self.processes = folder, processes
        self.again, self.anew = again, anew
        self.updates = Updates(
            options.optimiser,
            task.parameters,
            options.learning_rate,
            options.weight_decay,
            options.clip,
            task.depths,
            late=late,
        )
        self.state = RunState(task, self.updates, average=bool(options.average or options.average_after))
        self.counters = self.state.counters
        self.length = Length(task, options, self.counters, time.monotonic() if started is None else started)
        self.validation = Validation(task, self.state, folder, average_after=options.average_after)
        self.step_taker = self._step_taker(recorder)
        self.signal_number: int | None = None
        self.moment = Moment()
        self.known_good: SavedState = ({}, {})  # the last state that was validated
        self.saved_at = 0.0
        if (total := self.length.requested()) is not None:
            self.length.fix(total)

    @property
    def step(self) -> int:
        """The number of steps so far."""
        return self.counters.step

    def _step_taker(self, recorder: Recorder | None) -> Step:
        arguments = self.task, self.updates, self.state.averages, self.options.accumulate
        if not self.updates.late:
            return HostStep(*arguments, self.processes)
        return DeviceStep(*arguments, Feed(self.updates.device).place, recorder, self.processes)

    def resume(self, *, further: bool = False, same_validation: bool = True, kept: Kept = EVERYTHING) -> None:
        """Continue from the folder's resume file, to the same bits unless there is a new budget to train `further`.

        The best score so far counts only with the `same_validation` text. Raises RunError if the file is damaged, and
        OptionError if the new budget is spent already.
        """
        self.state.restore(*self.folder.load_resume(), kept)
        self.step_taker.forget()
        if not same_validation:
            self.counters.best = self.counters.best_loss = math.inf
        if further and (self.counters.total is None or self.length.requested() != self.counters.total):
            self.length.extend(str(self.folder.path))
        elif self.counters.total is not None:
            self.length.fix(self.counters.total)

    def save(self, config: Mapping[str, Any]) -> None:
        """Write the state as it is, and with it the new configuration of a run that is trained on."""
        self.folder.save_resume(*self.state.capture(), config)

    def progress(self) -> Iterator[Progress]:
        """Train to the end.

        Raises RunError if the loss stays non-finite, the GPU fails or another process ends. After a signal it saves the
        run and raises Interrupted.
        """
        try:
            with explained(self.folder.path, self.options):
                yield from self._steps()
        except ProcessLost as lost:
            if not self.processes.is_first:
                raise
            if self.known_good[0] and not self.folder.resume.exists():
                self._write(self.known_good)
            raise RunError(str(self.folder.path), str(lost), self.again) from lost
        except BaseException:
            self.folder.put_back()
            self.folder.release()
            raise

    def _steps(self) -> Iterator[Progress]:
        if self.counters.total is None and self.processes.is_first:
            if self.updates.late:
                self.task.validate()  # compiles kernels, which is not to be timed
            self.length.start_clock(self._time_validation)
        self.known_good, self.saved_at = self.state.capture(), time.monotonic()
        start = self.known_good if self.counters.total is None else None
        waiting: deque[Outcome] = deque()  # outcomes that have not been read yet
        while not self._has_ended():
            outcome, read = self._advance(waiting)
            if start is not None and self.counters.total is not None:
                untimed, start = start, None
                if self.length.must_go_back():
                    waiting.clear()
                    yield self._go_back(untimed)
                    continue
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
            averaged_from = self.counters.averaged_from
            result = self._validate() if self.length.validates(self.step) else None
            if result is not None and not result.loss <= self.task.worst_loss:
                finite = math.isfinite(result.loss)
                yield self._recover(self.step, f"the validation loss was {result.loss:.4g}" if finite else NOT_FINITE)
                continue
            yield self._record(newest, result)
            if self.counters.averaged_from != averaged_from:
                yield self._note("validations bring no better model: the weights are averaged from now on")
            self._save(now=self._has_ended(), validated=result is not None)

    def _has_ended(self) -> bool:
        counters = self.counters
        at_end = counters.total is not None and counters.step >= counters.total
        return at_end or 0 < self.options.patience <= counters.without_progress

    def _validate(self) -> ValidationResult:
        """Validate in the first process; the others take over its result."""
        result = self.validation.run() if self.processes.is_first else None
        result, counters = self.processes.from_first((result, self.counters.as_json()))
        self.counters.restore(counters)
        assert result is not None
        return result

    def _agree(self, total: int | None = None) -> None:
        self.moment = self.processes.agree(Moment(self.signal_number or 0, self._due(), total or 0))

    def _time_validation(self) -> None:
        self.task.validate()
        self.task.selection_score()

    def _go_back(self, start: SavedState) -> Progress:
        """Return to the start of a run whose steps have been timed; they depend on their number, which is now known."""
        timed, total = self.step - self.counters.begun, self.length.restarted()
        self.state.restore(*start)
        self.step_taker.forget()
        self.length.fix(total)
        return self._note(f"{timed:,} steps were timed; the run starts again, with {total:,} steps")

    def _advance(self, waiting: deque[Outcome]) -> tuple[Outcome, list[Outcome]]:
        """Take one step: its outcome, and the outcomes that were read, in order.

        Raises Interrupted if a signal came between two accumulated batches.
        """
        started = time.monotonic()
        outcome = self._take_step()
        if outcome is None:
            if not self.folder.resume.exists():
                self._write(self.known_good)
            raise Interrupted(self.signal_number or signal.SIGINT)
        waiting.append(outcome)
        read: list[Outcome] = []
        self._read(waiting, self.step_taker.lag, read)
        self.counters.seconds += time.monotonic() - started
        self._agree(self.length.time_step(usual=outcome.usual))
        if self.moment.total:
            self.length.fix(self.moment.total)
        if self.length.validates(self.step) or self.moment.save or self.moment.stop:
            self._read(waiting, 0, read)
            self.step_taker.check()
        return outcome, read

    def _read(self, waiting: deque[Outcome], lag: int, read: list[Outcome]) -> None:
        """Move outcomes from `waiting` to `read`: all but the newest `lag`, up to the first that is not finite."""
        while len(waiting) > lag and (not read or read[-1].finite):
            read.append(waiting.popleft())
            self.counters.tokens += read[-1].count

    def _save(self, *, now: bool, validated: bool) -> None:
        """Save the run, `now` or if it is time. Raises Interrupted, all saved, if a signal came.

        A failure later in the run returns to a state that was `validated`, which does not depend on the time.
        """
        if validated or self.processes.count == 1:  # a signal may have come since the step
            self._agree()
        save = now or self.moment.save or bool(self.moment.stop) or (validated and not self.folder.resume.exists())
        if save or validated:
            state = self.state.capture()
            if validated or self.options.save_every is not None:
                self.known_good = state
            if save:
                self._write(state)
                self.saved_at = time.monotonic()
        if self.moment.stop:
            raise Interrupted(self.moment.stop)

    def _write(self, state: SavedState) -> None:
        """Write a state, and a model if the run has not written one yet."""
        if self.processes.is_first:
            self.validation.save_first()
        self.folder.save_resume(*state)
        give_back()  # batches of many lengths leave holes in the heap, which would grow to several times what is used

    def _due(self) -> bool:
        if self.options.save_every is not None:
            return self.step % self.options.save_every == 0
        return time.monotonic() - self.saved_at > SAVE_SECONDS

    def _take_step(self) -> Outcome | None:
        """Take one step; None, with nothing updated, if a signal came between two accumulated batches."""
        fraction, scales = self.length.fraction(self.step), self.length.scales(self.step)
        plan = Plan(self.step, fraction, scales, self._decay())
        outcome = self.step_taker.take(plan, lambda: self.signal_number is not None)
        self.counters.step += outcome is not None
        return outcome

    def _decay(self) -> float:
        """The decay of the average in the next step: 0 before averaging begins, and then that of the mean of all steps.

        That is NT-AvSGD of Merity et al. (2018), with any optimiser.
        """
        if not self.options.average_after:
            return min(self.options.average, (self.step + 1) / (self.step + 11))
        begun = self.counters.averaged_from
        averaged = 0 if begun is None else self.step - begun
        return averaged / (averaged + 1)

    def _record(self, outcome: Outcome, result: ValidationResult | None = None) -> Progress:
        counters = self.counters
        progress = Progress(
            outcome.step,
            counters.total,
            outcome.loss,
            outcome.norm,
            outcome.count,
            counters.tokens / counters.seconds if counters.seconds else 0.0,
            self.length.seconds_left(outcome.step),
            self.length.fraction(outcome.step) * self.updates.learning_rate,
            result and result.loss,
            result and result.score,
            result is not None and result.best,
            unit=self.task.unit,
            criterion=self.task.criterion,
        )
        if outcome.step % max(1, (counters.total or 10 * HISTORY_ROWS) // HISTORY_ROWS) == 0:
            self.folder.add_to_history(progress.as_history())
        return progress

    def _recover(self, failed: int, what: str = NOT_FINITE) -> Progress:
        """Return to the last good state with half the learning rate. Raises RunError after RETRIES times."""
        scale, retries = self.counters.rate_scale, self.counters.retries + 1
        if retries > RETRIES:
            rate_now = scale * self.updates.learning_rate
            said = f"the run has diverged: {what} at step {failed}, {retries} times, last with a rate of {rate_now:g}"
            kept, hint = self._way_out()
            raise RunError(str(self.folder.path), said + kept, hint)
        self.state.restore(*self.known_good)
        self.step_taker.forget()
        self.counters.rate_scale, self.counters.retries = scale / 2, retries
        return self._note(f"{what} at step {failed}: back to step {self.step} with half the learning rate")

    def _way_out(self) -> tuple[str, str]:
        """Leave a run that has diverged in its last good state, or put back the run that it replaced.

        Returns what was kept, for the error, and its hint.
        """
        usual, _ = usual_rates(self.options.optimiser)
        lower = f"--learning-rate {min(self.updates.learning_rate / 2 ** (RETRIES + 1), usual / 2):g}"
        if self.folder.put_back():
            return "; the run from before is kept", f"{self.anew} {lower}"
        self.state.restore(*self.known_good)
        self._write(self.known_good)
        return "", f"{self.again} {lower}"

    def _note(self, note: str) -> Progress:
        rate_now = self.counters.rate_scale * self.updates.learning_rate
        return Progress(self.step, self.counters.total, math.nan, math.nan, 0, 0.0, None, rate_now, note=note)
