"""The dropouts of training, all drawn from one generator so that a resumed run draws the same masks."""

from __future__ import annotations

import torch
from torch import Tensor

from nlpseq import arrays
from nlpseq.kernels.masks import draw_mask
from nlpseq.training.options import TrainingOptions


class Dropouts:
    """Locked, word, input and weight dropout, and zoneout masks: the `nlpseq.models.stack.Noise` of training."""

    def __init__(
        self,
        options: TrainingOptions,
        zoneout: float,
        generator: torch.Generator,
        *,
        vocabulary_size: int,
        device: torch.device,
    ) -> None:
        self.dropout = options.dropout or 0.0
        self.embedding_dropout = options.embedding_dropout
        self.input_dropout = options.input_dropout or 0.0
        self.weight_drop = options.weight_drop
        self.zoneout = zoneout
        self.generator = generator
        self.vocabulary_size = vocabulary_size
        self.device = device
        self.drops_inputs = bool(self.embedding_dropout or self.input_dropout)

    def _mask(self, shape: tuple[int, ...], rate: float, like: Tensor) -> Tensor:
        return draw_mask(shape, 1 - rate, self.generator, self.device).to(like) / (1 - rate)

    def inputs(self, embedded: Tensor, ids: Tensor) -> Tensor:
        """Drop tokens of the vocabulary in all their positions (Gal and Ghahramani, 2016), then units."""
        if self.embedding_dropout:
            kept = self._mask((self.vocabulary_size, 1), self.embedding_dropout, embedded)
            embedded = embedded * arrays.embed(kept, ids)
        if self.input_dropout:
            embedded = embedded * self._mask(tuple(embedded.shape[1:]), self.input_dropout, embedded)
        return embedded

    def between(self, outputs: Tensor) -> Tensor:
        """Drop units of outputs [T, B, H] by one mask [B, H] for all steps."""
        if not self.dropout:
            return outputs
        return outputs * self._mask(tuple(outputs.shape[1:]), self.dropout, outputs)

    def recurrent(self, weight: Tensor) -> Tensor:
        """Drop single recurrent weights [G*H, H], the same ones in all steps."""
        return weight * self._mask(tuple(weight.shape), self.weight_drop, weight) if self.weight_drop else weight

    def zoneout_masks(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Masks [T, B, H] with ones where the old state is kept, or None without zoneout."""
        return draw_mask(shape, self.zoneout, self.generator, self.device).float() if self.zoneout else None
