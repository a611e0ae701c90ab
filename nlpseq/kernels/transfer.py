"""Copies between the host and a GPU, without waiting on either side.

Copies in both directions use pinned memory, which torch's allocator reuses when a copy has ended. The price is one more
copy on the host. If the device is the CPU, `to_device` copies nothing, and `Arriving` copies at once.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device; the copy may still be running."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


class Arriving:
    """A running copy of a tensor's present values to the host; the tensor may change afterwards."""

    def __init__(self, values: Tensor) -> None:
        self._arrived: Any = None
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()
        else:
            self._host = values.clone()

    def wait(self) -> NDArray[Any]:
        """The values, once they have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.numpy()
