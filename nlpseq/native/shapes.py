"""The last look at arrays before their addresses are passed to compiled code, which compares nothing.

A weight that comes from a file has been compared with the model's options already. A fault that is found here is a
mistake of this program, and is better than a read beyond an array's end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlpseq.cells import Cell, LayerWeights
from nlpseq.cells.initial import layer_shapes


def check_array(name: str, array: np.ndarray, shape: Sequence[int], kind: type[np.generic] = np.float32) -> None:
    """Raises ValueError unless an array has a shape and a type, and its numbers lie one after the other."""
    if array.shape != tuple(shape) or array.dtype != kind or not array.flags.c_contiguous:
        order = "" if array.flags.c_contiguous else ", not contiguous"
        wanted = f"{np.dtype(kind)} {tuple(shape)}"
        raise ValueError(f"{name} is {array.dtype} {array.shape}{order}, but compiled code needs {wanted}")


def check_layer(cell: Cell, weights: LayerWeights, inputs: int, hidden: int) -> None:
    """Raises ValueError unless a layer's weights, of [H] hidden units and `inputs` [I], have their shapes and type.

    If `weights` has no weight_ih, I is G*H, and biases and gains of the input are not read.
    """
    normalised = weights.gain_ih is not None or weights.gain_hh is not None
    shapes = layer_shapes(cell, inputs, hidden, layer_normalisation=normalised)
    is_product = weights.weight_ih is None
    if is_product and inputs != cell.gates * hidden:
        raise ValueError(f"a layer of {hidden} units has no input product of {inputs}")
    for name, array in zip(LayerWeights._fields, weights, strict=True):
        read = name in shapes and not (is_product and name.endswith("_ih"))
        if array is None and read:
            raise ValueError(f"a {cell.name} layer has no {name}")
        if array is not None and name not in shapes:
            raise ValueError(f"a {cell.name} layer has {name}")
        if array is not None and read and (array.shape != shapes[name] or array.dtype != np.float32):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, but the layer needs float32 {shapes[name]}")
