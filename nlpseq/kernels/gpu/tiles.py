"""The device functions that all of Triton's sequence kernels share.

Steps are stored one after another, with all sequences of a time step together, so the position of a row is the step's
first position plus the number of its sequence. Padding is stored too, because shapes that depend on lengths would make
the host wait for the device; it is masked, and zeros there stay zero. Tiles are powers of two, as Triton requires;
units beyond the real ones are loaded as zero and never stored. A tuple of tiles has one for each block of gates, [rows,
units] each. The price of sharing these functions is a dozen arguments each.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_blocks(
    pointer: tl.tensor, positions: tl.tensor, units: tl.tensor, mask: tl.tensor, size: tl.tensor, BLOCKS: tl.constexpr
) -> tl.tuple:
    """Tiles of a matrix [N, BLOCKS * size], one for each block, in fp32; positions [rows, 1], units [1, units]."""
    blocks = ()
    for block in tl.static_range(BLOCKS):
        address = pointer + positions * (BLOCKS * size) + (block * size + units)
        blocks += (tl.load(address, mask=mask, other=0.0).to(tl.float32),)
    return blocks


@triton.jit
def store_blocks(
    pointer: tl.tensor,
    blocks: tl.tuple,
    positions: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    BLOCKS: tl.constexpr,
) -> None:
    """Store tiles where `load_blocks` reads them."""
    for block in tl.static_range(BLOCKS):
        tl.store(pointer + positions * (BLOCKS * size) + (block * size + units), blocks[block], mask=mask)


@triton.jit
def keep_for_backward(
    results: tl.tuple,
    memory: tl.tensor,
    saved: tl.tuple,
    normalised: tl.tuple,
    deviations: tl.tuple,
    positions: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    active: tl.tensor,
    size: tl.tensor,
    S: tl.constexpr,
) -> None:
    """Store the values of one step that the backward pass needs."""
    SAVED: tl.constexpr = S.saved
    GATES: tl.constexpr = S.gates
    DEVIATIONS: tl.constexpr = 1 + S.resets
    store_blocks(results.saved, saved, positions, units, mask, size, SAVED)
    if S.memory:
        tl.store(results.memories + positions * size + units, memory, mask=mask)
    if S.normalised:
        store_blocks(results.normalised, normalised, positions, units, mask, size, GATES)
        for index in tl.static_range(DEVIATIONS):
            tl.store(results.deviations + positions * 2 + index, deviations[index][:, None], mask=active)


@triton.jit
def load_vectors(pointer: tl.tensor, units: tl.tensor, size: tl.tensor, BLOCKS: tl.constexpr) -> tl.tuple:
    """The blocks of a vector [BLOCKS * size], in fp32; empty without a vector."""
    blocks = ()
    if pointer is not None:
        for block in tl.static_range(BLOCKS):
            values = tl.load(pointer + block * size + units, mask=units < size, other=0.0)
            blocks += (values.to(tl.float32),)
    return blocks


@triton.jit
def load_input(
    inputs: tl.tuple,
    biases: tl.tuple,
    positions: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    BLOCKS: tl.constexpr,
) -> tl.tuple:
    """The input's product of one step, with its bias."""
    blocks = load_blocks(inputs.from_input, positions, units, mask, size, BLOCKS)
    if inputs.input_bias is None:
        return blocks
    else:
        added = ()
        for block in tl.static_range(BLOCKS):
            added += (blocks[block] + biases[block],)
        return added


@triton.jit
def row_lengths(rows: tl.tensor, inputs: tl.tuple, sizes: tl.tuple) -> tl.tensor:
    """The number of steps of each sequence of the tile; zero beyond the batch."""
    if inputs.lengths is None:
        return tl.where(rows < sizes.batch, sizes.steps, 0)
    else:
        return tl.load(inputs.lengths + rows, mask=rows < sizes.batch, other=0).to(tl.int32)


@triton.jit
def positions_at(time: tl.tensor, rows: tl.tensor, sizes: tl.tuple) -> tl.tensor:
    """The position of each sequence's step at `time` among all steps, [rows, 1]."""
    return rows.to(tl.int64)[:, None] + time * sizes.batch


