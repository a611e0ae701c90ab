"""Sizes and layouts of the persistent kernels: tiles by the size of a layer, and the assignment of values to threads.

The tiles are those that were fastest on an H100 in bf16 at 256, 512, 704, 1024 and 2048 units, and a guess between
them. Three bounds decide. There is at most one program for each multiprocessor, because programs that wait for each
other must all be running. The shared memory of a multiprocessor holds the weights of a program's units and some chunks
of the other operand. One of Hopper's asynchronous products multiplies at least 64 rows. If not all weights fit, some of
them are read again in every step.

The column of a unit and gate in the weights is 4 * unit + gate. A thread of a product then holds all gates of
neighbouring units, if the rows of a chunk in shared memory have the order of `kernel.weight_rows`. So gates, states and
sums are written from registers to memory in whole vectors. An Elman cell has one gate, and its columns are its units.

This file imports Triton only when a layout is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SHARED_BYTES = 227 * 1024  # shared memory of a program on compute capability 9.0
ELEMENT = 2  # bytes of an operand
DEPTH = 64  # of a chunk of a product: 128 bytes, the widest swizzle of shared memory
PADDING = 64  # hidden sizes are rounded up to this with units of zero weights
SCRATCH_BYTES = 3 * 1024  # for sums over threads
MOST_ELEMENTS = 1 << 31  # of one array, whose offsets have 32 bits

GATES = {"lstm": 4, "gru": 4, "gru-reset-before": 4, "rnn": 1, "rnn-relu": 1, "rnn-sigmoid": 1}  # slots of a unit

RESETS = "gru-reset-before"  # the cell whose step has a second product
BLOCKS = {"lstm": 4, "gru": 3}  # blocks of the hidden state's product; other cells: 1


def padded(size: int) -> int:
    """The number of units, rounded up to whole chunks."""
    return -(-size // PADDING) * PADDING


@dataclass(frozen=True)
class Tiles:
    """The division of the work of one of the two kernels."""

    rows: int  # sequences of a program
    units: int  # units of a program
    split: int  # programs that divide a product's depth; always 1 in the forward kernel
    held: int  # chunks of weights that stay in shared memory
    buffers: int  # chunks of the other operand that are copied at once
    warps: int

    def programs(self, batch: int, size: int) -> tuple[int, int]:
        """The number of programs of a launch over units, and over sequences."""
        return padded(size) // self.units, -(-batch // self.rows)


def tiles_of(
    cell: str, batch: int, size: int, processors: int, *, normalised: bool = False
) -> tuple[Tiles, Tiles] | None:
    """Tiles of the forward and the backward kernel, or None if one launch cannot hold all sequences and units."""
    gates, whole = GATES[cell], padded(size)
    if cell == RESETS and whole > 1024:
        return None  # its two products spill registers
    if gates == 1:
        tiles = _elman(batch, whole, processors)
    elif whole > 1024:
        forward = _streamed(Tiles(128, 16, 1, 0, 5, 8), 4 * 16, whole // DEPTH)
        backward = _streamed(Tiles(128, 16, 4, 0, 4, 8), 4 * 16, whole // DEPTH)
        tiles = forward, backward
    else:
        tiles = _held(batch, whole, processors, normalised)
    for kernel in tiles:
        across, down = kernel.programs(batch, size)
        if across * down > processors or kernel.held < 0:
            return None
    return tiles


def _held(batch: int, whole: int, processors: int, normalised: bool) -> tuple[Tiles, Tiles]:
    """Tiles for up to 1024 units: shared memory holds all weights."""
    units = 8 if whole // 8 * -(-batch // 64) <= processors else 16
    rows, warps = (64, 4) if whole // units * -(-batch // 64) <= processors else (128, 8)
    chunks = whole // DEPTH
    scratch = 2 * SCRATCH_BYTES if normalised and rows > 64 else SCRATCH_BYTES
    most_buffers = (SHARED_BYTES - scratch - whole * 4 * units * ELEMENT) // (rows * DEPTH * ELEMENT)
    forward = Tiles(rows, units, 1, chunks, min(chunks, most_buffers), warps)
    if whole <= 256 and rows == 64:
        deep = 4 * chunks
        return forward, Tiles(64, 16, 1, deep, deep, 4)
    return forward, Tiles(rows, units, 4, chunks, min(chunks, most_buffers), warps)


def _streamed(tiles: Tiles, width: int, chunks: int) -> Tiles:
    """`tiles` with the most held chunks of weights that fit beside its buffers; each buffer includes one of weights."""
    chunk = width * DEPTH * ELEMENT
    buffers = tiles.buffers * (tiles.rows * DEPTH * ELEMENT + chunk)
    held = min(chunks, (SHARED_BYTES - SCRATCH_BYTES - buffers) // chunk - 1)
    return Tiles(tiles.rows, tiles.units, tiles.split, held, tiles.buffers, tiles.warps)


def _elman(batch: int, whole: int, processors: int) -> tuple[Tiles, Tiles]:
    """Tiles of a cell with one gate: the same number of columns, each of them a unit. Not yet measured."""
    units = 32 if whole // 32 * -(-batch // 64) <= processors else 64
    rows, warps = (64, 4) if whole // units * -(-batch // 64) <= processors else (128, 8)
    chunks, chunk, buffer = whole // DEPTH, units * DEPTH * ELEMENT, rows * DEPTH * ELEMENT
    exchange = rows * (units + 4) * 4  # bytes, from a product's layout to that of units
    available = SHARED_BYTES - SCRATCH_BYTES - exchange
    if chunks * chunk + min(chunks, 4) * buffer <= available:
        tiles = Tiles(rows, units, 1, chunks, min(chunks, (available - chunks * chunk) // buffer), warps)
    else:
        tiles = Tiles(rows, units, 1, min(chunks, (available - 4 * (buffer + chunk)) // chunk), 4, warps)
    return tiles, tiles


@lru_cache(maxsize=1024)
def most_sequences(cell: str, steps: int, batch: int, size: int, processors: int) -> int:
    """The number of `batch` sequences that one launch can hold: all, a multiple of 64, or 0."""
    widest = MOST_ELEMENTS // ((steps + 1) * GATES[cell] * padded(size)) - 1
    if widest >= batch and tiles_of(cell, batch, size, processors):
        return batch
    count = min(batch, widest, 128 * processors) // 64 * 64
    while count and not tiles_of(cell, count, size, processors):
        count -= 64
    return count


def holds_both(cell: str, steps: int, batch: int, size: int, processors: int) -> bool:
    """Whether one launch can hold both directions of a layer, each on half of the multiprocessors.

    It cannot for an Elman cell if a program would have 64 of more than 512 units, because that spills registers.
    """
    if most_sequences(cell, 2 * steps + 3, batch, size, processors // 2) < batch:  # arrays have twice the width
        return False
    tiles = tiles_of(cell, batch, size, processors // 2)
    return tiles is not None and (GATES[cell] > 1 or tiles[0].units < 64 or size <= 512)


@dataclass(frozen=True)
class Fixed:
    """Everything that is fixed when a persistent kernel is compiled."""

    cell: str
    backward: bool
    real: int  # hidden units
    tiles: Tiles
    reverse: bool
    zoneout: int  # 0: none, 1: a fraction, 2: masks
    lengths: bool
    save: bool
    normalised: bool
    directions: int  # 2 if a launch runs both; then `reverse` has no meaning


@dataclass(frozen=True)
class Frame:
    """`Fixed` in the terms of the kernels, with layouts."""

    cell: str
    gates: int
    memory: bool
    size: int  # units, padding included
    real: int
    rows: int
    units: int
    split: int
    depth: int
    held: int
    buffers: int
    chunks: int
    streamed: int  # buffers of weights
    reverse: bool
    zoneout: int
    lengths: bool
    save: bool
    normalised: bool
    directions: int
    resets: bool  # whether a step has a second product, of r * h
    late: bool  # whether addresses must not be computed before the wait, where they would spill
    adds_up: bool  # whether the kernel also sums the bias's gradient
    count: float  # number of values that are normalised together
    across: int  # programs of a tile of sequences
    partners: int  # the smallest power of two that is at least `across`
    partial_sums: Any  # layout of the sums that these programs exchange to normalise [partners, rows]
    sums: Any  # layout of a product [rows, columns]
    columns: Any  # layout of gates [rows, gates * units], in memory's order
    tile: Any  # layout of states [rows, units]
    load: Any  # layout of a chunk that is copied to shared memory
    shared: Any  # layout of a chunk in shared memory
    weight_load: Any  # the same for weights
    weight_shared: Any


FIXED = ("real", "reverse", "zoneout", "lengths", "save", "normalised", "directions")  # fields of both records


@lru_cache(maxsize=256)
def frame_of(fixed: Fixed) -> Frame:
    """Everything that a kernel is compiled with. Imports Triton."""
    tiles, gates, size = fixed.tiles, GATES[fixed.cell], padded(fixed.real)
    width = gates * tiles.units
    wide = tiles.split * tiles.units if fixed.backward else width
    chunks = (gates * size // tiles.split if fixed.backward else size) // DEPTH
    weight_width, across, resets = wide if fixed.backward else DEPTH, size // tiles.units, fixed.cell == RESETS
    sums, columns = _sums_layout(wide, tiles), _columns_layout(width, tiles, 1)
    return Frame(
        **{name: getattr(fixed, name) for name in FIXED},
        cell=fixed.cell,
        gates=gates,
        memory=fixed.cell == "lstm",
        size=size,
        rows=tiles.rows,
        units=tiles.units,
        split=tiles.split,
        depth=DEPTH,
        held=min(tiles.held, chunks),
        buffers=min(tiles.buffers, chunks),
        chunks=chunks,
        streamed=min(tiles.buffers, chunks) if tiles.held < chunks else 0,
        resets=resets,
        adds_up=not fixed.normalised and not resets,
        count=float(BLOCKS.get(fixed.cell, 1) * fixed.real),
        across=across,
        partners=1 << (across - 1).bit_length(),
        partial_sums=_partial_sums_layout(tiles),
        late=fixed.directions == 2 or resets or (fixed.lengths and not fixed.reverse),
        sums=sums,
        columns=columns,
        tile=columns if gates == 1 else _columns_layout(width, tiles, 4),
        load=_load_layout(tiles.warps, DEPTH),
        shared=_shared_layout(DEPTH),
        weight_load=_load_layout(tiles.warps, weight_width),
        weight_shared=_shared_layout(weight_width),
    )


def _warps_down(tiles: Tiles) -> int:
    """The number of a program's warps along the rows of its product."""
    return 8 if tiles.rows >= 128 and tiles.warps >= 8 else 4


