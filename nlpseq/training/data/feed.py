"""Copies arrays from the host to a run's device.

The host does not wait for copies to a GPU (`nlpseq.kernels.transfer`). For a GPU the number of steps of a batch is
rounded up to one of eight values per doubling, so there are few shapes and each can be a graph
(`nlpseq.kernels.replay`). The price is padding: about a sixteenth of the steps.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlpseq.kernels.transfer import to_device
from nlpseq.text.padding import Ids
from nlpseq.text.tokenisers import NEWLINE

SMALLEST_STEP = 8


def rounded_up(length: int) -> int:
    """The next number of steps that batches are padded to: 8, 16, .. 128, 144, 160, .. 256, 288, .."""
    step = max(SMALLEST_STEP, 1 << max(0, (length - 1).bit_length() - 4))
    return -(-length // step) * step


class Feed:
    """Copies arrays to a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rounds = device.type != "cpu"

    def place(self, array: NDArray[np.generic]) -> Tensor:
        """An array as a tensor on the device; the copy may still be under way."""
        return to_device(np.require(array, requirements="C"), self.device)

    def token_ids(self, ids: Ids) -> Tensor:
        """Token ids [T, B] on the device; for a GPU, T is rounded up with newlines."""
        steps = rounded_up(len(ids)) if self.rounds else len(ids)
        if steps > len(ids):
            ids = np.concatenate([ids, np.full((steps - len(ids), ids.shape[1]), NEWLINE, ids.dtype)])
        return self.place(ids)
