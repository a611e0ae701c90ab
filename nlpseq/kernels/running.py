"""The function that runs a layer over time when a model is used on a device, not trained.

The GPU's kernels run it on a GPU, and the plain loop elsewhere. Without Triton the plain loop runs there too: torch's
operators lack some cells and options, and every trained model has to run. torch is imported only for a GPU.
"""

from __future__ import annotations

from nlpseq.arrays import Array
from nlpseq.cells import Unroll
from nlpseq.cells import unroll as plain_unroll


def run_layer_for(like: Array, precision: str = "fp32") -> Unroll:
    """What runs a layer for tensors on the device of `like`; `precision` is that of a GPU's products."""
    if like.device.type != "cuda":
        return plain_unroll
    from nlpseq.kernels.choice import choose
    from nlpseq.kernels.gpu.recurrence import unavailable

    return choose("triton", precision, "cuda").run_layer if unavailable() is None else plain_unroll
