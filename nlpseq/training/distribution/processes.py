"""What a run needs of the processes that train it, and a run in one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import NlpseqError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")


class ProcessLost(Exception):
    """Another process of the run has ended before the run did."""


@dataclass(frozen=True)
class Share:
    """The columns of a batch that a process trains on: every `count`th, from `index`."""

    total: int  # columns (sequences) in the batch of all processes
    index: int = 0
    count: int = 1

    @property
    def columns(self) -> slice:
        """The process's columns; of a batch with too few columns for all, the first one."""
        return slice(self.index, None, self.count) if self.index < self.total else slice(0, 1)

    @property
    def weight(self) -> float:
        """The factor of the loss: 0 if the batch has too few columns for this process, else 1."""
        return float(self.index < self.total)

    def of(self, tensor: Tensor, axis: int) -> Tensor:
        """The process's columns of a tensor that has `total` of them along `axis`."""
        return tensor[(slice(None),) * axis + (self.columns,)]


class Moment(NamedTuple):
    """What all processes must do alike after a step."""

    stop: int = 0  # the number of a signal that ends the run, or 0
    save: bool = False
    total: int = 0  # the number of steps of the run if it became known, or 0


class Exchange(Protocol):
    """Sums over all processes."""

    def begin(self) -> None:
        """Called before the last backward pass of a step."""

    def finish(self, loss: Tensor) -> Tensor:
        """Replace each gradient by its sum over all processes; the sum of the losses, a scalar tensor."""


class _NoExchange:
    """The sums of one process."""

    def begin(self) -> None:
        """As `Exchange.begin`."""

    def finish(self, loss: Tensor) -> Tensor:
        """As `Exchange.finish`."""
        return loss


class Processes:
    """The processes of a run, seen from one of them; this class is a run in one process.

    All methods but `share` are called by all processes alike, and raise ProcessLost if one has ended.
    """

    index = 0  # of this process
    count = 1
    on_one_machine = False  # and several

    @property
    def is_first(self) -> bool:
        """Whether this process reads the corpus, validates, writes and shows."""
        return self.index == 0

    def share(self, total: int) -> Share:
        """The columns of this process in a batch of `total`."""
        return Share(total, self.index, self.count)

    def need(self, batch_size: int) -> None:
        """Raises OptionError if a batch has fewer streams than there are processes."""
        if batch_size < self.count:
            raise too_few_streams(batch_size, self.count)

    def agree(self, moment: Moment) -> Moment:
        """What to do after a step: a signal to any process counts, and else what the first process says."""
        return moment

    def from_first(self, value: Value) -> Value:
        """The value that the first process passes; it may take any time."""
        return value

    def confirm(self, error: NlpseqError | None) -> None:
        """Raises the first error that a process passes; the others end without a message."""
        if error is not None:
            raise error

    def copy_from_first(self, tensors: Mapping[str, Tensor]) -> None:
        """Set tensors to those of the first process."""

    def sum(self, array: NDArray[Any]) -> NDArray[Any]:
        """The sum of an array over all processes."""
        return array

    def wait_for_end(self) -> None:
        """Wait until the first process has written its model."""

    def exchange(self, parameters: Mapping[str, Tensor]) -> Exchange:
        """Sums of the gradients of `parameters`."""
        return _NoExchange()

    def whole(self, columns: NDArray[Any], share: Share, axis: int) -> NDArray[Any]:
        """An array of all columns along `axis`, from the columns of each process."""
        if share.count == 1:
            return columns
        shape = list(columns.shape)
        shape[axis] = share.total
        array = np.zeros(shape, columns.dtype)
        array[(slice(None),) * axis + (share.columns,)] = columns
        return self.sum(array)


ALONE = Processes()


def too_few_streams(batch_size: int, processes: int) -> OptionError:
    """The error if a batch has fewer streams than there are processes."""
    what = f"is less than the number of processes, {processes}: each needs a stream of its own, was {batch_size}"
    return OptionError("batch_size", what, f"--processes {batch_size}, or --batch-size {processes}")
