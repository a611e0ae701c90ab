"""Work for a GPU whose memory may not hold all of it at once: halved until it fits.

How much memory a batch needs is known only when it is tried, for other programs may share the device. What was tried
in vain is the cost, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from nlpseq.errors import BackendError

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_halves(function: Callable[[Sequence[Item]], Made], items: Sequence[Item]) -> list[Made]:
    """What `function` makes of items, one or more, or of parts of them in order where memory does not hold all.

    `function` is called again with the same items, so it must leave what it reads as it is. Raises BackendError where
    memory does not hold a single item.
    """
    import torch

    try:
        return [function(items)]
    except RuntimeError as error:
        if not _is_memory(error):
            raise
        if len(items) == 1:
            what = "cuda cannot be used: the GPU's memory does not hold a single text"
            raise BackendError("--device", what, "--device cpu") from None
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return [*in_halves(function, items[:middle]), *in_halves(function, items[middle:])]


def _is_memory(error: BaseException | None) -> bool:
    """Whether a device's memory was full: while a graph is recorded that stands behind another error."""
    import torch

    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__context__
    return error is not None
