"""A step in several launches: Triton's kernels for cells and options that have to see whole rows inside a step.

Layer normalisation wants the mean of all units of a sequence, and a cell that resets before a product has two products
a step. So a step is a product, then the gates of whole sequences, one a program, and then perhaps both again. The price
is that products travel through memory, and two to four launches a step.
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
    places_at,
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
    """out [n, m] becomes, or has added, left [n, k] times right [k, m].

    `shape` is (n, k, m), `strides` are those of left's rows, right's rows, right's columns and out's rows.
    """
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    DEPTH: tl.constexpr = S.depth
    rows = (tl.program_id(1) * ROWS + tl.arange(0, ROWS))[:, None]
    columns = (tl.program_id(0) * UNITS + tl.arange(0, UNITS))[None, :]
    total = tl.zeros([ROWS, UNITS], tl.float32)
    for begin in range(0, shape[1], DEPTH):
        depth = begin + tl.arange(0, DEPTH)
        one = (rows < shape[0]) & (depth[None, :] < shape[1])
        other = (depth[:, None] < shape[1]) & (columns < shape[2])
        lefts = tl.load(left + rows * strides[0] + depth[None, :], mask=one, other=0.0)
        rights = tl.load(right + depth[:, None] * strides[1] + columns * strides[2], mask=other, other=0.0)
        total += multiply(lefts, rights, S)
    mask = (rows < shape[0]) & (columns < shape[2])
    address = out + rows * strides[3] + columns
    if ADD:
        total += tl.load(address, mask=mask, other=0.0)
    tl.store(address, total, mask=mask)


@triton.jit
def _place(begin: tl.tensor, inputs: tl.tuple, sizes: tl.tuple, BACKWARD: tl.constexpr, S: tl.constexpr) -> tl.tuple:
    """A program's sequence and the time of the step `begin`, counted in the order of running."""
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    time = begin if S.reverse == BACKWARD else sizes.steps - 1 - begin
    return rows, tl.arange(0, UNITS)[None, :], row_lengths(rows, inputs, sizes), time


@triton.jit
def _finished(
    made: tl.tensor,
    own: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    inputs: tl.tuple,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
) -> tl.tuple:
    """Blocks FIRST to LAST of the products that were made, as `finish` leaves them."""
    GATES: tl.constexpr = S.gates
    BLOCKS: tl.constexpr = LAST - FIRST
    biases, gains = load_vectors(inputs.bias, units, size, GATES), load_vectors(inputs.gain, units, size, GATES)
    bare = ()
    for block in tl.static_range(FIRST, LAST):
        bare += (tl.load(made + own * (GATES * size) + (block * size + units), mask=mask, other=0.0),)
    return finish(bare, biases, gains, units < size, size, S, FIRST, BLOCKS)


@triton.jit(do_not_specialize=["begin"])
def rows_reset(
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    begin: tl.tensor,
    made: tl.tensor,
    held: tl.tensor,
    S: tl.constexpr,
) -> None:
    """Between two products of a step: from the first blocks `made` [B, G*H] to r * h in `held` [B, H]."""
    GATES: tl.constexpr = S.gates
    size = sizes.size
    rows, units, length, time = _place(begin, inputs, sizes, False, S)
    mask = (time < length)[:, None] & (units < size)
    input_biases = load_vectors(inputs.input_bias, units, size, GATES)
    x = load_input(inputs, input_biases, places_at(time, rows, sizes), units, mask, size, GATES)
    q, _, _ = _finished(made, rows[:, None], units, mask, inputs, size, S, 0, GATES - 1)
    own = rows[:, None] * size + units
    hidden = tl.load(results.last_hidden + own, mask=mask, other=0.0)
    tl.store(held + own, reset_hidden(x, q, hidden), mask=mask)