@triton.jit
def load_before(
    states: tl.tensor,
    first: tl.tensor,
    time: tl.tensor,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    inputs: tl.tuple,
    sizes: tl.tuple,
    S: tl.constexpr,
) -> tl.tensor:
    """The state before the step at `time`, from the states after all steps [N, H] and the first states [B, H]."""
    mask = (time < length)[:, None] & (units < sizes.size)
    if S.reverse:
        is_first = (time == length - 1)[:, None]
        neighbour = tl.minimum(time + 1, sizes.steps - 1)
    else:
        is_first = ((time + 0 * length) == 0)[:, None]
        neighbour = tl.maximum(time - 1, 0)
    positions = positions_at(neighbour, rows, sizes)
    first_state = tl.load(first + rows[:, None] * sizes.size + units, mask=mask & is_first, other=0.0)
    carried = mask & (is_first == 0)
    if S.barrier:  # other programs wrote it just now, so bypass this multiprocessor's own cache
        carried_state = tl.load(states + positions * sizes.size + units, mask=carried, other=0.0, cache_modifier=".cg")
    else:
        carried_state = tl.load(states + positions * sizes.size + units, mask=carried, other=0.0)
    return tl.where(is_first, first_state, carried_state)


@triton.jit
def states_before(
    time: tl.tensor,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    S: tl.constexpr,
) -> tl.tuple:
    """Hidden state and memory before the step at `time`; the hidden state twice without a memory."""
    hidden = load_before(results.outputs, inputs.first_hidden, time, rows, units, length, inputs, sizes, S)
    if S.memory:
        return hidden, load_before(results.memories, inputs.first_memory, time, rows, units, length, inputs, sizes, S)
    else:
        return hidden, hidden


@triton.jit
def load_weight(
    inputs: tl.tuple, block: tl.constexpr, depth: tl.tensor, units: tl.tensor, size: tl.tensor, ACROSS: tl.constexpr
) -> tl.tensor:
    """A tile of a block of the recurrent weights: depth [DEPTH, 1], units [1, UNITS].

    ACROSS transposes it, for the product with a hidden state.
    """
    address = (block * size + units) * size + depth if ACROSS else (block * size + depth) * size + units
    return tl.load(inputs.weight + address, mask=(depth < size) & (units < size), other=0.0)


@triton.jit
def load_weights(
    inputs: tl.tuple, depth: tl.tensor, units: tl.tensor, size: tl.tensor, S: tl.constexpr, ACROSS: tl.constexpr
) -> tl.tuple:
    """That tile of all blocks, if the program keeps the weights over all steps."""
    BLOCKS: tl.constexpr = S.gates
    blocks = ()
    if S.held:
        for block in tl.static_range(BLOCKS):
            blocks += (load_weight(inputs, block, depth, units, size, ACROSS),)
    return blocks


@triton.jit
def zoned(
    new: tl.tensor,
    old: tl.tensor,
    new_memory: tl.tensor,
    old_memory: tl.tensor,
    positions: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    inputs: tl.tuple,
    sizes: tl.tuple,
    S: tl.constexpr,
) -> tl.tuple:
    """Hidden state and memory after a step, with the fraction of the old ones that zoneout keeps."""
    if S.zoneout:
        kept = kept_by_zoneout(positions, units, mask, inputs, sizes)
        return new + kept * (old - new), new_memory + kept * (old_memory - new_memory)
    else:
        return new, new_memory


@triton.jit
def kept_by_zoneout(
    positions: tl.tensor, units: tl.tensor, mask: tl.tensor, inputs: tl.tuple, sizes: tl.tuple
) -> tl.tensor:
    """The fraction of the old state that zoneout keeps: for each unit, or the same for all."""
    if inputs.masks is None:
        return sizes.zoneout
    else:
        return tl.load(inputs.masks + positions * sizes.size + units, mask=mask, other=0).to(tl.float32)


@triton.jit
def multiply(left: tl.tensor, right: tl.tensor, S: tl.constexpr) -> tl.tensor:
    """The product of two tiles, with the left one converted to the right one's type, summed in fp32."""
    return tl.dot(left.to(right.dtype), right, input_precision=S.precision, out_dtype=tl.float32)
