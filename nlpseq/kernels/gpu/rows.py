"""A step in several launches: Triton's kernels for cells and options that need whole rows inside a step.

Layer normalisation needs the mean over all units of a sequence, and a cell that resets before a product has two
products in each step. So a step is a product, then the gates, with a program for each sequence, and for some cells both
again. The price is that products are written to memory and read again, and two to four launches in each step.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nlpseq.kernels.gpu.normalisation import finish, through_normalisation
from nlpseq.kernels.gpu.pointwise import reset_hidden, reset_hidden_backward
from nlpseq.kernels.gpu.tiles import (
    keep_for_backward,
    kept_by_zoneout,
    load_before,
    load_blocks,
    load_input,
    load_vectors,
    multiply,
    positions_at,
    row_lengths,
    states_before,
    store_blocks,
    zoned,
)


@triton.jit
def product(
    left: tl.tensor,
    right: tl.tensor,
    out: tl.tensor,
    shape: tl.tuple,
    strides: tl.tuple,
    ADD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """out [n, m] = left [n, k] times right [k, m], or with ADD +=.

    `shape` is (n, k, m); `strides` are those of left's rows, right's rows, right's columns and out's rows.
    """
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    DEPTH: tl.constexpr = S.depth
    rows = (tl.program_id(1) * ROWS + tl.arange(0, ROWS))[:, None]
    columns = (tl.program_id(0) * UNITS + tl.arange(0, UNITS))[None, :]
    total = tl.zeros([ROWS, UNITS], tl.float32)
    for start in range(0, shape[1], DEPTH):
        depth = start + tl.arange(0, DEPTH)
        left_mask = (rows < shape[0]) & (depth[None, :] < shape[1])
        right_mask = (depth[:, None] < shape[1]) & (columns < shape[2])
        lefts = tl.load(left + rows * strides[0] + depth[None, :], mask=left_mask, other=0.0)
        rights = tl.load(right + depth[:, None] * strides[1] + columns * strides[2], mask=right_mask, other=0.0)
        total += multiply(lefts, rights, S)
    mask = (rows < shape[0]) & (columns < shape[2])
    address = out + rows * strides[3] + columns
    if ADD:
        total += tl.load(address, mask=mask, other=0.0)
    tl.store(address, total, mask=mask)


@triton.jit
def _indices(step: tl.tensor, inputs: tl.tuple, sizes: tl.tuple, BACKWARD: tl.constexpr, S: tl.constexpr) -> tl.tuple:
    """A program's sequence, units and length, and the time of `step`, counted in running order."""
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    time = step if S.reverse == BACKWARD else sizes.steps - 1 - step
    return rows, tl.arange(0, UNITS)[None, :], row_lengths(rows, inputs, sizes), time


@triton.jit
def _finished(
    products: tl.tensor,
    own: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    inputs: tl.tuple,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
) -> tl.tuple:
    """Blocks FIRST to LAST of `products`, as `finish` returns them."""
    GATES: tl.constexpr = S.gates
    BLOCKS: tl.constexpr = LAST - FIRST
    biases, gains = load_vectors(inputs.bias, units, size, GATES), load_vectors(inputs.gain, units, size, GATES)
    bare = ()
    for block in tl.static_range(FIRST, LAST):
        bare += (tl.load(products + own * (GATES * size) + (block * size + units), mask=mask, other=0.0),)
    return finish(bare, biases, gains, units < size, size, S, FIRST, BLOCKS)


@triton.jit(do_not_specialize=["step"])
def rows_reset(
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    step: tl.tensor,
    products: tl.tensor,
    held: tl.tensor,
    S: tl.constexpr,
) -> None:
    """Between two products of a step: from the first blocks of `products` [B, G*H] to r * h in `held` [B, H]."""
    GATES: tl.constexpr = S.gates
    size = sizes.size
    rows, units, length, time = _indices(step, inputs, sizes, False, S)
    mask = (time < length)[:, None] & (units < size)
    input_biases = load_vectors(inputs.input_bias, units, size, GATES)
    x = load_input(inputs, input_biases, positions_at(time, rows, sizes), units, mask, size, GATES)
    q, _, _ = _finished(products, rows[:, None], units, mask, inputs, size, S, 0, GATES - 1)
    own = rows[:, None] * size + units
    hidden = tl.load(results.last_hidden + own, mask=mask, other=0.0)
    tl.store(held + own, reset_hidden(x, q, hidden), mask=mask)


