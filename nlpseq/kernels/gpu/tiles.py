"""The device functions that all of Triton's sequence kernels are made of.

All steps lie one after another, those of one time step beside each other, so a row of a tile is found by adding its
sequence to the step's first place. Padding has its places, because shapes that depend on lengths would make the host
wait for the device; it is masked, and what was zero there stays zero. Tiles are powers of two, as Triton wants them;
what lies beyond the real units is loaded as zero and never stored. A tuple of tiles holds one for each block of gates,
[rows, units] each. The price of one statement for all kernels is a dozen arguments each.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON: tl.constexpr = tl.constexpr(1e-5)  # as in nlpseq.arrays.normalise


@triton.jit
def load_blocks(
    pointer: tl.tensor, places: tl.tensor, units: tl.tensor, mask: tl.tensor, size: tl.tensor, BLOCKS: tl.constexpr
) -> tl.tuple:
    """Tiles of a matrix [N, BLOCKS * size], one for each block, in fp32; places [rows, 1], units [1, units]."""
    blocks = ()
    for block in tl.static_range(BLOCKS):
        address = pointer + places * (BLOCKS * size) + (block * size + units)
        blocks += (tl.load(address, mask=mask, other=0.0).to(tl.float32),)
    return blocks


@triton.jit
def store_blocks(
    pointer: tl.tensor,
    blocks: tl.tuple,
    places: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    BLOCKS: tl.constexpr,
) -> None:
    """Puts tiles where `load_blocks` finds them."""
    for block in tl.static_range(BLOCKS):
        tl.store(pointer + places * (BLOCKS * size) + (block * size + units), blocks[block], mask=mask)


@triton.jit
def keep_for_backward(
    room: tl.tuple,
    memory: tl.tensor,
    saved: tl.tuple,
    normalised: tl.tuple,
    deviations: tl.tuple,
    places: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    active: tl.tensor,
    size: tl.tensor,
    S: tl.constexpr,
) -> None:
    """Stores what the backward pass needs of one step."""
    SAVED: tl.constexpr = S.saved
    GATES: tl.constexpr = S.gates
    DEVIATIONS: tl.constexpr = 1 + S.resets
    store_blocks(room.saved, saved, places, units, mask, size, SAVED)
    if S.memory:
        tl.store(room.memories + places * size + units, memory, mask=mask)
    if S.normalised:
        store_blocks(room.normalised, normalised, places, units, mask, size, GATES)
        for index in tl.static_range(DEVIATIONS):
            tl.store(room.deviations + places * 2 + index, deviations[index][:, None], mask=active)


@triton.jit
def load_vectors(pointer: tl.tensor, units: tl.tensor, size: tl.tensor, BLOCKS: tl.constexpr) -> tl.tuple:
    """The blocks of a vector [BLOCKS * size], in fp32; none where there is no vector."""
    blocks = ()
    if pointer is not None:
        for block in tl.static_range(BLOCKS):
            values = tl.load(pointer + block * size + units, mask=units < size, other=0.0)
            blocks += (values.to(tl.float32),)
    return blocks


@triton.jit
def load_input(
    given: tl.tuple,
    biases: tl.tuple,
    places: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    BLOCKS: tl.constexpr,
) -> tl.tuple:
    """The input's product at one step, with its bias where that is not in it."""
    blocks = load_blocks(given.from_input, places, units, mask, size, BLOCKS)
    if given.input_bias is None:
        return blocks
    else:
        added = ()
        for block in tl.static_range(BLOCKS):
            added += (blocks[block] + biases[block],)
        return added


@triton.jit
def row_lengths(rows: tl.tensor, given: tl.tuple, sizes: tl.tuple) -> tl.tensor:
    """How many steps each sequence of the tile has: none where there is no such sequence."""
    if given.lengths is None:
        return tl.where(rows < sizes.batch, sizes.steps, 0)
    else:
        return tl.load(given.lengths + rows, mask=rows < sizes.batch, other=0).to(tl.int32)


@triton.jit
def places_at(time: tl.tensor, rows: tl.tensor, sizes: tl.tuple) -> tl.tensor:
    """Where the step at `time` of each sequence lies, [rows, 1]."""
    return rows.to(tl.int64)[:, None] + time * sizes.batch


@triton.jit
def load_before(
    states: tl.tensor,
    first: tl.tensor,
    time: tl.tensor,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    given: tl.tuple,
    sizes: tl.tuple,
    S: tl.constexpr,
) -> tl.tensor:
    """The state before the step at `time`, of all states after steps [N, H] and the first ones [B, H]."""
    mask = (time < length)[:, None] & (units < sizes.size)
    if S.reverse:
        begins = (time == length - 1)[:, None]
        neighbour = tl.minimum(time + 1, sizes.steps - 1)
    else:
        begins = ((time + 0 * length) == 0)[:, None]
        neighbour = tl.maximum(time - 1, 0)
    places = places_at(neighbour, rows, sizes)
    began = tl.load(first + rows[:, None] * sizes.size + units, mask=mask & begins, other=0.0)
    carried = mask & (begins == 0)
    if S.barrier:  # others wrote it just now: not from this multiprocessor's own cache
        went_on = tl.load(states + places * sizes.size + units, mask=carried, other=0.0, cache_modifier=".cg")
    else:
        went_on = tl.load(states + places * sizes.size + units, mask=carried, other=0.0)
    return tl.where(begins, began, went_on)


