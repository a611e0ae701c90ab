"""One program runs its sequences over all time steps: Triton's kernels for small hidden sizes.

A program owns a tile of sequences and all hidden units. It keeps their state, and the weights if they fit, in
registers, so no program waits for another and a step reads only the input's product. The price is that a tile of
sixteen sequences runs on one multiprocessor, however large a step is. For more than a few hundred units, the kernels of
`steps` use the whole device.
"""

from __future__ import annotations

import triton
import triton.language as tl

from nlpseq.kernels.gpu.normalisation import finish, through_normalisation
from nlpseq.kernels.gpu.pointwise import reset_hidden, reset_hidden_backward
from nlpseq.kernels.gpu.tiles import (
    keep_for_backward,
    kept_by_zoneout,
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


@triton.jit
def _product(
    hidden: tl.tensor,
    weights: tl.tuple,
    biases: tl.tuple,
    gains: tl.tuple,
    inputs: tl.tuple,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
) -> tl.tuple:
    """Blocks FIRST to LAST of the hidden state's product; the same before gain and bias; and the deviations."""
    BLOCKS: tl.constexpr = LAST - FIRST
    UNITS: tl.constexpr = S.units
    depth, units = tl.arange(0, UNITS)[:, None], tl.arange(0, UNITS)[None, :]
    bare = ()
    for block in tl.static_range(FIRST, LAST):
        tile = weights[block] if S.held else load_weight(inputs, block, depth, units, size, True)
        bare += (multiply(hidden, tile, S),)
    return finish(bare, biases, gains, units < size, size, S, FIRST, BLOCKS)


@triton.jit
def _hidden_product(
    x: tl.tuple,
    hidden: tl.tensor,
    weights: tl.tuple,
    biases: tl.tuple,
    gains: tl.tuple,
    inputs: tl.tuple,
    size: tl.tensor,
    S: tl.constexpr,
) -> tl.tuple:
    """All blocks of the hidden state's product; the same before gain and bias; and the deviations."""
    HEAD: tl.constexpr = S.gates - S.resets
    q, bare, deviations = _product(hidden, weights, biases, gains, inputs, size, S, 0, HEAD)
    if S.resets:
        held = reset_hidden(x, q, hidden)
        tail, bare_tail, deviation = _product(held, weights, biases, gains, inputs, size, S, HEAD, HEAD + 1)
        q, bare, deviations = q + tail, bare + bare_tail, deviations + deviation
    return q, bare, deviations


@triton.jit
def column_forward(
    inputs: tl.tuple, results: tl.tuple, sizes: tl.tuple, FORWARD: tl.constexpr, S: tl.constexpr
) -> None:
    """Run all steps of a tile of sequences."""
    GATES: tl.constexpr = S.gates
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    size = sizes.size
    rows, units = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)[None, :]
    length = row_lengths(rows, inputs, sizes)
    limit = tl.max(length)
    weights = load_weights(inputs, tl.arange(0, UNITS)[:, None], units, size, S, True)
    biases, gains = load_vectors(inputs.bias, units, size, GATES), load_vectors(inputs.gain, units, size, GATES)
    input_biases = load_vectors(inputs.input_bias, units, size, GATES)
    own, owned = rows[:, None] * size + units, (rows[:, None] < sizes.batch) & (units < size)
    hidden = tl.load(inputs.first_hidden + own, mask=owned, other=0.0)
    memory = tl.load(inputs.first_memory + own, mask=owned, other=0.0) if S.memory else hidden
    for step in range(limit):
        time = limit - 1 - step if S.reverse else step
        active = (time < length)[:, None]
        mask = active & (units < size)
        positions = positions_at(time, rows, sizes)
        x = load_input(inputs, input_biases, positions, units, mask, size, GATES)
        q, normalised, deviations = _hidden_product(x, hidden, weights, biases, gains, inputs, size, S)
        new, new_memory, saved = FORWARD(x, q, hidden, memory)
        new, new_memory = zoned(new, hidden, new_memory, memory, positions, units, mask, inputs, sizes, S)
        hidden = tl.where(mask, new, hidden)
        memory = tl.where(mask, new_memory, memory) if S.memory else hidden
        tl.store(results.outputs + positions * size + units, hidden, mask=mask)
        if S.training:
            keep_for_backward(results, memory, saved, normalised, deviations, positions, units, mask, active, size, S)
    tl.store(results.last_hidden + own, hidden, mask=owned)
    if S.memory:
        tl.store(results.last_memory + own, memory, mask=owned)


