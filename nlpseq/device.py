"""Where a model's weights are, as NumPy arrays on the CPU or as torch tensors on a GPU; and what fits there.

Models are functions of weights and arrays, so moving the weights is all that running on another device takes. torch is
imported only if a device other than the CPU is asked for; the cost is its start, about a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from nlpseq.arrays import Array
from nlpseq.errors import BackendError

Weights = Mapping[str, Array]
Item = TypeVar("Item")
Made = TypeVar("Made")


def on_device(weights: Weights, device: str) -> Weights:
    """Weights for a device: for `cpu` as they are, else as tensors.

    `torch:NAME` names a device as torch does; `torch:cpu` is for tests and comparisons. Raises BackendError if there is
    no such device.
    """
    if device == "cpu":
        return weights
    import torch

    if device == "cuda":
        need_gpu()
    return {
        name: torch.from_numpy(np.array(value)).to(device.removeprefix("torch:")) for name, value in weights.items()
    }


def in_halves(function: Callable[[Sequence[Item]], Made], items: Sequence[Item]) -> list[Made]:
    """What `function` makes of items, one or more, or of halves of them in order if memory does not hold all.

    How much memory a batch needs is known only when it is tried, since other programs may share the device. `function`
    is called again with the same items, so it must leave what it reads as it is. Raises BackendError if memory does not
    hold a single item.
    """
    try:
        return [function(items)]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    refuse_single(len(items))
    sys.modules["torch"].cuda.empty_cache()
    middle = len(items) // 2
    return [*in_halves(function, items[:middle]), *in_halves(function, items[middle:])]


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a device's memory was full; while a graph is recorded, that error is the context of another.

    torch says so in a class, Triton and CUDA's allocator of host memory in words.
    """
    torch = sys.modules.get("torch")
    while torch is not None and error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and "out of memory" in str(error):
            return True
        error = error.__context__
    return False


def why_no_gpu() -> str | None:
    """Why torch can use no GPU, in words, or None. Imports torch."""
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not hidden.strip(", "):
        return "CUDA_VISIBLE_DEVICES is empty, which hides every GPU"
    return "torch finds no GPU here"


def need_gpu() -> None:
    """Raises BackendError if torch can use no GPU."""
    if reason := why_no_gpu():
        raise BackendError("device", f"cuda cannot be used: {reason}", "--device cpu")


def refuse_single(texts: int) -> None:
    """Raises BackendError if memory did not hold one text; several may fit in parts."""
    if texts == 1:
        what = "cuda cannot be used: the GPU's memory does not hold a single text"
        raise BackendError("device", what, "--device cpu")
