"""A recurrent stack with one text in it, advanced by the compiled step.

The stack holds the state and changes it in place, so that a step creates no array. Weights are not copied: the stack
holds their addresses, and the arrays themselves to keep them alive. Asking an array for its address takes longer than
a small product, so the inputs of each step are copied to an array whose address is known.

A matrix that loses nothing by it is copied to fewer bits (compact.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from nlpseq.cells import Cell, LayerWeights
from nlpseq.cells.cell import State
from nlpseq.native import extension, recurrence
from nlpseq.native.compact import Matrix, address, describe_matrix
from nlpseq.native.extension import Unavailable
from nlpseq.native.shapes import check_array, check_layer


class _Layer(ctypes.Structure):
    """`struct layer` of interface.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("cell", "gates", "hidden_size")),
        *((name, Matrix) for name in ("weight_ih", "weight_hh")),
        *((name, ctypes.c_void_p) for name in ("bias_ih", "gain_ih", "bias_hh", "gain_hh")),
        *((name, ctypes.c_void_p) for name in ("from_input", "from_hidden", "reset", "hidden", "memory")),
        ("zoneout", ctypes.c_double),
    )


class NativeStack:
    """The layers of a model and their state for one text."""

    def __init__(
        self,
        cell: Cell,
        layers: Sequence[LayerWeights],
        states: Sequence[State],
        zoneout: float,
        products: np.ndarray | None = None,
    ) -> None:
        """Start from states of [1, H]; `products` [V, G*H] are the first layer's products of all tokens.

        Raises Unavailable if the compiled step cannot run these layers.
        """
        self._library, self._kind = extension.load_library(), extension.kind()
        if cell.name not in recurrence.CELLS:
            raise Unavailable(f"it has no {cell.name} cell")
        self._state = cell.state
        self._states = [[np.array(value) for value in state] for state in states]
        self._arrays: list[np.ndarray] = []  # kept alive
        described = [
            self._describe(recurrence.CELLS.index(cell.name), cell.gates, weights, state, zoneout)
            for weights, state in zip(layers, self._states, strict=True)
        ]
        self._layers = (_Layer * len(described))(*described)
        self.hidden = self._states[-1][0]  # [1, H] of the last layer; the next step changes it
        assert layers[0].weight_ih is not None
        self._inputs = np.empty((1, layers[0].weight_ih.shape[1]), np.float32)
        self._check(cell, layers)
        self._inputs_address = self._address(self._inputs)
        self._products = None if products is None else self._address(products)
        self._row_bytes = 4 * layers[0].width
        self._rows = 0 if products is None else len(products)
        if products is not None:
            check_array("the products of tokens", products, (self._rows, layers[0].width))

    def _check(self, cell: Cell, layers: Sequence[LayerWeights]) -> None:
        """Raises ValueError unless all layers and states fit each other."""
        inputs = self._inputs.shape[1]
        for weights, state in zip(layers, self._states, strict=True):
            size = weights.width // cell.gates
            check_layer(cell, weights, inputs, size)
            if len(state) != len(cell.state._fields):  # type: ignore[attr-defined]
                raise ValueError(f"a {cell.name} layer has {len(state)} arrays of state")
            for value in state:
                check_array("the state", value, (1, size))
            inputs = size

    def _describe(
        self, cell: int, gates: int, weights: LayerWeights, state: list[np.ndarray], zoneout: float
    ) -> _Layer:
        rows, size = weights.width, state[0].shape[1]
        matrices = {name: self._matrix(getattr(weights, name)) for name in ("weight_ih", "weight_hh")}
        vectors = {name: getattr(weights, name) for name in ("bias_ih", "gain_ih", "bias_hh", "gain_hh")}
        vectors |= {name: np.empty(rows, np.float32) for name in ("from_input", "from_hidden")}
        vectors |= {"reset": np.empty(3 * size, np.float32), "hidden": state[0]}
        vectors["memory"] = state[1] if len(state) > 1 else None
        addresses = {name: None if value is None else self._address(value) for name, value in vectors.items()}
        return _Layer(cell=cell, gates=gates, hidden_size=size, zoneout=zoneout, **matrices, **addresses)

    def _matrix(self, weight: np.ndarray | None) -> Matrix:
        if weight is None:
            return Matrix()
        kept, matrix = describe_matrix(weight)
        self._arrays.extend(kept)
        return matrix

    def _address(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return address(array)

    def advance(self, token: int | None, inputs: np.ndarray | None) -> None:
        """Advance by one step: by a token, whose product is in the table, by an input [1, I], or by both.

        If both are given, their products are added, which is not possible with layer normalisation.
        """
        product = None
        if token is not None:
            if self._products is None or not 0 <= token < self._rows:
                raise IndexError(f"there are products of {self._rows} tokens, but none of token {token}")
            product = self._products + int(token) * self._row_bytes
        if inputs is not None:
            self._inputs[:] = inputs
        self._library.nlpseq_advance(
            self._kind, self._layers, len(self._layers), product, None if inputs is None else self._inputs_address
        )

    @property
    def states(self) -> list[Any]:
        """A copy of each layer's state."""
        return [self._state(*(value.copy() for value in state)) for state in self._states]


class NativeLinear:
    """A linear map of one vector, whose address never changes."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, inputs: np.ndarray) -> None:
        """weight [O, I], bias [O], inputs [1, I]. Raises Unavailable."""
        self._library, self._kind = extension.load_library(), extension.kind()
        self.outputs = np.empty((1, len(weight)), np.float32)  # the next call changes them
        check_array("the input", inputs, (1, weight.shape[1]), inputs.dtype.type)
        if bias is not None:
            check_array("the bias", bias, (len(weight),), bias.dtype.type)
        kept, self._matrix = describe_matrix(weight)
        vectors = (bias, inputs, self.outputs)
        self._arrays = (*kept, *vectors)
        self._arguments = [
            ctypes.addressof(self._matrix),
            *(None if vector is None else address(vector) for vector in vectors),
        ]

    def apply(self) -> None:
        """Compute the outputs [1, O] of the present inputs."""
        self._library.nlpseq_linear(self._kind, *self._arguments)

    def log_softmax(self) -> np.ndarray:
        """The log-probabilities [1, O] of the present inputs in nats, as a new array."""
        self.apply()
        self._library.nlpseq_log_softmax(self._kind, self._arguments[-1], len(self.outputs[0]))
        return self.outputs.copy()
