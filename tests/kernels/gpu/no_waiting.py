"""What a step on a GPU may not do: wait for the device, have shapes that depend on values, or copy from the host.

A CUDA graph can hold none of that. The operators that do are known, so a processor shows them, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITING = {
    aten.nonzero,
    aten.masked_select,
    aten.repeat_interleave,
    aten.unique_consecutive,
    aten._local_scalar_dense,  # item()
    aten.lift_fresh,  # torch.tensor()
}


class NoWaiting(TorchDispatchMode):
    """Raises AssertionError at an operator that no graph can hold."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket not in WAITING, f"{func} waits for the device"
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            booleans = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
            assert not booleans, f"{func} by a mask waits for the device"
        return func(*args, **(kwargs or {}))
