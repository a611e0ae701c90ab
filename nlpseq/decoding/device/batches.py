"""How many texts a search on a device takes at once.

Shapes are few: the positions of a source and the number of texts are rounded up to one of four sizes for each power of
two, so that the steps of most batches are already recorded. The price is up to a quarter of padding. How many fit is
estimated from the memory that is free and from the sizes of the models.
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
SHARE = 8  # the free memory is divided by this
POSITIONS = 8  # what the positions of a source are at least rounded to


class Room(NamedTuple):
    """What a batch may hold."""

    tokens: int  # of sources, padding included
    texts: int

    def halved(self) -> Room:
        """Room for half as much."""
        return Room(max(1, self.tokens // 2), max(1, self.texts // 2))


def room_in(free: int, models: Sequence[tuple[Weights, TranslatorOptions]], width: int) -> Room:
    """What fits into `free` bytes, by the models' sizes and the beam's width."""
    of_token = sum(_numbers_of_token(weights, options, width) for weights, options in models)
    vocabulary = max(len(weights["output.bias"]) for weights, _ in models)
    of_text = width * vocabulary * (3 + len(models))
    numbers = free // SHARE // 4
    return Room(
        min(MOST_TOKENS, max(1, numbers // of_token)),
        min(MOST_TEXTS, max(1, numbers // of_text)),
    )


def _numbers_of_token(weights: Weights, options: TranslatorOptions, width: int) -> int:
    """Numbers that exist at once for each token of a source: those of its encoder, or of its memory and attention."""
    hidden, outputs = weights["attention.key"].shape
    reading = 2 * options.recurrent_cell.gates * hidden + 4 * outputs
    looking = 2 * (hidden + outputs) + width * (4 + 2 * hidden * (options.attention == "additive"))
    return int(reading + looking)


def roomy(count: int, least: int = 1) -> int:
    """A number rounded up to one of few: to a quarter of the power of two below it, and to `least`."""
    step = max(least, 1 << max(0, count.bit_length() - 3))
    return -(-count // step) * step


def batches(lengths: Rows, room: Callable[[], Room]) -> Iterator[Rows]:
    """The places of texts that go together, short ones first, as many as there is room for, and one at least.

    Where more follow their number is one of few. `room` is asked for each batch.
    """
    order = np.argsort(lengths, kind="stable")
    padded = np.array([roomy(one, POSITIONS) for one in range(lengths.max(initial=0) + 1)])
    while len(order):
        tokens, texts = room()
        needed = padded[lengths[order[:texts]]]
        needed *= np.arange(1, len(needed) + 1)  # up to each of them
        count = max(1, int(np.searchsorted(needed, tokens, "right")))
        if count < len(order):
            count = next(one for one in range(count, 0, -1) if roomy(one) == one)
        yield order[:count]
        order = order[count:]


def free_bytes(like: Array) -> int | None:
    """What is free on a GPU, what torch keeps for itself included; None elsewhere."""
    if not like.is_cuda:
        return None
    import torch

    kept = torch.cuda.memory_reserved(like.device) - torch.cuda.memory_allocated(like.device)
    return int(torch.cuda.mem_get_info(like.device)[0]) + kept
