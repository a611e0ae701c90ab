"""Where a model's weights are: as NumPy arrays on the CPU, or as torch tensors on a GPU.

Models are functions of weights and arrays, so moving the weights is all that running on another device takes. torch is
imported only if a device other than the CPU is asked for; the cost is its start, about a second.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nlpseq.arrays import Array
from nlpseq.cells import unroll
from nlpseq.errors import BackendError
from nlpseq.models.stack import Unroll

Weights = Mapping[str, Array]


def on_device(weights: Weights, device: str) -> Weights:
    """Weights for a device: for `cpu` as they are, else as tensors.

    `torch:NAME` names a device as torch does; `torch:cpu` is for tests and comparisons. Raises BackendError if there is
    no such device.
    """
    if device == "cpu":
        return weights
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("--device", "cuda cannot be used: torch finds no GPU here", "--device cpu")
    return {
        name: torch.from_numpy(np.array(value)).to(device.removeprefix("torch:")) for name, value in weights.items()
    }


def run_layer_on(device: str, precision: str = "fp32") -> Unroll:
    """What runs a layer over time for tensors on a device: the GPU's kernels on `cuda`, elsewhere the plain loop.

    `precision` is that of the GPU's products. Raises BackendError if they cannot be had.
    """
    if device != "cuda":
        return unroll
    from nlpseq.kernels.choice import choose

    return choose("auto", precision, device).run_layer
