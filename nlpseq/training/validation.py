"""Validation during a run: the loss on the validation part, and the choice of the best model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple, Protocol

from nlpseq.training.run_folder import RunFolder
from nlpseq.training.run_state import RunState


class ValidatedTask(Protocol):
    """What validation needs of a task."""

    worst_loss: float  # a higher loss, or one that is not finite, means that the run has diverged

    def validate(self) -> float:
        """The loss per token on all or some of the validation part, in nats."""

    def selection_score(self) -> float | None:
        """The score that the best model is chosen by, higher being better; None to choose by the loss of `validate`."""

    def save(self, path: Path, step: int, loss: float) -> None:
        """Write the model."""


class ValidationResult(NamedTuple):
    """The result of one validation."""

    loss: float  # nats per token
    score: float | None  # that the best model is chosen by, unless by the loss
    best: bool  # whether this is the best model so far


class Validation:
    """Validates a run's model with its averaged parameters, and saves the best one in the run folder."""

    def __init__(self, task: ValidatedTask, state: RunState, folder: RunFolder, *, average_after: int = 0) -> None:
        """After `average_after` validations without a better model, the weights are averaged; 0: never."""
        self.task = task
        self.state = state
        self.folder = folder
        self.average_after = average_after
        self.has_model = False  # whether the folder's model is this run's

    def save_first(self) -> None:
        """Write the model unless the run has written one already."""
        if not (self.has_model or math.isfinite(self.state.counters.best)):
            with self.state.averaged():
                self.task.save(self.folder.model, self.state.counters.step, math.nan)
            self.has_model = True

    def run(self) -> ValidationResult:
        """Validate the model. If the loss is that of a run that has diverged, nothing is saved or counted."""
        counters = self.state.counters
        with self.state.averaged():
            loss = self.task.validate()
            if not loss <= self.task.worst_loss:
                return ValidationResult(loss, None, best=False)
            score = self.task.selection_score()
            rank = loss if score is None else -score
            best = rank < counters.best or (rank == counters.best and loss < counters.best_loss)
            if best:
                counters.best_loss, counters.best_step = loss, counters.step
            if best:
                self.task.save(self.folder.model, counters.step, loss)
                self.has_model = True
        counters.best = min(counters.best, rank)
        counters.without_progress = 0 if best else counters.without_progress + 1
        if counters.averaged_from is None and 0 < self.average_after <= counters.without_progress:
            counters.averaged_from = counters.step
        record = {
            "step": counters.step,
            "valid_loss": loss,
            "seconds": round(counters.seconds, 3),
            "tokens": counters.tokens,
        }
        self.folder.add_to_history(record if score is None else {**record, "valid_score": score})
        return ValidationResult(loss, score, best)
