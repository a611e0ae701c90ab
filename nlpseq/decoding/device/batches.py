"""The number of texts that a search on a device takes at once.

There are few shapes: the positions of a source and the number of texts are rounded up to one of four sizes for each
power of two, so the steps of most batches are already recorded. The cost is up to a quarter of padding. The number that
fits is estimated from the free memory and the sizes of the models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nlpseq.arrays import Array
from nlpseq.decoding.beam import Rows
from nlpseq.models.translator import TranslatorOptions, Weights

MOST_TOKENS = 32_768  # of sources, padding included
MOST_TEXTS = 4096
MEMORY_DIVISOR = 8  # a search may use the free memory divided by this
POSITIONS = 8  # the positions of a source are rounded up to a multiple of this


class Capacity(NamedTuple):
    """The most that a batch may hold."""

    tokens: int  # of sources, padding included
    texts: int

    def halved(self) -> Capacity:
        """Half as much."""
        return Capacity(max(1, self.tokens // 2), max(1, self.texts // 2))


def capacity_of(free: int, models: Sequence[tuple[Weights, TranslatorOptions]], width: int) -> Capacity:
    """The batch that fits into `free` bytes, given the models' sizes and the beam's width."""
    of_token = sum(_numbers_of_token(weights, options, width) for weights, options in models)
    vocabulary = max(len(weights["output.bias"]) for weights, _ in models)
    of_text = width * vocabulary * (3 + len(models))
    numbers = free // MEMORY_DIVISOR // 4
    return Capacity(
        min(MOST_TOKENS, max(1, numbers // of_token)),
        min(MOST_TEXTS, max(1, numbers // of_text)),
    )


def _numbers_of_token(weights: Weights, options: TranslatorOptions, width: int) -> int:
    """Numbers that exist at once for each token of a source: in its encoder, or in its memory and attention."""
    hidden, outputs = weights["attention.key"].shape
    reading = 2 * options.recurrent_cell.gates * hidden + 4 * outputs
    looking = 2 * (hidden + outputs) + width * (4 + 2 * hidden * (options.attention == "additive"))
    return int(reading + looking)


def rounded_up(count: int, least: int = 1) -> int:
    """A number rounded up to a multiple of a quarter of the power of two below it, and of `least`."""
    step = max(least, 1 << max(0, count.bit_length() - 3))
    return -(-count // step) * step


def batches(lengths: Rows, capacity: Callable[[], Capacity]) -> Iterator[Rows]:
    """The indices of texts that are searched together, short ones first: as many as fit, and at least one.

    All batches but the last have one of few sizes. `capacity` is called for each batch.
    """
    order = np.argsort(lengths, kind="stable")
    padded = np.array([rounded_up(length, POSITIONS) for length in range(lengths.max(initial=0) + 1)])
    while len(order):
        tokens, texts = capacity()
        needed = padded[lengths[order[:texts]]]
        needed *= np.arange(1, len(needed) + 1)  # of a batch up to each text
        count = max(1, int(np.searchsorted(needed, tokens, "right")))
        if count < len(order):
            count = next(size for size in range(count, 0, -1) if rounded_up(size) == size)
        yield order[:count]
        order = order[count:]


def free_bytes(like: Array) -> int | None:
    """The free memory of a GPU, including what torch keeps in reserve; None on another device."""
    if not like.is_cuda:
        return None
    import torch

    kept = torch.cuda.memory_reserved(like.device) - torch.cuda.memory_allocated(like.device)
    return int(torch.cuda.mem_get_info(like.device)[0]) + kept
