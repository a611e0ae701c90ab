"""How fast the packed product is, beside NumPy's, torch's, and what the processor could do.

The last is measured by a loop that multiplies and adds in registers, with as many threads and the same instructions.
Each contender has a block of turns of its own in every round, after a pause in which the threads of the one before fall
asleep; the first half of a block, in which its own wake up, is not counted. NumPy and torch choose their instructions
themselves; MKL, oneDNN and OpenBLAS have settings of their own to hold them to fewer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from nlpseq.native import extension, product
from nlpseq.native.matrix import Packed

BLOCK_SECONDS = 0.08  # of a contender in a round
LIMIT_TIMES = 20_000  # what a piece of the loop in registers does: a millisecond
PAUSE_SECONDS = 0.05  # before it, for threads of others to fall asleep


class Sizes(NamedTuple):
    """A product's work: rows [R, I] and a matrix [O, I]."""

    rows: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class ProductTiming:
    """Thousand million operations a second, medians, of one product."""

    sizes: Sizes
    instructions: str
    ours: float
    numpy: float
    torch: float
    limit: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is than the faster of the others."""
        return self.ours / max(self.numpy, self.torch)

    def as_json(self) -> dict[str, Any]:
        """What `nlpseq bench products --json` lists."""
        rates = {"ours": self.ours, "numpy": self.numpy, "torch": self.torch, "limit": self.limit}
        named = {f"{name}_gflops": rate for name, rate in rates.items()}
        return {**self.sizes._asdict(), "instructions": self.instructions, **named, "ratio": self.ratio}


def measure_products(shapes: Sequence[Sizes], rounds: int) -> Iterator[ProductTiming]:
    """Time each product, as soon as it is known. Raises Unavailable where nothing is compiled."""
    limit = _limit(rounds)
    for sizes in shapes:
        yield _measure(sizes, rounds, limit)


def _measure(sizes: Sizes, rounds: int, limit: float) -> ProductTiming:
    generator = np.random.default_rng(1)
    rows = generator.standard_normal((sizes.rows, sizes.inputs)).astype(np.float32)
    matrix = generator.standard_normal((sizes.outputs, sizes.inputs)).astype(np.float32)
    left, right = torch.from_numpy(rows), torch.from_numpy(matrix).t()
    packed = Packed(matrix)
    turns = (lambda: packed.multiply(rows), lambda: rows @ matrix.T, lambda: left @ right)
    seconds: list[list[float]] = [[] for _ in turns]
    for _ in range(rounds):
        for turn, measured in zip(turns, seconds, strict=True):
            measured.append(block_seconds(turn))
    operations = 2e-9 * sizes.rows * sizes.inputs * sizes.outputs
    ours, numpy, other = (operations / statistics.median(measured) for measured in seconds)
    return ProductTiming(sizes, extension.instructions(), ours, numpy, other, limit)


def block_seconds(turn: Callable[[], object]) -> float:
    """The median of the second half of a block of turns."""
    time.sleep(PAUSE_SECONDS)
    begun = time.perf_counter()
    taken: list[float] = []
    while len(taken) < 6 or time.perf_counter() - begun < BLOCK_SECONDS:
        started = time.perf_counter()
        turn()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[len(taken) // 2 :])


def _limit(rounds: int) -> float:
    """Thousand million operations a second without memory."""
    turn = partial(product.multiply_in_registers, extension.kind(), LIMIT_TIMES, 8 * extension.threads())
    operations = 1e-9 * turn()
    return operations / statistics.median(block_seconds(turn) for _ in range(rounds))
