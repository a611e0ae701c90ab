"""Stacked layers of a recurrent cell, in one direction or both.

The function that runs one layer over time is an argument, so the same code serves the plain loop, the fast kernels and
every device. Noise, the dropouts of training, is an object with four methods; without it nothing is dropped.

The two directions of a layer have separate weights, and their outputs are concatenated. They run one after the other,
unless the function that runs a layer has a method `run_directions`, which is called like the function of that name. The
noise of both directions is drawn first, so that it is the same in either case; the cost is that it is held for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from nlpseq.arrays import Array
from nlpseq.cells import Cell, LayerWeights, Unroll, run_directions, unroll
from nlpseq.cells.cell import State
from nlpseq.cells.initial import initial_value, layer_shapes, normal
from nlpseq.cells.unroll import zero_state
from nlpseq.models.options import RecurrentOptions

Layer = Sequence[LayerWeights]  # one direction, or two: forwards and backwards
StackState = tuple[tuple[State, ...], ...]  # by layer, then by direction
Shapes = dict[str, tuple[int, ...]]  # of weights, by name
Draw = Callable[[np.random.Generator, int, int], np.ndarray]  # from a generator, rows and columns


class Noise(Protocol):
    """The dropouts of training. New masks are drawn for every batch."""

    drops_inputs: bool

    def inputs(self, embedded: Array, ids: Array) -> Array:
        """Dropout of embedded tokens [T, B, E]: of whole tokens, and of units."""

    def ngrams(self, table: Array, shape: tuple[int, int, int]) -> Array | None:
        """Factors [K, T, B] of the vectors of K n-grams that end in each token, or None if none is dropped."""

    def between(self, outputs: Array) -> Array:
        """Locked dropout of a layer's outputs [T, B, H]: one mask [B, H] for all steps (Gal and Ghahramani, 2016)."""

    def recurrent(self, weight: Array) -> Array:
        """Weight drop of recurrent weights [G*H, H] (Wan et al., 2013; Merity et al., 2018)."""

    def zoneout_masks(self, shape: tuple[int, int, int]) -> Array | None:
        """Where zoneout keeps the old state, [T, B, H] of 0 and 1, or None if there is no zoneout."""


def stack_shapes(
    options: RecurrentOptions, prefix: str, layers: int, inputs: int, *, bidirectional: bool = False
) -> Shapes:
    """The shapes of the weights that `read_layers` reads; the first layer reads vectors of `inputs` numbers."""
    assert options.hidden_size is not None
    suffixes = ("", "_reverse") if bidirectional else ("",)
    shapes: Shapes = {}
    for layer in range(layers):
        read = inputs if layer == 0 else options.hidden_size * len(suffixes)
        normalised = options.layer_normalisation
        own = layer_shapes(options.recurrent_cell, read, options.hidden_size, layer_normalisation=normalised)
        shapes |= {f"{prefix}.{layer}.{name}{suffix}": shape for suffix in suffixes for name, shape in own.items()}
    return shapes


def initial_values(
    shapes: Shapes, options: RecurrentOptions, generator: np.random.Generator, others: Mapping[str, Draw]
) -> dict[str, np.ndarray]:
    """Initial weights of these shapes, as float32, drawn in their order.

    Those of layers are what the cell and the options say. `others` draw single matrices by name; without one a matrix
    is normal. Vectors are zero.
    """
    values: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        field = name.rsplit(".", 1)[-1].removesuffix("_reverse")
        if field in LayerWeights._fields:
            values[name] = initial_value(options.recurrent_cell, field, shape, generator, options.initial)
        elif len(shape) == 1:
            values[name] = np.zeros(shape, np.float32)
        else:
            values[name] = others.get(name, normal)(generator, *shape).astype(np.float32)
    return values


def zero_values(generator: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Zeros, for `initial_values`."""
    return np.zeros((rows, columns), np.float32)


def read_layers(weights: Mapping[str, Array], layers: int, prefix: str = "layers") -> list[Layer]:
    """The layers' weights from a model's dict: names are PREFIX.LAYER.FIELD, with `_reverse` for backwards."""

    def read(layer: int, suffix: str) -> LayerWeights:
        return LayerWeights(*(weights.get(f"{prefix}.{layer}.{field}{suffix}") for field in LayerWeights._fields))

    directions = [""] if f"{prefix}.0.weight_ih_reverse" not in weights else ["", "_reverse"]
    return [[read(layer, suffix) for suffix in directions] for layer in range(layers)]


def start_state(cell: Cell, layers: Sequence[Layer], batch: int) -> StackState:
    """The initial state of all sequences: zeros."""
    return tuple(
        tuple(zero_state(cell, batch, direction.width // cell.gates, direction.weight_ih) for direction in layer)
        for layer in layers
    )


def run_stack(
    cell: Cell,
    layers: Sequence[Layer],
    inputs: Array,  # [T, B, I]
    state: StackState,
    lengths: Array | None = None,  # [B]
    *,
    zoneout: float = 0.0,
    run_layer: Unroll = unroll,
    noise: Noise | None = None,
    **settings: Any,
) -> tuple[Array, StackState]:
    """Run all layers over time: outputs [T, B, H], or [T, B, 2H] in both directions, and the last state.

    `settings` are passed on to `run_layer`.
    """
    states: list[tuple[State, ...]] = []
    for depth, (layer, before) in enumerate(zip(layers, state, strict=True)):
        if depth and noise is not None:
            inputs = noise.between(inputs)
        directions: list[LayerWeights] = []
        masks: list[Array | None] = []
        for weights, start in zip(layer, before, strict=True):
            if noise is not None and weights.weight_hh is not None:
                weights = weights._replace(weight_hh=noise.recurrent(weights.weight_hh))
            directions.append(weights)
            shape = (inputs.shape[0], *start.hidden.shape)
            masks.append(None if noise is None or not zoneout else noise.zoneout_masks(shape))
        run = getattr(run_layer, "run_directions", None) if len(layer) > 1 else None
        inputs, after = (run or partial(run_directions, run_layer))(
            cell, directions, inputs, before, lengths, zoneout=zoneout, masks=masks, **settings
        )
        states.append(tuple(after))
    return inputs, tuple(states)
