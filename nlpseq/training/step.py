"""One step of training: losses, gradients, clipping, update, average.

On the CPU, loss and norm are read before the update, so a non-finite update is never made. A GPU would be idle while
the host reads them. So on a GPU a step is one function of tensors, which can be recorded as a graph: its settings are
an input, a non-finite update is skipped on the device, and loss and norm are read while the next step runs
(`nlpseq.kernels.replay`). The price is that a loss is known one step late.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from nlpseq.device import is_out_of_memory
from nlpseq.kernels.gpu.signals import raise_if_stuck
from nlpseq.kernels.replay import Recorder, Replay, Results
from nlpseq.kernels.transfer import Arriving
from nlpseq.training.device_faults import BatchTooLarge, largest_fitting
from nlpseq.training.distribution.processes import ALONE, Processes
from nlpseq.training.optimisers import Updates

SETTINGS = 3  # numbers in `DeviceStep.settings` before the learning rates


class StepTask(Protocol):
    """What a step needs of a task."""

    parameters: dict[str, Tensor]
    generator: torch.Generator  # of all noise
    loss_weight: float  # of the next batch: 0 in a process that has no sequence of its own in it, else 1

    def start_step(self, step: int) -> None:
        """Called before the first batch of each step with the number of earlier steps."""

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next batch as tensors on the parameters' device, and its number of units (tokens or texts).

        With several processes the batch is this process's share, and the number is that of all of them.
        """

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The total loss of a batch in nats."""

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        """The loss of the first `count` sequences of a batch, from any state: to find out if they fit the memory."""

    def settle(self) -> None:
        """Called after each backward pass."""


class Outcome:
    """The result of a step: its loss and gradient norm, which may still be on their way to the host."""

    def __init__(self, step: int, count: int, numbers: Tensor | Sequence[float], *, usual: bool = True) -> None:
        """`numbers` are the total loss in nats and the norm of all gradients.

        `usual` is whether later steps will take as long: nothing was compiled or recorded.
        """
        self.step = step  # counted from 1
        self.count = count  # units
        self.usual = usual
        self._numbers: Arriving | list[float] = Arriving(numbers) if isinstance(numbers, Tensor) else list(numbers)

    @property
    def loss(self) -> float:
        """Nats per unit. Waits for the step."""
        return self._read()[0] / self.count

    @property
    def norm(self) -> float:
        """The norm of all gradients before clipping. Waits for the step."""
        return self._read()[1]

    @property
    def finite(self) -> bool:
        """Whether loss and norm are finite; if not, nothing was updated. Waits for the step."""
        return all(map(math.isfinite, self._read()))

    def _read(self) -> list[float]:
        if isinstance(self._numbers, Arriving):
            numbers: list[float] = self._numbers.wait().tolist()
            self._numbers = numbers
        return self._numbers


@dataclass
class Plan:
    """The settings of one step."""

    step: int  # number of earlier steps
    fraction: float  # of the highest learning rate
    scales: Sequence[float]  # factors of the rate, by depth
    decay: float  # of the moving average


class Step(ABC):
    """Takes steps of a task."""

    lag: ClassVar[int]  # number of later steps that are taken before an outcome is read

    def __init__(
        self,
        task: StepTask,
        updates: Updates,
        averages: Mapping[str, Tensor],
        accumulate: int,
        processes: Processes = ALONE,
    ) -> None:
        self.task = task
        self.updates = updates
        self.averages = averages
        self.accumulate = accumulate
        self.is_alone = processes.count == 1
        self.exchange = processes.exchange(task.parameters)

    @abstractmethod
    def take(self, plan: Plan, stopped: Callable[[], bool]) -> Outcome | None:
        """Take a step; None, with nothing updated, if `stopped` returned true between two batches.

        Several processes do not stop between batches.
        """

    def batch_loss(self, batch: Sequence[Tensor], *, is_last: bool) -> Tensor:
        """The total loss of a batch in nats; after the `is_last` batch of a step gradients are summed."""
        if is_last:
            self.exchange.begin()
        loss = self.task.batch_loss(*batch)
        return loss if self.task.loss_weight == 1.0 else loss * self.task.loss_weight

    @abstractmethod
    def forget(self) -> None:
        """Called when tensors that steps use were replaced."""

    @abstractmethod
    def check(self) -> None:
        """Called before a validation or a save. Raises BackendError if the device computed something wrong."""

    def note(self) -> str | None:
        """A note to the user about how steps are taken, returned only once."""
        return None


class HostStep(Step):
    """Steps on the CPU: loss and norm are read before the update, which is made only if both are finite."""

    lag = 0

    def take(self, plan: Plan, stopped: Callable[[], bool]) -> Outcome | None:
        """As `Step.take`."""
        self.updates.clear()
        self.task.start_step(plan.step)
        total, count = 0.0, 0
        for number in range(self.accumulate):
            if number and self.is_alone and stopped():
                return None
            batch, units = self.task.next_batch()
            loss = self.batch_loss(batch, is_last=number == self.accumulate - 1)
            (loss / (units * self.accumulate)).backward()  # type: ignore[no-untyped-call]
            self.task.settle()
            total += float(loss.detach())
            count += units
        total = float(self.exchange.finish(torch.tensor(total, dtype=torch.float64)))
        outcome = Outcome(plan.step + 1, count, (total, self.updates.gradient_norm()))
        if outcome.finite:
            self.updates.step(plan.fraction, plan.scales)
            for name, average in self.averages.items():
                average.lerp_(self.task.parameters[name].detach(), 1 - plan.decay)
        return outcome

    def forget(self) -> None:
        """As `Step.forget`; nothing is kept."""

    def check(self) -> None:
        """As `Step.check`; there is nothing to check."""


class DeviceStep(Step):
    """Steps on a GPU: the host does not wait for a step, and a step of one batch is a graph."""

    lag = 1

    def __init__(
        self,
        task: StepTask,
        updates: Updates,
        averages: Mapping[str, Tensor],
        accumulate: int,
        place: Callable[[np.ndarray], Tensor],
        recorder: Recorder | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """`place` copies an array to the device; `recorder` records graphs, by default CUDA graphs on a GPU."""
        super().__init__(task, updates, averages, accumulate, processes)
        self.place = place
        self.replay = Replay(self._whole_step, [task.generator], recorder)
        self._noted = False

    def take(self, plan: Plan, stopped: Callable[[], bool]) -> Outcome | None:
        """As `Step.take`."""
        self.task.start_step(plan.step)
        if self.accumulate == 1:
            batch, count = self.task.next_batch()
            run = self.replay if self.is_alone else self._whole_step
            (numbers,) = self._fitting(run, plan, batch, self.settings(plan, count, count))
            return Outcome(plan.step + 1, count, numbers, usual=self.replay.usual)
        self.updates.clear()
        losses: list[Tensor] = []
        count = first = 0
        for number in range(self.accumulate):
            if number and self.is_alone and stopped():
                return None
            batch, units = self.task.next_batch()
            first = first or units
            settings = self.settings(plan, units, first)
            run = partial(self._backward, is_last=number == self.accumulate - 1)
            losses += self._fitting(run, plan, batch, settings)
            count += units
        return Outcome(plan.step + 1, count, self._update(torch.stack(losses).sum(), settings))

    def _fitting(self, run: Callable[..., Results], plan: Plan, batch: Sequence[Tensor], settings: Tensor) -> Results:
        """Call `run` with a batch. Raises BatchTooLarge if the device's memory is too small."""
        for with_graphs in (True, False):
            try:
                return run(*batch, settings)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            retry = with_graphs and self.replay.has_graphs  # without graphs the memory may be large enough
            self.forget()
            self.updates.clear()
            if not retry:
                break
            self.task.start_step(plan.step)
        size = batch[0].shape[-1]

        def attempt(count: int) -> None:
            self.updates.clear()
            self.task.loss_of_first(count, *batch).backward()  # type: ignore[no-untyped-call]

        raise BatchTooLarge(size, largest_fitting(size, attempt))

    def forget(self) -> None:
        """As `Step.forget`."""
        self.replay.forget()

    def check(self) -> None:
        """As `Step.check`; finds kernels whose programs gave up waiting for each other, which graphs do not report."""
        raise_if_stuck(wait=True)

    def note(self) -> str | None:
        """As `Step.note`: why steps are not graphs."""
        refusal = self.replay.refusal if self.is_alone else "gradients are summed over several processes"
        if refusal is None or self._noted:
            return None
        self._noted = True
        return f"steps are launched kernel by kernel, which is slower: {refusal}"

    def settings(self, plan: Plan, units: int, first: int) -> Tensor:
        """The settings of a step for a batch: loss factor, gradient scale, weight of the average, learning rates.

        Until they are clipped, gradients are `scale` times too large: those of the mean over all units would underflow
        in fp16. `first` is the number of units in the step's first batch.
        """
        scale = 2.0 ** math.floor(math.log2(first * self.accumulate / 2))
        rates = self.updates.rates(plan.fraction, plan.scales)
        factor = scale / (units * self.accumulate)
        return self.place(np.array([factor, scale, 1 - plan.decay, *rates], np.float32))

    def _whole_step(self, *inputs: Tensor) -> tuple[Tensor]:
        """A step of one batch; `inputs` are the batch's tensors and then the settings."""
        self.updates.clear()
        (loss,) = self._backward(*inputs, is_last=True)
        return (self._update(loss, inputs[-1]),)

    def _backward(self, *inputs: Tensor, is_last: bool) -> tuple[Tensor]:
        """The loss of a batch, whose gradients are accumulated; `inputs` are its tensors and then the settings.

        After the `is_last` batch of a step gradients are summed.
        """
        *batch, settings = inputs
        loss = self.batch_loss(batch, is_last=is_last)
        (loss * settings[0]).backward()  # type: ignore[no-untyped-call]
        self.task.settle()
        return (loss.detach(),)

    @torch.no_grad()
    def _update(self, loss: Tensor, settings: Tensor) -> Tensor:
        """Clip, update and average, unless loss or norm are not finite. Returns both as a tensor [2]."""
        loss = self.exchange.finish(loss)
        norm = self.updates.clip_on_device(settings[1])
        numbers = torch.stack([loss.float(), norm.float()])
        not_finite = ~numbers.isfinite().all()
        self.updates.step_unless(not_finite, settings[SETTINGS:])
        for name, average in self.averages.items():
            average.lerp_(self.task.parameters[name].detach(), settings[2])
        return numbers
