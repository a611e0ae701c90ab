"""Shapes of recurrent layers and of matrix products: the usual ones, and three numbers as text (`35x20x200`).

The command line shows the usual shapes in its help, so torch is not imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from nlpseq.errors import OptionError

MOST_VALUES = 1 << 26  # in a layer's inputs or in one matrix: 256 MB in fp32
MOST_UNITS = 8192


class Shape(NamedTuple):
    """A layer's work: steps, sequences, and units; the input has as many units as the layer."""

    time: int
    batch: int
    hidden_size: int


class ProductShape(NamedTuple):
    """A product's work: rows [R, I] times a matrix [O, I]."""

    rows: int
    inputs: int
    outputs: int


LAYER_SHAPES = (Shape(35, 20, 200), Shape(35, 20, 650), Shape(64, 32, 512), Shape(100, 64, 256), Shape(64, 64, 1024))
LARGE_LAYER_SHAPES = (Shape(128, 128, 1024), Shape(128, 128, 2048), Shape(128, 256, 512))
MATRICES = ((128, 512), (256, 1024), (512, 2048), (1024, 4096), (256, 4096), (512, 8192), (1024, 8192))  # [I, O]
PRODUCT_SHAPES = tuple(ProductShape(rows, *matrix) for rows, matrix in product((20, 64, 160, 320, 640), MATRICES))


def default_shapes(device: str) -> tuple[Shape, ...]:
    """The layers that are timed on `cpu` or `cuda` by default."""
    return (*LAYER_SHAPES, *LARGE_LAYER_SHAPES) if device == "cuda" else LAYER_SHAPES


def parse_shape(text: str) -> Shape:
    """The layer's shape in `35x20x200`. Raises OptionError if the text is not one, or the layer is too large."""
    shape = Shape(*_three_numbers(text, "steps x sequences x units", "35x20x200"))
    if shape.time * shape.batch * shape.hidden_size > MOST_VALUES or shape.hidden_size > MOST_UNITS:
        limits = f"at most {MOST_VALUES:,} values and {MOST_UNITS:,} units"
        raise OptionError("shape", f"must be of {limits}, was {text}", "--shape 64x64x1024")
    return shape


def parse_product_shape(text: str) -> ProductShape:
    """The product's shape in `64x512x2048`. Raises OptionError if the text is not one, or a matrix is too large."""
    example = "64x512x2048"
    shape = ProductShape(*_three_numbers(text, "rows x inputs x outputs", example))
    rows, inputs, outputs = shape
    if max(rows * inputs, inputs * outputs, rows * outputs) > MOST_VALUES:
        raise OptionError(
            "shape", f"must be of at most {MOST_VALUES:,} values a matrix, was {text}", f"--shape {example}"
        )
    return shape


def shape_text(shape: Iterable[int]) -> str:
    """A shape as text, as `35x20x200`."""
    return "x".join(map(str, shape))


def _three_numbers(text: str, meaning: str, example: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})", text, re.ASCII)
    if not found:
        raise OptionError("shape", f"must be {meaning}, was {text!r}", f"--shape {example}")
    first, second, third = (int(number) for number in found.groups())
    return first, second, third
