"""Loops of hypotheses, recognised on a device step by step.

For every period a run is counted: how many of the last tokens in a row equal the token one period before. A run that is
long enough is a loop, so a step looks back no further than the longest period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlpseq.decoding.loops import LONGEST_PERIOD, copies

if TYPE_CHECKING:
    from torch import Tensor

NO_TOKEN = -1


class DeviceLoops:
    """The last tokens of R hypotheses and their runs, in memory that never moves."""

    def __init__(self, rows: int, like: Tensor) -> None:
        import torch

        self.recent = like.new_full((rows, LONGEST_PERIOD), NO_TOKEN, dtype=torch.int64)  # the last token first
        self.runs = like.new_zeros((rows, LONGEST_PERIOD), dtype=torch.int64)
        spans = [period * (copies(period) - 1) for period in range(1, LONGEST_PERIOD + 1)]
        self.needed = torch.tensor(spans, device=like.device)

    def reset(self) -> None:
        """Start again with empty texts."""
        self.recent.fill_(NO_TOKEN)
        self.runs.zero_()

    def add(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Keep the hypotheses in `rows` [R] and add a token to each [R]; returns periods [R] as `loop_periods` does."""
        import torch

        recent = self.recent[rows]
        runs = torch.where(recent == tokens[:, None], self.runs[rows] + 1, 0)
        self.recent.copy_(torch.cat([tokens[:, None], recent[:, :-1]], 1))
        self.runs.copy_(runs)
        looping = (runs >= self.needed).int()
        return torch.where(looping.any(1), looping.argmax(1) + 1, 0)