@triton.jit
def _product_backward(
    total: tl.tensor,
    grads: tl.tuple,
    weights: tl.tuple,
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    positions: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
) -> tl.tensor:
    """Backward of blocks FIRST to LAST of the hidden state's product: `total` plus the hidden state's gradient."""
    BLOCKS: tl.constexpr = LAST - FIRST
    bare = through_normalisation(grads, inputs, results, gradients, positions, units, mask, size, S, FIRST, BLOCKS)
    UNITS: tl.constexpr = S.units
    depth = tl.arange(0, UNITS)[:, None]
    for block in tl.static_range(BLOCKS):
        tile = weights[FIRST + block] if S.held else load_weight(inputs, FIRST + block, depth, units, size, False)
        total += multiply(bare[block], tile, S)
    return total


@triton.jit
def _retreat(
    grads: tl.tuple,
    time: tl.tensor,
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
    """One step back: from the gradients of hidden and memory after the step to those before it."""
    GATES: tl.constexpr = S.gates
    SAVED: tl.constexpr = S.saved
    HEAD: tl.constexpr = S.gates - S.resets
    size = sizes.size
    mask = (time < length)[:, None] & (units < size)
    positions = positions_at(time, rows, sizes)
    hidden, memory = states_before(time, rows, units, length, inputs, results, sizes, S)
    saved = load_blocks(results.saved, positions, units, mask, size, SAVED)
    kept = kept_by_zoneout(positions, units, mask, inputs, sizes) if S.zoneout else 0.0
    x, q, grad_hidden, grad_memory = BACKWARD(saved, hidden, memory, grads[0] * (1.0 - kept), grads[1] * (1.0 - kept))
    if S.resets:
        held = _product_backward(
            tl.zeros_like(hidden), (q[HEAD],), weights, inputs, results, gradients, positions, units, mask, size, S,
            HEAD, GATES
        )  # fmt: skip
        grad_reset, through = reset_hidden_backward(saved, hidden, held)
        grad_hidden += through
        x, q = (grad_reset, x[1], x[2]), (grad_reset, q[1], q[2])
    store_blocks(gradients.from_input, x, positions, units, mask, size, GATES)
    if not S.additive:
        store_blocks(gradients.product, q, positions, units, mask, size, GATES)
    grad_hidden = _product_backward(
        grad_hidden, q, weights, inputs, results, gradients, positions, units, mask, size, S, 0, HEAD
    )
    return grad_hidden + grads[0] * kept, grad_memory + grads[1] * kept


@triton.jit
def column_backward(
    inputs: tl.tuple, results: tl.tuple, gradients: tl.tuple, sizes: tl.tuple, BACKWARD: tl.constexpr, S: tl.constexpr
) -> None:
    """Run all steps of a tile of sequences backwards; the weights' gradients are computed later, for all steps."""
    ROWS: tl.constexpr = S.rows
    UNITS: tl.constexpr = S.units
    size = sizes.size
    rows, units = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, UNITS)[None, :]
    length = row_lengths(rows, inputs, sizes)
    limit = tl.max(length)
    weights = load_weights(inputs, tl.arange(0, UNITS)[:, None], units, size, S, False)
    own, owned = rows[:, None] * size + units, (rows[:, None] < sizes.batch) & (units < size)
    grad_hidden = tl.load(gradients.hidden + own, mask=owned, other=0.0)
    grad_memory = tl.load(gradients.memory + own, mask=owned, other=0.0) if S.memory else tl.zeros_like(grad_hidden)
    for step in range(limit):
        time = step if S.reverse else limit - 1 - step
        mask = (time < length)[:, None] & (units < size)
        positions = positions_at(time, rows, sizes)
        after = grad_hidden + tl.load(gradients.outputs + positions * size + units, mask=mask, other=0.0)
        before, before_memory = _retreat(
            (after, grad_memory), time, rows, units, length, weights, inputs, results, gradients, sizes, BACKWARD, S
        )
        grad_hidden = tl.where(mask, before, grad_hidden)
        grad_memory = tl.where(mask, before_memory, grad_memory) if S.memory else grad_memory
    tl.store(gradients.hidden + own, grad_hidden, mask=owned)
    if S.memory:
        tl.store(gradients.memory + own, grad_memory, mask=owned)
