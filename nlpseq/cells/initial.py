"""Initial values of weights, drawn with NumPy so that a seed means the same on every device.

The matrix of each gate is drawn separately: an orthogonal block stays orthogonal, and the fans of Xavier and He are
those of one gate. Drawing on the host costs a few milliseconds for models of this size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nlpseq.cells.cell import Cell

Generator = np.random.Generator
Matrix = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]


def orthogonal(generator: Generator, rows: int, columns: int) -> Matrix:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al., 2014)."""
    drawn = generator.standard_normal((max(rows, columns), min(rows, columns)))
    basis, upper = np.linalg.qr(drawn)
    basis = basis * np.sign(np.diag(upper))
    return basis if rows >= columns else basis.T


def xavier(generator: Generator, rows: int, columns: int) -> Matrix:
    """Uniform, keeping the variance of activations and gradients alike (Glorot and Bengio, 2010)."""
    bound = np.sqrt(6.0 / (rows + columns))
    return generator.uniform(-bound, bound, (rows, columns))


def he(generator: Generator, rows: int, columns: int) -> Matrix:
    """Normal, keeping the variance through rectifiers (He et al., 2015)."""
    values: Matrix = generator.standard_normal((rows, columns)) * np.sqrt(2.0 / columns)
    return values


def normal(generator: Generator, rows: int, columns: int) -> Matrix:
    """Normal with variance 1 / columns (LeCun et al., 1998)."""
    values: Matrix = generator.standard_normal((rows, columns)) / np.sqrt(columns)
    return values


def uniform(generator: Generator, rows: int, columns: int) -> Matrix:
    """Uniform within 1 / sqrt(rows), which for recurrent weights is torch.nn's own choice."""
    bound = 1.0 / np.sqrt(rows)
    return generator.uniform(-bound, bound, (rows, columns))


INITIAL_VALUES: dict[str, Callable[[Generator, int, int], Matrix]] = {
    "orthogonal": orthogonal,
    "xavier": xavier,
    "he": he,
    "normal": normal,
    "uniform": uniform,
}


def layer_shapes(
    cell: Cell, input_size: int, hidden_size: int, *, layer_normalisation: bool = False
) -> dict[str, tuple[int, ...]]:
    """The shapes of one layer's weights in one direction, by the names of `LayerWeights`."""
    width = cell.gates * hidden_size
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (width, input_size), "weight_hh": (width, hidden_size)}
    shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
    if layer_normalisation:
        shapes |= {"gain_ih": (width,), "gain_hh": (width,)}
    if cell.peepholes:
        shapes["peepholes"] = (cell.peepholes, hidden_size)
    return {name: shape for name, shape in shapes.items() if not (cell.parallel and name.endswith("_hh"))}


def layer_values(
    cell: Cell,
    input_size: int,
    hidden_size: int,
    generator: Generator,
    *,
    initial: str = "orthogonal",
    layer_normalisation: bool = False,
) -> dict[str, Matrix]:
    """Initial weights of one layer in one direction, by the names of `LayerWeights`, as float32.

    `initial` names the distribution of the recurrent weights. The input weights have the same distribution, or `normal`
    if it is `orthogonal`. Biases are the cell's `initial_biases`, by default zero. Peepholes are zero.
    """
    shapes = layer_shapes(cell, input_size, hidden_size, layer_normalisation=layer_normalisation)
    return {name: initial_value(cell, name, shape, generator, initial) for name, shape in shapes.items()}


def initial_value(cell: Cell, name: str, shape: tuple[int, ...], generator: Generator, initial: str) -> Matrix:
    """The initial value of one of `layer_shapes`, as `layer_values` draws it."""
    value: Matrix
    if name.startswith("weight"):
        draw = normal if name == "weight_ih" and initial == "orthogonal" else INITIAL_VALUES[initial]
        value = np.concatenate([draw(generator, shape[0] // cell.gates, shape[1]) for _ in range(cell.gates)])
    elif name.startswith("gain"):
        value = np.ones(shape)
    elif name == "bias_ih" and cell.initial_biases:
        value = np.repeat(cell.initial_biases, shape[0] // cell.gates)
    else:
        value = np.zeros(shape)
    return value.astype(np.float32)


def log_frequencies(frequencies: Matrix | None, size: int) -> Matrix:
    """The initial bias [size] of an output layer: logarithms of smoothed frequencies, or zeros, as float32."""
    if frequencies is None:
        return np.zeros(size, np.float32)
    smoothed = frequencies.astype(np.float64) + 0.1
    logarithms: Matrix = np.log(smoothed / smoothed.sum()).astype(np.float32)
    return logarithms
