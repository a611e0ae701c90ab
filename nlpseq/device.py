"""The device of a model's weights, NumPy arrays on the CPU or torch tensors on a GPU, and the limits of its memory.

Models are functions of weights and arrays, so they run wherever the weights are. torch is imported only for a device
other than the CPU, which takes about a second.
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
Result = TypeVar("Result")


def on_device(weights: Weights, device: str) -> Weights:
    """Weights on a device: unchanged for `cpu`, else as tensors.

    `torch:NAME` is a device by torch's name; `torch:cpu` is for tests and comparisons. Raises BackendError if there is
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


def in_halves(function: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Call `function` with all items, or with halves of them while memory does not suffice: the results in order.

    The memory that a batch needs is known only when it is tried, because other programs may share the device.
    `function` may be called again with the same items, so it must not change them. Raises BackendError if memory does
    not hold a single item.
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
    """Whether an error, or one in its context, says that a device's memory was full.

    torch has a class for it; Triton and CUDA's allocator of host memory say it in words. While a graph is recorded,
    that error is the context of another.
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
    """The reason why torch cannot use a GPU, or None if it can. Imports torch."""
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
    """Raises BackendError if torch cannot use a GPU."""
    if reason := why_no_gpu():
        raise BackendError("device", f"cuda cannot be used: {reason}", "--device cpu")


def refuse_single(texts: int) -> None:
    """Raises BackendError if a batch that did not fit had one text; several texts can be split."""
    if texts == 1:
        what = "cuda cannot be used: the GPU's memory does not hold a single text"
        raise BackendError("device", what, "--device cpu")