def _sums_layout(width: int, tiles: Tiles) -> Any:
    from triton.experimental.gluon import language as gl

    down = _warps_down(tiles)
    across = tiles.warps // down
    return gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[down, across], instr_shape=[16, width // across, 16]
    )


def _columns_layout(width: int, tiles: Tiles, scale: int) -> Any:
    """The layout of a product's columns in memory's order; with scale 4, four columns are one unit.

    A thread of a product has columns 2j and 2j + 1 of each group of eight, j from 0 to 3 by its lane; in memory's order
    they are 2 * groups neighbours.
    """
    from triton.experimental.gluon import language as gl

    down = _warps_down(tiles)
    across, groups = tiles.warps // down, width // 8
    bits = [1 << index for index in range(groups.bit_length() - 1)]  # bits of a group's number
    apart = across.bit_length() - 1
    own, others = (bits[:-apart], bits[-apart:]) if apart else (bits, [])
    more = [[row, 0] for row in (64, 128) if tiles.rows > row >= 16 * down]
    registers = [[0, 1]] if scale == 1 else []
    registers += [[0, 2 * bit // scale] for bit in own if 2 * bit >= scale]
    registers += [[8, 0], *more]
    lanes = [[0, 2 * groups // scale], [0, 4 * groups // scale], [1, 0], [2, 0], [4, 0]]
    warps = [[16 << index, 0] for index in range(down.bit_length() - 1)] + [[0, 2 * bit // scale] for bit in others]
    return gl.DistributedLinearLayout(registers, lanes, warps, [], [tiles.rows, width // scale])


def _load_layout(warps: int, width: int) -> Any:
    """The layout of a copy: eight threads read a line of 128 bytes, sixteen bytes each."""
    from triton.experimental.gluon import language as gl

    across = min(width // 8, 8)
    return gl.BlockedLayout([1, 8], [32 // across, across], [warps, 1], [1, 0])


def _partial_sums_layout(tiles: Tiles) -> Any:
    """The layout of the sums of all programs [partners, rows]: all warps along the rows, which are not added up."""
    from triton.experimental.gluon import language as gl

    across = min(tiles.warps, tiles.rows // 32)
    return gl.BlockedLayout([1, 1], [1, 32], [tiles.warps // across, across], [1, 0])


def _shared_layout(width: int) -> Any:
    from triton.experimental.gluon import language as gl

    return gl.NVMMASharedLayout(swizzle_byte_width=min(128, ELEMENT * width), element_bitwidth=16, rank=2)