@triton.jit(do_not_specialize=["step"])
def rows_forward(
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    step: tl.tensor,
    products: tl.tensor,
    FORWARD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """Compute the state after a step from its `products` [B, G*H]."""
    GATES: tl.constexpr = S.gates
    HEAD: tl.constexpr = S.gates - S.resets
    size = sizes.size
    rows, units, length, time = _indices(step, inputs, sizes, False, S)
    active = (time < length)[:, None]
    mask = active & (units < size)
    positions = positions_at(time, rows, sizes)
    x = load_input(inputs, load_vectors(inputs.input_bias, units, size, GATES), positions, units, mask, size, GATES)
    q, normalised, deviations = _finished(products, rows[:, None], units, mask, inputs, size, S, 0, HEAD)
    if S.resets:
        tail, bare_tail, deviation = _finished(products, rows[:, None], units, mask, inputs, size, S, HEAD, GATES)
        q, normalised, deviations = q + tail, normalised + bare_tail, deviations + deviation
    own = rows[:, None] * size + units
    hidden = tl.load(results.last_hidden + own, mask=mask, other=0.0)
    memory = tl.load(results.last_memory + own, mask=mask, other=0.0) if S.memory else hidden
    new, new_memory, saved = FORWARD(x, q, hidden, memory)
    new, new_memory = zoned(new, hidden, new_memory, memory, positions, units, mask, inputs, sizes, S)
    tl.store(results.outputs + positions * size + units, new, mask=mask)
    tl.store(results.last_hidden + own, new, mask=mask)
    if S.memory:
        tl.store(results.last_memory + own, new_memory, mask=mask)
    if S.training:
        keep_for_backward(results, new_memory, saved, normalised, deviations, positions, units, mask, active, size, S)


@triton.jit
def _store_gradients(
    out: tl.tensor,
    grads: tl.tuple,
    rows: tl.tensor,
    units: tl.tensor,
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    positions: tl.tensor,
    mask: tl.tensor,
    sizes: tl.tuple,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> None:
    """Store gradients of the bare products of blocks to `out` [B, G*H]; zero if the sequence has ended."""
    size = sizes.size
    bare = through_normalisation(grads, inputs, results, gradients, positions, units, mask, size, S, FIRST, BLOCKS)
    known = (rows[:, None] < sizes.batch) & (units < size)
    for block in tl.static_range(BLOCKS):
        address = out + rows[:, None] * (S.gates * size) + ((FIRST + block) * size + units)
        tl.store(address, tl.where(mask, bare[block], 0.0), mask=known)


@triton.jit(do_not_specialize=["step"])
def rows_backward(
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    step: tl.tensor,
    out: tl.tensor,
    BACKWARD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """One step back, up to the gradients of its products, or of only the last block if the cell resets before it."""
    GATES: tl.constexpr = S.gates
    SAVED: tl.constexpr = S.saved
    size = sizes.size
    rows, units, length, time = _indices(step, inputs, sizes, True, S)
    mask = (time < length)[:, None] & (units < size)
    positions = positions_at(time, rows, sizes)
    hidden, memory = states_before(time, rows, units, length, inputs, results, sizes, S)
    saved = load_blocks(results.saved, positions, units, mask, size, SAVED)
    own = rows[:, None] * size + units
    grad = tl.load(gradients.hidden + own, mask=mask, other=0.0)
    grad += tl.load(gradients.outputs + positions * size + units, mask=mask, other=0.0)
    past = tl.load(gradients.memory + own, mask=mask, other=0.0) if S.memory else grad
    kept = kept_by_zoneout(positions, units, mask, inputs, sizes) if S.zoneout else 0.0
    x, q, grad_hidden, grad_memory = BACKWARD(saved, hidden, memory, grad * (1.0 - kept), past * (1.0 - kept))
    tl.store(gradients.hidden + own, grad_hidden + grad * kept, mask=mask)
    if S.memory:
        tl.store(gradients.memory + own, grad_memory + past * kept, mask=mask)
    store_blocks(gradients.from_input, x, positions, units, mask, size, GATES)
    if not S.additive:
        store_blocks(gradients.product, q, positions, units, mask, size, GATES)
    if S.resets:
        _store_gradients(
            out, (q[GATES - 1],), rows, units, inputs, results, gradients, positions, mask, sizes, S, GATES - 1, 1
        )
    else:
        _store_gradients(out, q, rows, units, inputs, results, gradients, positions, mask, sizes, S, 0, GATES)


@triton.jit(do_not_specialize=["step"])
def rows_reset_backward(
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    step: tl.tensor,
    grad_held: tl.tensor,
    out: tl.tensor,
    S: tl.constexpr,
) -> None:
    """The rest of a step back: from the gradient of r * h [B, H] to those of the first blocks' products."""
    GATES: tl.constexpr = S.gates
    SAVED: tl.constexpr = S.saved
    size = sizes.size
    rows, units, length, time = _indices(step, inputs, sizes, True, S)
    mask = (time < length)[:, None] & (units < size)
    positions = positions_at(time, rows, sizes)
    hidden = load_before(results.outputs, inputs.first_hidden, time, rows, units, length, inputs, sizes, S)
    saved = load_blocks(results.saved, positions, units, mask, size, SAVED)
    own = rows[:, None] * size + units
    grad_reset, through = reset_hidden_backward(saved, hidden, tl.load(grad_held + own, mask=mask, other=0.0))
    grad_hidden = tl.load(gradients.hidden + own, mask=mask, other=0.0)
    tl.store(gradients.hidden + own, grad_hidden + through, mask=mask)
    grads = load_blocks(gradients.from_input, positions, units, mask, size, GATES)
    tl.store(gradients.from_input + positions * (GATES * size) + units, grad_reset, mask=mask)
    _store_gradients(
        out, (grad_reset, grads[1]), rows, units, inputs, results, gradients, positions, mask, sizes, S, 0, GATES - 1
    )
