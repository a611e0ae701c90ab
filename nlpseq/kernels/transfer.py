"""Copies between the host and a GPU that neither of them waits for.

Both ways go through pinned memory, which torch's allocator hands out again when a copy has ended. The price is one more
copy on the host. On the CPU nothing is copied on the way in, and the values are copied at once on the way out.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device, which may still be on its way."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


class Arriving:
    """A tensor's values on their way to the host: as they are now, whatever becomes of the tensor."""

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
        """The values, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.numpy()
