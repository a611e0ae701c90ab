"""Blocks of a text: the units of resampling for language models, whose tokens depend on those before them.

A block is whole lines of about the same number of bytes, so the blocks of a text are the same for every tokeniser: each
ends a line with the same token. A line that is longer than a block is cut into equal pieces; a token belongs to the
piece in which its middle lies, which for another tokeniser may be a few bytes further.

Blocks must be long against the distance over which losses are alike, and many. A text has about ENOUGH of them. On
200 kB of Shakespeare's plays, the standard error of the difference between two models was 0.0082 bits per byte with
blocks of 256 bytes, 0.0136 with 2,048 and 0.0164 with 4,096: short blocks make an interval too narrow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.errors import CorpusError
from nlpseq.text.tokenisers import NEWLINE, Tokeniser, to_utf8

SHORTEST, LONGEST = 256, 16_384  # bytes of a block by default
ENOUGH = 50  # blocks that a text is cut into by default
FEWEST = 20  # blocks

Numbers = NDArray[np.int64]


class LineSizes:
    """Numbers of words, characters and bytes of each line of a text that is read in pieces."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, int]] = []
        self._open = ""

    def add(self, piece: str) -> None:
        """Take the next piece of the text."""
        *lines, self._open = (self._open + piece).split("\n")
        self._lines += [(len(line.split()) + 1, len(line) + 1, len(to_utf8(line)) + 1) for line in lines]

    def finish(self) -> Numbers:
        """The numbers [L, 3] of words, characters and bytes of L lines; a line end counts as one of each."""
        last = self._open
        lines = [*self._lines, (len(last.split()), len(last), len(to_utf8(last)))] if last else self._lines
        return np.array(lines, np.int64).reshape(-1, 3)


class Blocks(NamedTuple):
    """The blocks of a text."""

    length: int  # bytes of most
    sizes: NDArray[np.float64]  # [N, 3]: words, characters, bytes of each
    lines: Numbers  # [P], the line of each piece
    pieces: Numbers  # [P], the number of the piece in its line
    counts: Numbers  # [L], the pieces of each line
    owners: Numbers  # [P], the block of each piece

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def signature(self) -> str:
        """The field of a signature that names the units."""
        return f"blocks:{len(self)}-of-{self.length}-bytes"


def cut(lines: Numbers, name: str, length: int | None = None) -> Blocks:
    """Cut a text into blocks by the sizes of its lines [L, 3], as `LineSizes` finds them.

    Raises CorpusError if there would be fewer than FEWEST; `name` is that of the text.
    """
    size = int(lines[:, 2].sum())
    length = length or int(np.clip(size // ENOUGH, SHORTEST, LONGEST))
    counts = np.maximum(1, np.rint(lines[:, 2] / length).astype(np.int64))
    owner = np.repeat(np.arange(len(lines)), counts)
    pieces = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    sizes = lines[owner] / counts[owner][:, None]
    ends = np.cumsum(sizes[:, 2])
    _, owners = np.unique(
        ((ends - sizes[:, 2] / 2) / max(1, size) * max(1, size // length)).astype(np.int64), return_inverse=True
    )
    blocks = int(owners[-1]) + 1 if len(owners) else 0
    if blocks < FEWEST:
        what = f"an interval needs {FEWEST} blocks, and its {size:,} bytes are {blocks} of {length:,} bytes"
        hint = f"--block-bytes {size // FEWEST // 2}" if size // FEWEST // 2 >= 64 else "a longer text"
        raise CorpusError(name, what, hint)
    summed = np.stack([np.bincount(owners, column, blocks) for column in sizes.T], 1)
    return Blocks(length, summed.astype(np.float64), owner, pieces, counts, owners)


def block_starts(blocks: Blocks, tokens: NDArray[np.integer], tokeniser: Tokeniser) -> Numbers:
    """The positions [N] of each block's first token in a text's tokens [T]; they may be equal for an empty block."""
    ends = np.flatnonzero(np.asarray(tokens) == NEWLINE) + 1
    lines = np.concatenate([[0], ends])[: len(blocks.counts)]
    lines = np.concatenate([lines, np.full(len(blocks.counts) + 1 - len(lines), len(tokens))])
    starts = lines[blocks.lines]
    lengths = np.array([len(tokeniser.piece(None, token)) for token in range(tokeniser.size)])
    for line in np.flatnonzero(blocks.counts > 1):
        first, last = lines[line], lines[line + 1]
        sizes = lengths[tokens[first:last]]
        middles = np.cumsum(sizes) - sizes / 2
        cuts = np.arange(blocks.counts[line]) / blocks.counts[line] * sizes.sum()
        starts[blocks.lines == line] = first + np.searchsorted(middles, cuts)
    return starts[np.searchsorted(blocks.owners, np.arange(len(blocks)))]


def block_sums(starts: Numbers, length: int, losses: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The losses and the number of tokens of each block [N, 2]; `losses` of all `length` tokens come in sections."""
    nats, position = np.zeros(len(starts)), 0
    for section in losses:
        owners = np.searchsorted(starts, np.arange(position, position + len(section)), "right") - 1
        nats += np.bincount(owners, section, len(starts))
        position += len(section)
    return np.stack([nats, np.diff(starts, append=length)], 1)
