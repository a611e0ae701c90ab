"""The dropouts of training, all drawn from one generator so that a resumed run draws the same masks.

With several processes each draws the masks of the whole batch and takes its own columns: they are those of one process.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nlpseq import arrays
from nlpseq.kernels.masks import draw_mask, draw_normal
from nlpseq.training.distribution.processes import Share
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
        self.word_dropout: float = getattr(options, "word_dropout", 0.0)  # of a translator
        self.ngram_dropout: float = getattr(options, "ngram_dropout", None) or 0.0  # of a language model
        self.drops_inputs = bool(self.embedding_dropout or self.word_dropout or self.input_dropout)
        self.share: Share | None = None  # of the batch, if other processes train on other columns of it

    def _mask(self, shape: tuple[int, ...], rate: float, like: Tensor, columns: int | None = None) -> Tensor:
        """A mask of zeros and of 1 / (1 - rate); `columns` is its axis of texts, if it has one."""
        whole = self._whole(shape, columns)
        mask = self._own(draw_mask(whole, 1 - rate, self.generator, self.device), shape, columns)
        return mask.to(like) / (1 - rate)

    def _whole(self, shape: tuple[int, ...], columns: int | None) -> tuple[int, ...]:
        """A shape with the columns of all processes."""
        if self.share is None or columns is None:
            return shape
        return (*shape[:columns], self.share.total, *shape[columns + 1 :])

    def _own(self, drawn: Tensor, shape: tuple[int, ...], columns: int | None) -> Tensor:
        """This process's part, in the shape that was asked for, of what was drawn for all."""
        if self.share is None or columns is None:
            return drawn
        return self.share.of(drawn, columns).narrow(columns, 0, shape[columns])

    def normal(self, shape: tuple[int, int, int]) -> Tensor:
        """Normal numbers [T, B, E]."""
        return self._own(draw_normal(self._whole(shape, 1), self.generator, self.device), shape, 1)

    def inputs(self, embedded: Tensor, ids: Tensor) -> Tensor:
        """Drop vectors: of tokens wherever they occur (Gal and Ghahramani, 2016), of tokens at random; then units."""
        if self.embedding_dropout:
            kept = self._mask((self.vocabulary_size, 1), self.embedding_dropout, embedded)
            embedded = embedded * arrays.embed(kept, ids)
        if self.word_dropout:
            embedded = embedded * self._mask((*embedded.shape[:2], 1), self.word_dropout, embedded, 1)
        if self.input_dropout:
            embedded = embedded * self._mask(tuple(embedded.shape[1:]), self.input_dropout, embedded, 0)
        return embedded

    def ngrams(self, table: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
        """Factors that drop single n-grams [K, T, B], so that a text that is read often is not learned by heart."""
        return self._mask(shape, self.ngram_dropout, table, 2) if self.ngram_dropout else None

    def between(self, outputs: Tensor) -> Tensor:
        """Drop units of outputs [T, B, H] by one mask [B, H] for all steps."""
        if not self.dropout:
            return outputs
        return outputs * self._mask(tuple(outputs.shape[1:]), self.dropout, outputs, 0)

    def recurrent(self, weight: Tensor) -> Tensor:
        """Drop single recurrent weights [G*H, H], the same ones in all steps."""
        return weight * self._mask(tuple(weight.shape), self.weight_drop, weight) if self.weight_drop else weight

    def zoneout_masks(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Masks [T, B, H] with ones where the old state is kept, or None without zoneout."""
        if not self.zoneout:
            return None
        return self._own(draw_mask(self._whole(shape, 1), self.zoneout, self.generator, self.device), shape, 1).float()
