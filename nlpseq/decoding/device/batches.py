"""Batches of a search on a device: which texts are searched together.

Batches have few shapes: the positions of a source and the number of texts are rounded up to one of four sizes for each
power of two, so the steps of most batches are already recorded. The cost is up to a quarter of padding. The number of
texts that fit is estimated from the free memory and the sizes of the models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nlpseq.arrays import Array
from nlpseq.decoding.beam import Rows
from nlpseq.models.translator import TranslatorOptions, Weights

MOST_TOKENS = 32_768  # tokens of sources, padding included
MOST_TEXTS = 4096
MEMORY_DIVISOR = 8  # a search may use the free memory divided by this
POSITIONS = 8  # the positions of a source are rounded up to a multiple of this


class Capacity(NamedTuple):
    """The largest size of a batch."""

    tokens: int  # of sources, padding included
    texts: int

    def halved(self) -> Capacity:
        """Half of the capacity."""
        return Capacity(max(1, self.tokens // 2), max(1, self.texts // 2))


def capacity_of(free: int, models: Sequence[tuple[Weights, TranslatorOptions]], width: int) -> Capacity:
    """The largest batch for `free` bytes of memory, by the models' sizes and the beam's width."""
    for_token = sum(_numbers_for_token(weights, options, width) for weights, options in models)
    vocabulary = max(len(weights["output.bias"]) for weights, _ in models)
    for_text = width * vocabulary * (3 + len(models))
    numbers = free // MEMORY_DIVISOR // 4
    return Capacity(
        min(MOST_TOKENS, max(1, numbers // for_token)),
        min(MOST_TEXTS, max(1, numbers // for_text)),
    )


def _numbers_for_token(weights: Weights, options: TranslatorOptions, width: int) -> int:
    """The number of values in memory for each token of a source: in the encoder, or in the memory and attention."""
    hidden, outputs = weights["attention.key"].shape
    encoder = 2 * options.recurrent_cell.gates * hidden + 4 * outputs
    attention = 2 * (hidden + outputs) + width * (4 + 2 * hidden * (options.attention == "additive"))
    return int(encoder + attention)


def rounded_up(count: int, least: int = 1) -> int:
    """A number rounded up to a multiple of a quarter of the power of two below it, and of `least`."""
    step = max(least, 1 << max(0, count.bit_length() - 3))
    return -(-count // step) * step


def batches(lengths: Rows, capacity: Callable[[], Capacity]) -> Iterator[Rows]:
    """Groups of indices of texts to search together, short texts first: as many as fit, and at least one.

    All batches but the last have one of few sizes. `capacity` is called for each batch.
    """
    order = np.argsort(lengths, kind="stable")
    padded = np.array([rounded_up(length, POSITIONS) for length in range(lengths.max(initial=0) + 1)])
    while len(order):
        tokens, texts = capacity()
        sizes = padded[lengths[order[:texts]]]
        sizes *= np.arange(1, len(sizes) + 1)  # tokens of a batch up to each text
        count = max(1, int(np.searchsorted(sizes, tokens, "right")))
        if count < len(order):
            count = next(size for size in range(count, 0, -1) if rounded_up(size) == size)
        yield order[:count]
        order = order[count:]


def free_bytes(like: Array) -> int | None:
    """The free memory of a GPU, including what torch keeps in reserve; None on another device."""
    if not like.is_cuda:
        return None
    import torch

    reserve = torch.cuda.memory_reserved(like.device) - torch.cuda.memory_allocated(like.device)
    return int(torch.cuda.mem_get_info(like.device)[0]) + reserve
