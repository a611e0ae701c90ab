"""The record that describes a cell, and the weights of one layer.

A cell is a record of functions, not a class to inherit from: a new cell is a file with a step, and one line in the
table of `nlpseq.cells`. State is always a NamedTuple whose first field is `hidden`, even if it is the only field, so
that callers treat all cells alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from nlpseq.arrays import Array

State = Any  # a NamedTuple of arrays [B, H]; its first field is `hidden`


class LayerWeights(NamedTuple):
    """The weights of one layer in one direction, named and shaped as in torch.nn.

    If `weight_ih` is None, the layer's inputs already are the input's product [T, B, G*H], bias included.
    """

    weight_ih: Array | None  # [G*H, I]
    weight_hh: Array  # [G*H, H]; None in a parallel cell, like every field that ends in _hh
    bias_ih: Array | None  # [G*H]
    bias_hh: Array  # [G*H]
    gain_ih: Array | None = None  # [G*H], layer normalisation of the input's product
    gain_hh: Array | None = None  # [G*H], layer normalisation of the hidden state's product
    peepholes: Array | None = None  # [P, H], if the cell has peepholes

    @property
    def width(self) -> int:
        """G*H."""
        return len(self.weight_hh if self.weight_ih is None else self.weight_ih)


@dataclass(frozen=True)
class Cell:
    """One recurrent cell.

    `step(from_input [B, G*H], from_hidden [B, G*H], state) -> state` advances by one time step.

    `reset(from_input, from_hidden, state) -> [B, H]` is for cells whose last block reads a gated hidden state instead
    of the hidden state itself. The caller multiplies the result with the last block of `weight_hh`, replaces that
    block of `from_hidden` with the product, and then calls `step`.

    The gates of a `parallel` cell read the input only: it has no recurrent weights, and `from_hidden` is None.

    Peepholes are weights between a unit's own state and its gates, P of them for each unit. `step` of a cell that has
    them takes a fourth argument, their array [P, H].
    """

    name: str
    gates: int
    state: type  # the NamedTuple of its state
    step: Callable[..., State]
    reset: Callable[[Array, Array, State], Array] | None = None
    parallel: bool = False
    initial_biases: tuple[float, ...] = ()  # one for each block; empty: all zero
    peepholes: int = 0  # P
