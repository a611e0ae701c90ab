"""A step spread over the whole device: Triton's kernels for hidden sizes that one program cannot hold.

A program owns a tile of sequences and some hidden units with all their gates. It multiplies the whole hidden state with
the weights of its units and computes the gates at once, so a step writes only its results. All programs of the next
step read them. So either each step is its own launch, or one launch runs all steps and the programs of a tile of
sequences wait for each other. Every step writes its hidden states to its own array, so one wait in each step is enough:
no program overwrites what another may still read.

The wait is bounded. A program that has waited too long sets a flag and continues without waiting; its results are then
wrong, and the caller must check the flag.

Cells that reset before a product, and layer normalisation, need a second wait inside the step; the kernels of `rows`
run them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nlpseq.kernels.gpu.tiles import (
    keep_for_backward,
    kept_by_zoneout,
    load_before,
    load_blocks,
    load_input,
    load_vectors,
    load_weight,
    load_weights,
    multiply,
    positions_at,
    row_lengths,
    states_before,
    store_blocks,
    zoned,
)

PATIENCE: tl.constexpr = tl.constexpr(1 << 22)  # reads of the counter before giving up, each about a microsecond


@triton.jit
def _wait(signal: tl.tuple, tile: tl.tensor, step: tl.tensor) -> None:
    """Wait until all programs of a tile of sequences have ended a step; the counters [tiles] start at zero."""
    tl.debug_barrier()
    counter = signal.counters + tile
    tl.atomic_add(counter, 1, sem="release")
    needed = (step + 1) * tl.num_programs(0)
    arrived = tl.atomic_add(counter, 0, sem="acquire")
    looks = 0
    while (arrived < needed) & (looks < PATIENCE):
        arrived = tl.atomic_add(counter, 0, sem="acquire")
        looks += 1
    if arrived < needed:  # from now on no program waits
        tl.atomic_add(signal.failed, 1, sem="relaxed")
        tl.atomic_max(counter, 1 << 30, sem="relaxed")
    tl.debug_barrier()


@triton.jit
def _zeros(S: tl.constexpr) -> tl.tuple:
    """A tile of zeros for each block of gates."""
    BLOCKS: tl.constexpr = S.gates
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    blocks = ()
    for _block in tl.static_range(BLOCKS):
        blocks += (tl.zeros([ROWS, UNITS], tl.float32),)
    return blocks


@triton.jit
def _product(
    time: tl.tensor,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    weights: tl.tuple,
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    S: tl.constexpr,
) -> tl.tuple:
    """The hidden state before the step at `time` times the weights of the program's units."""
    BLOCKS: tl.constexpr = S.gates
    DEPTH: tl.constexpr = S.depth
    total = _zeros(S)
    for start in range(0, sizes.size, DEPTH):
        depth = start + tl.arange(0, DEPTH)
        hidden = load_before(results.outputs, inputs.first_hidden, time, rows, depth[None, :], length, inputs, sizes, S)
        sums = ()
        for block in tl.static_range(BLOCKS):
            tile = weights[block] if S.held else load_weight(inputs, block, depth[:, None], units, sizes.size, True)
            sums += (total[block] + multiply(hidden, tile, S),)
        total = sums
    return total


@triton.jit
def _forward_step(
    time: tl.tensor,
    state: tl.tuple,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    weights: tl.tuple,
    biases: tl.tuple,
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    FORWARD: tl.constexpr,
    S: tl.constexpr,
) -> tl.tuple:
    """One step of the program's units: their state after it."""
    BLOCKS: tl.constexpr = S.gates
    hidden, memory = state
    active = (time < length)[:, None]
    mask = active & (units < sizes.size)
    positions = positions_at(time, rows, sizes)
    x = load_input(inputs, biases[1], positions, units, mask, sizes.size, BLOCKS)
    bare = _product(time, rows, units, length, weights, inputs, results, sizes, S)
    q = ()
    for block in tl.static_range(BLOCKS):
        q += (bare[block] + biases[0][block],)
    new, new_memory, saved = FORWARD(x, q, hidden, memory)
    new, new_memory = zoned(new, hidden, new_memory, memory, positions, units, mask, inputs, sizes, S)
    tl.store(results.outputs + positions * sizes.size + units, new, mask=mask)
    if S.training:
        keep_for_backward(results, new_memory, saved, (), (), positions, units, mask, active, sizes.size, S)
    hidden = tl.where(mask, new, hidden)
    return hidden, tl.where(mask, new_memory, memory) if S.memory else hidden


@triton.jit
def _bounds(
    only_step: tl.tensor, length: tl.tensor, sizes: tl.tuple, BACKWARD: tl.constexpr, S: tl.constexpr
) -> tl.tuple:
    """The first step of a launch and the step after its last, in running order, without steps of padding only.

    These are all steps if there is a barrier, else `only_step`.
    """
    limit = tl.max(length)
    if S.barrier:
        first = 0 if S.reverse == BACKWARD else sizes.steps - limit
        return first, first + limit
    else:
        time = only_step if S.reverse == BACKWARD else sizes.steps - 1 - only_step
        return only_step, only_step + (time < limit)


