"""Sums of gradients over the processes of one machine, in memory that they share.

Each process writes its gradients, adds up its slice of those of all, and reads the result. A sparse gradient is its
rows, which every process adds up for itself. For the processes of one machine this takes a fraction of the time in
which gloo sends the gradients through the system's network. The price is twice the memory of the gradients in each
process, and that no sum is begun before the backward pass has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nlpseq.training.distribution.shared_memory import MOST_NUMBERS, SharedMemory, open_shared

if TYPE_CHECKING:
    from nlpseq.training.distribution.group import Group

FEWEST_ROWS = 8192  # of a table, that there is room for


class Table:
    """The room of each process for the rows of a sparse gradient."""

    def __init__(self, memory: SharedMemory, start: int, stride: int, parameter: Tensor) -> None:
        """The room of process n begins at `start` + n * `stride`."""
        self.rows = most_rows(parameter)
        size = parameter.shape[1]
        starts = [start + index * stride for index in range(memory.count)]
        self.indices = [torch.from_numpy(memory.view(begin, np.int64, [self.rows])) for begin in starts]
        self.values = [
            torch.from_numpy(memory.view(begin + 8 * self.rows, np.float32, [self.rows, size])) for begin in starts
        ]

    def write(self, index: int, gradient: Tensor) -> None:
        """Write a process's gradient, unless it has too many rows."""
        if (count := gradient.values().shape[0]) <= self.rows:
            self.indices[index][:count] = gradient.indices()[0]
            self.values[index][:count] = gradient.values()

    def summed(self, counts: list[int], shape: torch.Size) -> Tensor:
        """The sum of the gradients of all processes, with these numbers of rows."""
        indices = [own[:count] for own, count in zip(self.indices, counts, strict=True)]
        rows, places = torch.unique(torch.cat(indices), return_inverse=True)
        values = torch.zeros(len(rows), shape[1])
        for own, count, place in zip(self.values, counts, places.split(counts), strict=True):
            values.index_add_(0, place, own[:count])
        return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)


def most_rows(parameter: Tensor) -> int:
    """The number of rows of a table's gradient that there is room for."""
    return min(len(parameter), max(FEWEST_ROWS, len(parameter) // 8))


class LocalExchange:
    """The sums of the gradients of some parameters: an `Exchange`."""

    def __init__(self, parameters: Mapping[str, Tensor], group: Group, memory: SharedMemory) -> None:
        """All parameters have a gradient, and `memory` has `room` for them."""
        self.parameters = parameters
        self.group = group
        self.memory = memory
        dense, sparse = kinds(parameters)
        numbers = sum(parameters[name].numel() for name in dense)
        stride = room_each(parameters)
        places = [memory.view(index * stride, np.float32, [numbers]) for index in range(memory.count)]
        self.places = [torch.from_numpy(place) for place in places]
        self.result = torch.from_numpy(memory.view(memory.count * stride, np.float32, [numbers]))
        self.dense: list[tuple[str, slice]] = []
        start = 0
        for name in dense:
            self.dense.append((name, slice(start, start + parameters[name].numel())))
            start += parameters[name].numel()
        self.tables: dict[str, Table] = {}
        start = _even(4 * numbers)
        for name in sparse:
            self.tables[name] = Table(memory, start, stride, parameters[name])
            start += _table_room(parameters[name])

    def begin(self) -> None:
        """As `Exchange.begin`: nothing is sent before the backward pass has ended."""

    @torch.no_grad()
    def finish(self, loss: Tensor) -> Tensor:
        """As `Exchange.finish`."""
        own = self.memory.index
        for name, span in self.dense:
            self.places[own][span] = self._gradient(name).flatten()
        gradients = {name: self._gradient(name).coalesce() for name in self.tables}
        for name, gradient in gradients.items():
            self.tables[name].write(own, gradient)
        told = self.memory.tell([float(loss), *(gradient.values().shape[0] for gradient in gradients.values())])
        self._add_slices()
        for number, (name, table) in enumerate(self.tables.items(), 1):
            counts = [int(count) for count in told[:, number]]
            if max(counts) <= table.rows:
                self.parameters[name].grad = table.summed(counts, gradients[name].shape)
            else:
                self.parameters[name].grad = gradients[name]
                self.group.wait(self.group.start_sum(gradients[name]))
        self.memory.meet()
        for name, span in self.dense:
            self._gradient(name).copy_(self.result[span].view_as(self.parameters[name]))
        return torch.tensor(told[:, 0].sum(), dtype=loss.dtype)

    def _gradient(self, name: str) -> Tensor:
        gradient = self.parameters[name].grad
        assert gradient is not None
        return gradient

    def _add_slices(self) -> None:
        """Add up this process's slice of all dense gradients, in the order of the processes."""
        count, numbers = self.memory.count, len(self.result)
        own = slice(numbers * self.memory.index // count, numbers * (self.memory.index + 1) // count)
        torch.add(self.places[0][own], self.places[1][own], out=self.result[own])
        for place in self.places[2:]:
            self.result[own] += place[own]


def kinds(parameters: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """The names of the parameters whose present gradients are dense, and of those whose are sparse."""
    sparse = [name for name, value in parameters.items() if value.grad is not None and value.grad.is_sparse]
    return [name for name in parameters if name not in sparse], sparse


def _even(size: int) -> int:
    return -(-size // 64) * 64


def _table_room(parameter: Tensor) -> int:
    return _even(most_rows(parameter) * (8 + 4 * parameter.shape[1]))


def room_each(parameters: Mapping[str, Tensor]) -> int:
    """The bytes that a process needs for its gradients."""
    dense, sparse = kinds(parameters)
    tables = sum(_table_room(parameters[name]) for name in sparse)
    return _even(4 * sum(parameters[name].numel() for name in dense)) + tables


def open_local(parameters: Mapping[str, Tensor], group: Group) -> LocalExchange | None:
    """Sums in shared memory for parameters with their first gradients, or None if they cannot be shared."""
    dense, sparse = kinds(parameters)
    fits = all(value.grad is not None and value.grad.dtype == torch.float32 for value in parameters.values())
    if not fits or len(sparse) >= MOST_NUMBERS:
        return None
    numbers = sum(parameters[name].numel() for name in dense)
    memory = open_shared(group, group.count * room_each(parameters) + 4 * numbers, group.explain)
    return None if memory is None else LocalExchange(parameters, group, memory)
