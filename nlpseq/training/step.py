"""One step of training: losses, gradients, clipping, update, average.

The host's way reads loss and norm before it updates, so an update that is not finite is never made. A GPU would stand
still while the host reads. So on a GPU a step is one function of tensors, which can be a graph: the numbers that steer
it are an input, an update that is not finite is skipped on the device, and loss and norm are read while the next step
runs (`nlpseq.kernels.replay`). The price of the second way is that a loss is known one step late.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from nlpseq.device import is_out_of_memory
from nlpseq.kernels.gpu.signals import raise_if_stuck
from nlpseq.kernels.replay import Recorder, Replay, Results
from nlpseq.kernels.transfer import Arriving
from nlpseq.training.device_faults import BatchTooLarge, largest_fitting
from nlpseq.training.optimisers import Updates

STEERING = 3  # numbers before the learning rates: those of the loss, the gradients and the average


class StepTask(Protocol):
    """What a step asks of a task."""

    parameters: dict[str, Tensor]
    generator: torch.Generator  # of all noise

    def start_step(self, step: int) -> None:
        """Called before the first batch of each step, with the number of steps before it."""

    def next_batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The next batch as tensors on the parameters' device, and its count of units."""

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """A batch's loss, the total in nats."""

    def loss_of_first(self, count: int, *batch: Tensor) -> Tensor:
        """The loss of the first `count` sequences of a batch, whatever state is carried: to see if they fit."""

    def settle(self) -> None:
        """Called after each backward pass."""