@triton.jit(do_not_specialize=["only_step"])
def steps_forward(
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    only_step: tl.tensor,
    signal: tl.tuple,
    FORWARD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """Run `only_step`, or all steps with a wait after each, for a tile of sequences and some units."""
    BLOCKS: tl.constexpr = S.gates
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    DEPTH: tl.constexpr = S.depth
    size = sizes.size
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    units = (tl.program_id(0) * UNITS + tl.arange(0, UNITS))[None, :]
    length = row_lengths(rows, inputs, sizes)
    biases = load_vectors(inputs.bias, units, size, BLOCKS), load_vectors(inputs.input_bias, units, size, BLOCKS)
    weights = load_weights(inputs, tl.arange(0, DEPTH)[:, None], units, size, S, True)
    own, owned = rows[:, None] * size + units, (rows[:, None] < sizes.batch) & (units < size)
    hidden = tl.load(results.last_hidden + own, mask=owned, other=0.0)
    memory = tl.load(results.last_memory + own, mask=owned, other=0.0) if S.memory else hidden
    first, last = _bounds(only_step, length, sizes, False, S)
    for step in range(first, last):
        time = sizes.steps - 1 - step if S.reverse else step
        hidden, memory = _forward_step(
            time, (hidden, memory), rows, units, length, weights, biases, inputs, results, sizes, FORWARD, S
        )
        if S.barrier:
            _wait(signal, tl.program_id(1), step - first)
    tl.store(results.last_hidden + own, hidden, mask=owned)
    if S.memory:
        tl.store(results.last_memory + own, memory, mask=owned)


@triton.jit
def _product_backward(
    time: tl.tensor,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    weights: tl.tuple,
    inputs: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    S: tl.constexpr,
) -> tl.tensor:
    """The gradient of the program's units through the product of the step that ran after the step at `time`."""
    BLOCKS: tl.constexpr = S.gates
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    DEPTH: tl.constexpr = S.depth
    size = sizes.size
    later = tl.maximum(time - 1, 0) if S.reverse else tl.minimum(time + 1, sizes.steps - 1)
    ran = ((time < length) & (time + 0 * length > 0) if S.reverse else time + 1 < length)[:, None]
    positions = positions_at(later, rows, sizes) * (BLOCKS * size)
    total = tl.zeros([ROWS, UNITS], tl.float32)
    for start in range(0, size, DEPTH):
        depth = start + tl.arange(0, DEPTH)
        mask = ran & (depth < size)[None, :]
        for block in tl.static_range(BLOCKS):
            address = gradients.product + positions + (block * size + depth[None, :])
            if S.barrier:
                grad = tl.load(address, mask=mask, other=0.0, cache_modifier=".cg")
            else:
                grad = tl.load(address, mask=mask, other=0.0)
            tile = weights[block] if S.held else load_weight(inputs, block, depth[:, None], units, size, False)
            total += multiply(grad, tile, S)
    return total


@triton.jit
def _backward_step(
    time: tl.tensor,
    grads: tl.tuple,
    rows: tl.tensor,
    units: tl.tensor,
    length: tl.tensor,
    weights: tl.tuple,
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    BACKWARD: tl.constexpr,
    S: tl.constexpr,
) -> tl.tuple:
    """One step back of the program's units; the next step back adds the gradient through this step's product."""
    BLOCKS: tl.constexpr = S.gates
    SAVED: tl.constexpr = S.saved
    size = sizes.size
    mask = (time < length)[:, None] & (units < size)
    positions = positions_at(time, rows, sizes)
    after = grads[0] + tl.load(gradients.outputs + positions * size + units, mask=mask, other=0.0)
    after += _product_backward(time, rows, units, length, weights, inputs, gradients, sizes, S)
    hidden, memory = states_before(time, rows, units, length, inputs, results, sizes, S)
    saved = load_blocks(results.saved, positions, units, mask, size, SAVED)
    kept = kept_by_zoneout(positions, units, mask, inputs, sizes) if S.zoneout else 0.0
    x, q, grad_hidden, grad_memory = BACKWARD(saved, hidden, memory, after * (1.0 - kept), grads[1] * (1.0 - kept))
    store_blocks(gradients.from_input, x, positions, units, mask, size, BLOCKS)
    if not S.additive:
        store_blocks(gradients.product, q, positions, units, mask, size, BLOCKS)
    grad_hidden = tl.where(mask, grad_hidden + after * kept, grads[0])
    return grad_hidden, tl.where(mask, grad_memory + grads[1] * kept, grads[1]) if S.memory else grads[1]


@triton.jit(do_not_specialize=["only_step"])
def steps_backward(
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    only_step: tl.tensor,
    signal: tl.tuple,
    BACKWARD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """As `steps_forward`, backwards: step 0 is the last that ran forwards. The gradient of the first hidden state does
    not include the gradient through the first step's product, which the caller adds.
    """
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    DEPTH: tl.constexpr = S.depth
    size = sizes.size
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    units = (tl.program_id(0) * UNITS + tl.arange(0, UNITS))[None, :]
    length = row_lengths(rows, inputs, sizes)
    weights = load_weights(inputs, tl.arange(0, DEPTH)[:, None], units, size, S, False)
    own, owned = rows[:, None] * size + units, (rows[:, None] < sizes.batch) & (units < size)
    grad_hidden = tl.load(gradients.hidden + own, mask=owned, other=0.0)
    grad_memory = tl.load(gradients.memory + own, mask=owned, other=0.0) if S.memory else tl.zeros_like(grad_hidden)
    first, last = _bounds(only_step, length, sizes, True, S)
    for step in range(first, last):
        time = step if S.reverse else sizes.steps - 1 - step
        grads = grad_hidden, grad_memory
        grad_hidden, grad_memory = _backward_step(
            time, grads, rows, units, length, weights, inputs, results, gradients, sizes, BACKWARD, S
        )
        if S.barrier:
            _wait(signal, tl.program_id(1), step - first)
    tl.store(gradients.hidden + own, grad_hidden, mask=owned)
    if S.memory:
        tl.store(gradients.memory + own, grad_memory, mask=owned)
