"""How fast the packed product is, beside NumPy's, torch's, and the limit of the processor.

The limit is measured by a loop that multiplies and adds in registers, with the same threads and instructions. In every
round each contender has a block of turns, after a pause in which the threads of the contender before it fall asleep.
The first half of a block is not counted, since its own threads wake up then. NumPy and torch choose their instructions
themselves; MKL, oneDNN and OpenBLAS have settings of their own that restrict them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from nlpseq.errors import BackendError
from nlpseq.native import extension, product
from nlpseq.native.extension import Unavailable
from nlpseq.native.matrix import Packed
from nlpseq.timing.clocks import Turn
from nlpseq.timing.shapes import ProductShape

BLOCK_SECONDS = 0.08  # of a contender in a round
FEWEST_TURNS = 6  # in a block
PAUSE_SECONDS = 0.05  # before a block
LIMIT_REPEATS = 20_000  # of the loop in registers, which takes about a millisecond
LIMIT_PIECES = 8  # of that loop's work, for each thread


@dataclass(frozen=True)
class ProductTiming:
    """10^9 operations per second (GFLOP/s) of one product, medians."""

    shape: ProductShape
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
        return {**self.shape._asdict(), "instructions": self.instructions, **named, "ratio": self.ratio}


def measure_products(shapes: Sequence[ProductShape], rounds: int) -> Iterator[ProductTiming]:
    """Time each product; each row comes as soon as it is known. Raises BackendError if nothing compiled can run."""
    try:
        extension.load_library()
    except Unavailable as reason:
        hint = "pip install --force-reinstall nlpseq"
        raise BackendError("packed products", f"nothing compiled can run: {reason}", hint) from None
    return _measure_all(shapes, rounds)


def _measure_all(shapes: Sequence[ProductShape], rounds: int) -> Iterator[ProductTiming]:
    limit = _limit(rounds)
    for shape in shapes:
        yield _measure(shape, rounds, limit)


def _measure(shape: ProductShape, rounds: int, limit: float) -> ProductTiming:
    generator = np.random.default_rng(1)
    rows = generator.standard_normal((shape.rows, shape.inputs)).astype(np.float32)
    matrix = generator.standard_normal((shape.outputs, shape.inputs)).astype(np.float32)
    left, right = torch.from_numpy(rows), torch.from_numpy(matrix).t()
    packed = Packed(matrix)
    turns = (lambda: packed.multiply(rows), lambda: rows @ matrix.T, lambda: left @ right)
    seconds: list[list[float]] = [[] for _ in turns]
    for _ in range(rounds):
        for turn, measured in zip(turns, seconds, strict=True):
            measured.append(block_seconds(turn))
    operations = 2e-9 * shape.rows * shape.inputs * shape.outputs
    ours, by_numpy, by_torch = (operations / statistics.median(measured) for measured in seconds)
    return ProductTiming(shape, extension.instructions(), ours, by_numpy, by_torch, limit)


def block_seconds(turn: Turn) -> float:
    """The median time of a turn in the second half of a block, in seconds."""
    time.sleep(PAUSE_SECONDS)
    block_started = time.perf_counter()
    taken: list[float] = []
    while len(taken) < FEWEST_TURNS or time.perf_counter() - block_started < BLOCK_SECONDS:
        started = time.perf_counter()
        turn()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[len(taken) // 2 :])


def _limit(rounds: int) -> float:
    """10^9 operations per second without access to memory."""
    pieces = LIMIT_PIECES * extension.threads()
    turn = partial(product.multiply_in_registers, extension.kind(), LIMIT_REPEATS, pieces)
    operations = 1e-9 * turn()
    return operations / statistics.median(block_seconds(turn) for _ in range(rounds))