class Outcome:
    """What a step has come to: its loss and gradient norm, which may still be on their way to the host."""

    def __init__(self, step: int, count: int, numbers: Tensor | Sequence[float], *, usual: bool = True) -> None:
        """`numbers` are the total loss in nats and the norm of all gradients.

        `usual` is whether the step took as long as others like it will: nothing was compiled or recorded.
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
    def sound(self) -> bool:
        """Whether loss and norm are finite, without which nothing was updated. Waits for the step."""
        return all(map(math.isfinite, self._read()))

    def _read(self) -> list[float]:
        if isinstance(self._numbers, Arriving):
            numbers: list[float] = self._numbers.wait().tolist()
            self._numbers = numbers
        return self._numbers


@dataclass
class Plan:
    """What steers one step."""

    step: int  # steps before it
    share: float  # of the highest learning rate
    scales: Sequence[float]  # of the rate, by depth
    decay: float  # of the average


class Step(ABC):
    """Takes steps of a task."""

    lag: ClassVar[int]  # steps after which an outcome is read

    def __init__(self, task: StepTask, updates: Updates, averages: Mapping[str, Tensor], accumulate: int) -> None:
        self.task = task
        self.updates = updates
        self.averages = averages
        self.accumulate = accumulate

    @abstractmethod
    def take(self, plan: Plan, stopped: Callable[[], bool]) -> Outcome | None:
        """Take a step; None if `stopped` said so between two batches. Then nothing was updated."""

    @abstractmethod
    def forget(self) -> None:
        """Called when tensors that a step uses were replaced."""

    @abstractmethod
    def check(self) -> None:
        """Called before anything is judged or saved. Raises BackendError if the device computed something wrong."""

    def note(self) -> str | None:
        """What the user should know of how steps are taken, once."""
        return None


class HostStep(Step):
    """The way of the CPU: loss and norm are read before the update, which is made only if both are finite."""

    lag = 0

    def take(self, plan: Plan, stopped: Callable[[], bool]) -> Outcome | None:
        """As `Step.take`."""
        self.updates.clear()
        self.task.start_step(plan.step)
        total, count = 0.0, 0
        for number in range(self.accumulate):
            if number and stopped():
                return None
            batch, units = self.task.next_batch()
            loss = self.task.batch_loss(*batch)
            (loss / (units * self.accumulate)).backward()  # type: ignore[no-untyped-call]
            self.task.settle()
            total += float(loss.detach())
            count += units
        outcome = Outcome(plan.step + 1, count, (total, self.updates.gradient_norm()))
        if outcome.sound:
            self.updates.step(plan.share, plan.scales)
            for name, average in self.averages.items():
                average.lerp_(self.task.parameters[name].detach(), 1 - plan.decay)
        return outcome

    def forget(self) -> None:
        """As `Step.forget`: nothing is kept."""

    def check(self) -> None:
        """As `Step.check`: there is nothing to check."""


class DeviceStep(Step):
    """The way of a GPU: nothing in a step waits for it, and a step of one batch is a graph."""

    lag = 1

    def __init__(
        self,
        task: StepTask,
        updates: Updates,
        averages: Mapping[str, Tensor],
        accumulate: int,
        place: Callable[[np.ndarray], Tensor],
        recorder: Recorder | None = None,
    ) -> None:
        """`place` takes an array to the device; `recorder` makes graphs, by default CUDA's on a GPU."""
        super().__init__(task, updates, averages, accumulate)
        self.place = place
        self.replay = Replay(self._whole, [task.generator], recorder)
        self._said = False

    def take(self, plan: Plan, stopped: Callable[[], bool]) -> Outcome | None:
        """As `Step.take`."""
        self.task.start_step(plan.step)
        if self.accumulate == 1:
            batch, count = self.task.next_batch()
            (numbers,) = self._fitting(self.replay, plan, batch, self.steering(plan, count, count))
            return Outcome(plan.step + 1, count, numbers, usual=self.replay.usual)
        self.updates.clear()
        losses: list[Tensor] = []
        count = first = 0
        for number in range(self.accumulate):
            if number and stopped():
                return None
            batch, units = self.task.next_batch()
            first = first or units
            steering = self.steering(plan, units, first)
            losses += self._fitting(self._backward, plan, batch, steering)
            count += units
        return Outcome(plan.step + 1, count, self._update(torch.stack(losses).sum(), steering))

    def _fitting(self, run: Callable[..., Results], plan: Plan, batch: Sequence[Tensor], steering: Tensor) -> Results:
        """What `run` makes of a batch. Raises BatchTooLarge if the device's memory is too small."""
        for graphs in (True, False):
            try:
                return run(*batch, steering)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            again = graphs and self.replay.has_graphs  # whose memory may be what is missing
            self.forget()
            self.updates.clear()
            if not again:
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
        """As `Step.check`: whether programs of a kernel gave up waiting for each other, which graphs cannot say."""
        raise_if_stuck(wait=True)

    def note(self) -> str | None:
        """As `Step.note`: why steps are no graphs."""
        if self.replay.refusal is None or self._said:
            return None
        self._said = True
        return f"steps are launched kernel by kernel, which is slower: {self.replay.refusal}"

    def steering(self, plan: Plan, units: int, first: int) -> Tensor:
        """What a batch's loss is multiplied by, what gradients are too large by then, and so on.

        Gradients are those of about half a unit until they are clipped, for those of a mean over all units would be
        lost in fp16. `first` are the units of the step's first batch.
        """
        scale = 2.0 ** math.floor(math.log2(first * self.accumulate / 2))
        rates = self.updates.rates(plan.share, plan.scales)
        factor = scale / (units * self.accumulate)
        return self.place(np.array([factor, scale, 1 - plan.decay, *rates], np.float32))

    def _whole(self, *inputs: Tensor) -> tuple[Tensor]:
        """A step of one batch: its tensors, and at last what steers it."""
        self.updates.clear()
        (loss,) = self._backward(*inputs)
        return (self._update(loss, inputs[-1]),)

    def _backward(self, *inputs: Tensor) -> tuple[Tensor]:
        """The loss of a batch's tensors, given together with what steers the step, whose gradients are added up."""
        *batch, steering = inputs
        loss = self.task.batch_loss(*batch)
        (loss * steering[0]).backward()  # type: ignore[no-untyped-call]
        self.task.settle()
        return (loss.detach(),)

    @torch.no_grad()
    def _update(self, loss: Tensor, steering: Tensor) -> Tensor:
        """Clip, update and average, unless loss or norm are not finite; both as a tensor [2]."""
        norm = self.updates.clip_on_device(steering[1])
        numbers = torch.stack([loss.float(), norm.float()])
        unsound = ~numbers.isfinite().all()
        self.updates.step_unless(unsound, steering[STEERING:])
        for name, average in self.averages.items():
            average.lerp_(self.task.parameters[name].detach(), steering[2])
        return numbers
