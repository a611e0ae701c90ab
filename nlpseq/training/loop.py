"""The one training loop, for every task.

It knows parameters, a loss as (total, count), and a number to be made small; of texts and models it knows nothing. It
is a generator of progress records: who runs it decides what is shown. Everything that the next step depends on is in
`_state`, so a run that is killed and resumed is the same run to the last bit. The price is that the state is written
every half minute, as large as the parameters three times over.
"""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nlpseq.arrays import to_numpy
from nlpseq.errors import Interrupted, RunError
from nlpseq.kernels.masks import restore_generator
from nlpseq.kernels.replay import Recorder
from nlpseq.training.data.feed import Feed
from nlpseq.training.device_faults import explained
from nlpseq.training.optimisers import Updates
from nlpseq.training.options import TrainingOptions
from nlpseq.training.run_folder import RunFolder
from nlpseq.training.schedule import Budget, rate
from nlpseq.training.step import DeviceStep, HostStep, Outcome, Plan, Step, StepTask

SAVE_SECONDS = 30.0
RETRIES = 3


class Task(StepTask, Protocol):
    """What the loop asks of a task."""

    depths: dict[str, int]  # of parameters below the output, as `rate_scales` counts them; not named: 0
    unit: str  # what losses are counted in: token, text
    criterion: str  # what selection scores are called
    most_passes: float | None  # over the corpus, in a budget of minutes; None: as many as it allows

    def steps_in_epoch(self) -> int:
        """Batches in one pass over the corpus."""

    def rate_scales(self, share: float) -> Sequence[float]:
        """What the rate is multiplied by at each depth, when `share` of the run is over."""

    def validate(self) -> float:
        """The loss per token on (some of) the validation part, in nats."""

    def selection_score(self) -> float | None:
        """What the best model is chosen by, the higher the better; None: the loss that `validate` finds."""

    def final_seconds(self, validation_seconds: float) -> float:
        """How long the evaluation after the last step will take."""

    def save(self, path: Path, step: int, loss: float) -> None:
        """Write the model."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The task's own state: its place in the data, carried hidden states."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    step: int
    total: int | None  # steps in all, None while that is being found out
    loss: float  # nats per token, of this step
    gradient_norm: float
    tokens: int  # in this step
    tokens_per_second: float
    seconds_left: float | None
    rate: float
    validation: float | None = None  # nats per token
    score: float | None = None  # that the best model is chosen by, where that is not the loss
    best: bool = False
    note: str = ""
    unit: str = "token"  # what `tokens` counts
    criterion: str = ""  # what `score` is


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
        """With `late` a step is not waited for, by default on a GPU; `recorder` then makes graphs of steps."""
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
        self.averages = {k: v.detach().clone() for k, v in task.parameters.items()} if options.average else {}
        self.feed = Feed(self.updates.device)
        self.taker = self._taker(recorder)
        self.step = 0
        self.total = self._given_total()
        self.best = math.inf  # loss, or negative selection score
        self.best_loss = math.inf  # of the model that was best
        self.without_progress = 0
        self.rate_scale = 1.0
        self.retries = 0
        self.tokens = 0
        self.seconds = 0.0  # spent in steps, in earlier sessions too
        self.signal_number: int | None = None

    def _taker(self, recorder: Recorder | None) -> Step:
        given = self.task, self.updates, self.averages, self.options.accumulate
        return DeviceStep(*given, self.feed.place, recorder) if self.updates.late else HostStep(*given)

    def _given_total(self) -> int | None:
        if self.options.steps is not None:
            return self.options.steps
        if self.options.epochs is not None:
            return max(1, math.ceil(self.options.epochs * self.task.steps_in_epoch() / self.options.accumulate))
        return None

    def _most_steps(self) -> int | None:
        if self.task.most_passes is None:
            return None
        return math.ceil(self.task.most_passes * self.task.steps_in_epoch() / self.options.accumulate)

    def resume(self) -> None:
        """Go on where the folder's resume file ends. Raises RunError if that is damaged."""
        self._restore(*self.folder.load_resume())

    def progress(self) -> Iterator[Progress]:
        """Train to the end.

        Raises RunError if the loss stays non-finite or a GPU fails, and Interrupted if a signal came, all saved.
        """
        with explained(self.folder.path, self.options):
            yield from self._steps()

    def _steps(self) -> Iterator[Progress]:
        budget = self._start_budget()
        last_state = self._state()
        saved = time.monotonic()
        waiting: deque[Outcome] = deque()  # steps that were taken and not yet looked at
        while self.total is None or self.step < self.total:
            begun = time.monotonic()
            outcome = self._take_step()
            if outcome is None:
                self.folder.save_resume(*last_state)
                raise Interrupted(self.signal_number or signal.SIGINT)
            if note := self.taker.note():
                yield self._note(note)
            waiting.append(outcome)
            seen: list[Outcome] = []
            self._look_at(waiting, self.taker.lag, seen)
            self.seconds += time.monotonic() - begun
            if budget is not None and self.total is None:
                self.total = budget.steps(self.step, self._most_steps(), usual=outcome.usual)
            if self._pauses(saved):
                self._look_at(waiting, 0, seen)
                self.taker.check()
            failed = seen.pop() if seen and not seen[-1].sound else None
            newest = seen.pop() if seen and seen[-1] is outcome else None
            for one in seen:
                yield self._record(one)
            if failed is not None:
                waiting.clear()
                yield self._recover(last_state, failed.step - 1)
            if newest is None:
                continue
            loss_now, score, best = self._validation()
            if loss_now is not None and not math.isfinite(loss_now):
                yield self._recover(last_state, self.step)
                continue
            yield self._record(newest, loss_now, score, best)
            first = best and not self.folder.resume.exists()  # whoever has a model can go on from it
            if first or self._due(saved) or self.signal_number is not None:
                last_state = self._state()
                self.folder.save_resume(*last_state)
                saved = time.monotonic()
            if self.signal_number is not None:
                raise Interrupted(self.signal_number)
            if self.options.patience and self.without_progress >= self.options.patience:
                break

    def _look_at(self, waiting: deque[Outcome], keep: int, seen: list[Outcome]) -> None:
        """Wait for the steps taken first and move them to `seen`: all but `keep`, up to one that is not finite."""
        while len(waiting) > keep and (not seen or seen[-1].sound):
            seen.append(waiting.popleft())
            self.tokens += seen[-1].count

    def _pauses(self, saved: float) -> bool:
        """Whether something follows this step that needs all numbers: a validation, a saved state, the end."""
        return self._validates() or self._due(saved) or self.signal_number is not None

    def _start_budget(self) -> Budget | None:
        if self.total is not None:
            return None
        if self.updates.late:
            self.task.validate()  # compiles kernels, which is not what a validation costs
        begun = time.monotonic()
        self.task.validate()
        self.task.selection_score()
        cost = time.monotonic() - begun
        overhead = cost * self.options.validations + self.task.final_seconds(cost)
        minutes = 5.0 if self.options.minutes is None else self.options.minutes
        return Budget(minutes * 60 - (time.monotonic() - self.started), overhead)

    def _due(self, saved: float) -> bool:
        if self.options.save_every is not None:
            return self.step % self.options.save_every == 0
        return time.monotonic() - saved > SAVE_SECONDS

    def _take_step(self) -> Outcome | None:
        """Take one step; None if a signal came between two accumulated batches, and then nothing was updated."""
        share = self.rate_scale * rate(self.step, self.total, self.options.warm_up, self.options.anneal)
        scales = self.task.rate_scales(self.step / self.total if self.total else 0.0)
        decay = min(self.options.average, (self.step + 1) / (self.step + 11))
        outcome = self.taker.take(Plan(self.step, share, scales, decay), lambda: self.signal_number is not None)
        self.step += outcome is not None
        return outcome

    def _validates(self) -> bool:
        if self.total is None:
            return False
        every = max(1, math.ceil(self.total / self.options.validations))
        return self.step % every == 0 or self.step == self.total

    def _validation(self) -> tuple[float | None, float | None, bool]:
        """At a validation the loss, the selection score if there is one, and whether the model is the best so far."""
        if not self._validates():
            return None, None, False
        with self.averaged():
            loss = self.task.validate()
            if not math.isfinite(loss):
                return loss, None, False
            score = self.task.selection_score()
            rank = loss if score is None else -score
            best = rank < self.best or (rank == self.best and loss < self.best_loss)
            if best:
                self.best_loss = loss
            if best or not self.folder.model.exists():
                self.task.save(self.folder.model, self.step, loss)
        self.best = min(self.best, rank)
        self.without_progress = 0 if best else self.without_progress + 1
        record = {"step": self.step, "valid_loss": loss, "seconds": round(self.seconds, 3), "tokens": self.tokens}
        self.folder.add_to_history(record if score is None else {**record, "valid_score": score})
        return loss, score, best

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the task's parameters are their moving averages, if there are any."""
        held = {name: self.task.parameters[name].detach().clone() for name in self.averages}
        self._assign(self.averages)
        yield
        self._assign(held)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.task.parameters[name].copy_(value)

    def _record(
        self, outcome: Outcome, validation: float | None = None, score: float | None = None, best: bool = False
    ) -> Progress:
        speed = self.tokens / self.seconds if self.seconds else 0.0
        left = None if self.total is None else (self.total - outcome.step) * self.seconds / outcome.step
        share = rate(outcome.step, self.total, self.options.warm_up, self.options.anneal)
        return Progress(
            outcome.step,
            self.total,
            outcome.loss,
            outcome.norm,
            outcome.count,
            speed,
            left,
            share * self.rate_scale * self.updates.learning_rate,
            validation,
            score,
            best,
            unit=self.task.unit,
            criterion=self.task.criterion,
        )

    def _recover(self, state: tuple[dict[str, Any], dict[str, np.ndarray]], failed: int) -> Progress:
        """Go back to the last saved state with half the learning rate; give up after a few times."""
        scale, retries = self.rate_scale, self.retries + 1
        learning_rate = scale * self.updates.learning_rate
        if retries > RETRIES:
            raise RunError(
                str(self.folder.path),
                f"the loss became non-finite at step {failed} {retries} times, last with a rate of {learning_rate:g}",
                f"--overwrite --learning-rate {min(learning_rate / 4, 1e-3):g}",
            )
        self._restore(*state)
        self.rate_scale, self.retries = scale / 2, retries
        return self._note(
            f"the loss became non-finite at step {failed}: back to step {self.step} with half the learning rate"
        )

    def _note(self, note: str) -> Progress:
        rate_now = self.rate_scale * self.updates.learning_rate
        return Progress(self.step, self.total, math.nan, math.nan, 0, 0.0, None, rate_now, note=note)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        header = {
            "step": self.step,
            "total": self.total,
            "best": self.best if math.isfinite(self.best) else None,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "without_progress": self.without_progress,
            "rate_scale": self.rate_scale,
            "retries": self.retries,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }
        arrays = {f"parameter/{k}": to_numpy(v).copy() for k, v in self.task.parameters.items()}
        arrays |= {f"average/{k}": to_numpy(v).copy() for k, v in self.averages.items()}
        arrays |= {f"optimiser/{k}": v for k, v in self.updates.arrays().items()}
        arrays |= {f"task/{k}": v for k, v in self.task.arrays().items()}
        arrays["random"] = self.task.generator.get_state().numpy().copy()
        return header, arrays

    def _restore(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        def under(prefix: str) -> dict[str, np.ndarray]:
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        self._assign({k: torch.from_numpy(v) for k, v in under("parameter/").items()})
        for name, value in under("average/").items():
            self.averages[name].copy_(torch.from_numpy(value))
        self.updates.restore(under("optimiser/"))
        self.task.restore(under("task/"))
        restore_generator(self.task.generator, arrays["random"])
        self.taker.forget()
        self.step, self.total = header["step"], header["total"]
        self.best = math.inf if header["best"] is None else header["best"]
        self.best_loss = math.inf if header["best_loss"] is None else header["best_loss"]
        self.without_progress, self.retries = header["without_progress"], header["retries"]
        self.rate_scale, self.tokens, self.seconds = header["rate_scale"], header["tokens"], header["seconds"]


@contextmanager
def stopping_on_signals(run: Run) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM let the step in hand end and the run be saved; a second signal stops at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if run.signal_number is not None:
            raise Interrupted(number)
        run.signal_number = number

    held = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