@triton.jit(do_not_specialize=["begin"])
def rows_forward(
    inputs: tl.tuple,
    results: tl.tuple,
    sizes: tl.tuple,
    begin: tl.tensor,
    made: tl.tensor,
    FORWARD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """After the products `made` [B, G*H] of a step: the state after it."""
    GATES: tl.constexpr = S.gates
    HEAD: tl.constexpr = S.gates - S.resets
    size = sizes.size
    rows, units, length, time = _place(begin, inputs, sizes, False, S)
    active = (time < length)[:, None]
    mask = active & (units < size)
    places = places_at(time, rows, sizes)
    x = load_input(inputs, load_vectors(inputs.input_bias, units, size, GATES), places, units, mask, size, GATES)
    q, normalised, deviations = _finished(made, rows[:, None], units, mask, inputs, size, S, 0, HEAD)
    if S.resets:
        tail, more, deviation = _finished(made, rows[:, None], units, mask, inputs, size, S, HEAD, GATES)
        q, normalised, deviations = q + tail, normalised + more, deviations + deviation
    own = rows[:, None] * size + units
    hidden = tl.load(results.last_hidden + own, mask=mask, other=0.0)
    memory = tl.load(results.last_memory + own, mask=mask, other=0.0) if S.memory else hidden
    new, new_memory, saved = FORWARD(x, q, hidden, memory)
    new, new_memory = zoned(new, hidden, new_memory, memory, places, units, mask, inputs, sizes, S)
    tl.store(results.outputs + places * size + units, new, mask=mask)
    tl.store(results.last_hidden + own, new, mask=mask)
    if S.memory:
        tl.store(results.last_memory + own, new_memory, mask=mask)
    if S.training:
        keep_for_backward(results, new_memory, saved, normalised, deviations, places, units, mask, active, size, S)


@triton.jit
def _send(
    out: tl.tensor,
    grads: tl.tuple,
    rows: tl.tensor,
    units: tl.tensor,
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    places: tl.tensor,
    mask: tl.tensor,
    sizes: tl.tuple,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> None:
    """Gradients of the bare products of some blocks into `out` [B, G*H], zero if the sequence has ended."""
    size = sizes.size
    bare = through_normalisation(grads, inputs, results, gradients, places, units, mask, size, S, FIRST, BLOCKS)
    known = (rows[:, None] < sizes.batch) & (units < size)
    for block in tl.static_range(BLOCKS):
        address = out + rows[:, None] * (S.gates * size) + ((FIRST + block) * size + units)
        tl.store(address, tl.where(mask, bare[block], 0.0), mask=known)


@triton.jit(do_not_specialize=["begin"])
def rows_backward(
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    begin: tl.tensor,
    out: tl.tensor,
    BACKWARD: tl.constexpr,
    S: tl.constexpr,
) -> None:
    """One step back, up to its products: their gradients, or only the last block's if the cell resets before it."""
    GATES: tl.constexpr = S.gates
    SAVED: tl.constexpr = S.saved
    size = sizes.size
    rows, units, length, time = _place(begin, inputs, sizes, True, S)
    mask = (time < length)[:, None] & (units < size)
    places = places_at(time, rows, sizes)
    hidden, memory = states_before(time, rows, units, length, inputs, results, sizes, S)
    saved = load_blocks(results.saved, places, units, mask, size, SAVED)
    own = rows[:, None] * size + units
    grad = tl.load(gradients.hidden + own, mask=mask, other=0.0)
    grad += tl.load(gradients.outputs + places * size + units, mask=mask, other=0.0)
    past = tl.load(gradients.memory + own, mask=mask, other=0.0) if S.memory else grad
    kept = kept_by_zoneout(places, units, mask, inputs, sizes) if S.zoneout else 0.0
    x, q, grad_hidden, grad_memory = BACKWARD(saved, hidden, memory, grad * (1.0 - kept), past * (1.0 - kept))
    tl.store(gradients.hidden + own, grad_hidden + grad * kept, mask=mask)
    if S.memory:
        tl.store(gradients.memory + own, grad_memory + past * kept, mask=mask)
    store_blocks(gradients.from_input, x, places, units, mask, size, GATES)
    if not S.additive:
        store_blocks(gradients.product, q, places, units, mask, size, GATES)
    if S.resets:
        _send(out, (q[GATES - 1],), rows, units, inputs, results, gradients, places, mask, sizes, S, GATES - 1, 1)
    else:
        _send(out, q, rows, units, inputs, results, gradients, places, mask, sizes, S, 0, GATES)


@triton.jit(do_not_specialize=["begin"])
def rows_reset_backward(
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    sizes: tl.tuple,
    begin: tl.tensor,
    grad_held: tl.tensor,
    out: tl.tensor,
    S: tl.constexpr,
) -> None:
    """One step further back, from the gradient of r * h [B, H] to those of the first blocks' products."""
    GATES: tl.constexpr = S.gates
    SAVED: tl.constexpr = S.saved
    size = sizes.size
    rows, units, length, time = _place(begin, inputs, sizes, True, S)
    mask = (time < length)[:, None] & (units < size)
    places = places_at(time, rows, sizes)
    hidden = load_before(results.outputs, inputs.first_hidden, time, rows, units, length, inputs, sizes, S)
    saved = load_blocks(results.saved, places, units, mask, size, SAVED)
    own = rows[:, None] * size + units
    grad_reset, through = reset_hidden_backward(saved, hidden, tl.load(grad_held + own, mask=mask, other=0.0))
    grad_hidden = tl.load(gradients.hidden + own, mask=mask, other=0.0)
    tl.store(gradients.hidden + own, grad_hidden + through, mask=mask)
    grads = load_blocks(gradients.from_input, places, units, mask, size, GATES)
    tl.store(gradients.from_input + places * (GATES * size) + units, grad_reset, mask=mask)
    _send(out, (grad_reset, grads[1]), rows, units, inputs, results, gradients, places, mask, sizes, S, 0, GATES - 1)
