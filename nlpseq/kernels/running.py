"""The function that runs a layer over time when a trained model runs on a device.

On a GPU these are our kernels, and elsewhere the plain loop. Without Triton the plain loop also runs on a GPU: torch's
operators do not have all cells and options, but every trained model must run. torch is imported only for a GPU.
"""

from __future__ import annotations

from nlpseq.arrays import Array
from nlpseq.cells import Unroll
from nlpseq.cells import unroll as plain_unroll


def run_layer_for(like: Array, precision: str = "fp32") -> Unroll:
    """The function that runs a layer on the device of `like`; `precision` is that of products on a GPU."""
    if like.device.type != "cuda":
        return plain_unroll
    from nlpseq.kernels.choice import choose
    from nlpseq.kernels.gpu.recurrence import unavailable

    return choose("triton", precision, "cuda").run_layer if unavailable() is None else plain_unroll