@triton.jit
def share_kept(places: tl.tensor, units: tl.tensor, mask: tl.tensor, given: tl.tuple, sizes: tl.tuple) -> tl.tensor:
    """The share of the old state that zoneout keeps: of each unit, or the same of all."""
    if given.masks is None:
        return sizes.zoneout
    else:
        return tl.load(given.masks + places * sizes.size + units, mask=mask, other=0).to(tl.float32)


@triton.jit
def multiply(left: tl.tensor, right: tl.tensor, S: tl.constexpr) -> tl.tensor:
    """A product of tiles, its left side in the right one's type, summed in fp32."""
    return tl.dot(left.to(right.dtype), right, input_precision=S.precision, out_dtype=tl.float32)


@triton.jit
def normalise(
    blocks: tl.tuple, known: tl.tensor, size: tl.tensor, EPSILON: tl.constexpr, BLOCKS: tl.constexpr
) -> tl.tuple:
    """Layer normalisation of rows over all blocks, no gain (Ba et al., 2016); and one over the deviation [rows]."""
    total = tl.sum(blocks[0], 1)
    for block in tl.static_range(1, BLOCKS):
        total += tl.sum(blocks[block], 1)
    mean = (total / (BLOCKS * size))[:, None]
    squares = tl.zeros_like(total)
    for block in tl.static_range(BLOCKS):
        centred = tl.where(known, blocks[block] - mean, 0.0)
        squares += tl.sum(centred * centred, 1)
    deviation = 1.0 / tl.sqrt(squares / (BLOCKS * size) + EPSILON)
    normalised = ()
    for block in tl.static_range(BLOCKS):
        normalised += (tl.where(known, blocks[block] - mean, 0.0) * deviation[:, None],)
    return normalised, deviation


@triton.jit
def normalise_backward(
    grads: tl.tuple,
    normalised: tl.tuple,
    deviation: tl.tensor,
    known: tl.tensor,
    size: tl.tensor,
    BLOCKS: tl.constexpr,
) -> tl.tuple:
    """Through `normalise`, from gradients of its results that have the gain in them to those of what it was given."""
    total = tl.sum(grads[0], 1)
    shared = tl.sum(grads[0] * normalised[0], 1)
    for block in tl.static_range(1, BLOCKS):
        total += tl.sum(grads[block], 1)
        shared += tl.sum(grads[block] * normalised[block], 1)
    mean = (total / (BLOCKS * size))[:, None]
    shared = (shared / (BLOCKS * size))[:, None]
    bare = ()
    for block in tl.static_range(BLOCKS):
        centred = grads[block] - mean - normalised[block] * shared
        bare += (tl.where(known, centred, 0.0) * deviation[:, None],)
    return bare


@triton.jit
def finish(
    bare: tl.tuple,
    biases: tl.tuple,
    gains: tl.tuple,
    known: tl.tensor,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> tl.tuple:
    """Products of blocks from FIRST on, normalised where asked for, with their bias; what they were before gain and
    bias, and one over the deviation.
    """
    deviation = ()
    if S.normalised:
        bare, inverse = normalise(bare, known, size, EPSILON, BLOCKS)
        deviation = (inverse,)
    finished = ()
    for block in tl.static_range(BLOCKS):
        scaled = bare[block] * gains[FIRST + block] if S.normalised else bare[block]
        finished += (scaled + biases[FIRST + block],)
    return finished, bare, deviation


@triton.jit
def through_normalisation(
    grads: tl.tuple,
    given: tl.tuple,
    room: tl.tuple,
    sent: tl.tuple,
    places: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> tl.tuple:
    """Through `finish`, to the gradients of the bare products, which are stored where they are others'."""
    if S.normalised:
        address = places * (S.gates * size) + FIRST * size + units
        normalised = ()
        scaled = ()
        for block in tl.static_range(BLOCKS):
            gain = tl.load(given.gain + (FIRST + block) * size + units, mask=units < size, other=0.0)
            scaled += (grads[block] * gain,)
            normalised += (tl.load(room.normalised + address + block * size, mask=mask, other=0.0),)
        active = tl.max(mask.to(tl.int32), 1)[:, None] > 0
        inverse = tl.load(room.deviations + places * 2 + (FIRST > 0), mask=active, other=0.0)
        bare = normalise_backward(scaled, normalised, tl.sum(inverse, 1), units < size, size, BLOCKS)
        for block in tl.static_range(BLOCKS):
            tl.store(sent.bare + address + block * size, bare[block], mask=mask)
        return bare
    else:
        return grads
