"""The time loop as one persistent kernel, forward and backward, for Hopper's asynchronous products.

A program owns some sequences and some units with all their gates. It keeps its weights in shared memory and its state
in registers over all steps. In each step it reads the hidden state of all units from the device's shared cache, where
the programs of the same sequences have stored it. One wait in each step is enough, because every step has its own
memory. Other programs wait for the hidden state only, so it is stored first, and everything else during the wait.

In the backward pass the depth of the product is all gates of all units. Each of `split` programs multiplies a section
of it for the units of all `split` programs; they exchange their sums through memory, with a second wait. Layer
normalisation costs another wait in both passes, and a reset before a product another wait and another product. The
gradients of the weights, of the inputs and of the first state are products over all steps, computed afterwards.

Padding stays in memory, so that shapes do not depend on lengths: a sequence that has ended, or has not started, keeps
its state, and its outputs and the gradients of its gates are zero. Sequences are not sorted by length: programs run
side by side, and a batch takes as long as its longest sequence.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from nlpseq.kernels.gpu.persistent.cells import advance, divide, retreat, sigmoid, unite, zeros_of_units
from nlpseq.kernels.gpu.persistent.directions import index_after, index_before, tile_count, tile_number, time_of
from nlpseq.kernels.gpu.persistent.normalisation import load_gains, normalise, normalise_backward
from nlpseq.kernels.gpu.persistent.product import (
    LINE,
    arrive,
    chunk_indices,
    gate_indices,
    multiply,
    prepare,
    unit_indices,
    wait,
    wait_for_all,
    zeros_of_sums,
)


@gluon.jit
def weight_rows(F: gl.constexpr):
    """The columns in memory of the rows of a chunk of weights in shared memory.

    A thread holds the columns 2j and 2j + 1 of every group of eight of a product; this order makes them neighbours.
    """
    COLUMNS: gl.constexpr = F.gates * F.units
    GROUPS: gl.constexpr = COLUMNS // 8
    n = gl.arange(0, COLUMNS, gl.SliceLayout(1, F.weight_load))
    return gl.program_id(0) * COLUMNS + (((n // 2) % 4) * (2 * GROUPS) + (n // 8) * 2 + n % 2)[:, None]


@gluon.jit
def _in_order(sums, F: gl.constexpr):
    """A product's columns in memory's order."""
    COLUMNS: gl.constexpr = F.gates * F.units
    sums = gl.permute(gl.reshape(sums, [F.rows, COLUMNS // 8, 4, 2]), (0, 2, 1, 3))
    return gl.convert_layout(gl.reshape(sums, [F.rows, COLUMNS]), F.columns)


@gluon.jit
def _kept_fraction(masks, zoneout, at, mask, F: gl.constexpr):
    """The fraction of the old state that zoneout keeps."""
    if F.zoneout == 2:
        return gl.load(masks + at, mask=mask, other=0).to(gl.float32)
    else:
        return zoneout


@gluon.jit
def _mixed(new, old, fraction, active, F: gl.constexpr):
    """A state after a step, with a fraction of the old state by zoneout, and all of it in padding."""
    if F.zoneout:
        new += fraction * (old - new)
    return gl.where(active, new, old) if F.lengths else new


@gluon.jit
def _hold(helds, value, counters, step, failed, time, batch, F: gl.constexpr):
    """Store r * h of a step, and wait until all programs have stored theirs."""
    own, unit = unit_indices(F)
    offset = (time * batch + own) * F.size + unit
    gl.store(helds + offset, value.to(helds.dtype.element_ty), mask=own < batch)
    wait_for_all(counters, step + 1, failed, F)


@gluon.jit
def _keep(values, bare, deviation, saved, normalised, deviations, time, batch, F: gl.constexpr):
    """Store the values of a step that the backward pass needs."""
    row, column = gate_indices(F)
    offset = (time * batch + row) * (F.gates * F.size) + column
    gl.store(saved + offset, values.to(saved.dtype.element_ty), mask=row < batch)
    if F.normalised:
        gl.store(normalised + offset, bare.to(normalised.dtype.element_ty), mask=row < batch)
        gl.store(deviations + time * batch + row, deviation, mask=(row < batch) & (gl.program_id(0) == 0))


@gluon.jit(do_not_specialize=["steps", "batch", "zoneout"])
def persistent_forward(
    from_input, weight, hiddens, memories, saved, outputs, last_hidden, last_memory, helds, gain, normalised,
    deviations, partial_sums, masks, lengths, counters, failed, steps, batch, zoneout, F: gl.constexpr
):  # fmt: skip
    """From from_input [T, B, gates * H], fill hiddens [T+1, B, H], outputs [T, B, real], memories and saved. `last_*`
    hold the first state, and at the end the last state. Layer normalisation also fills normalised and deviations
    [T, B], and a reset before the product fills helds [T, B, H].
    """
    COLUMNS: gl.constexpr = F.gates * F.units
    WIDE: gl.constexpr = F.directions * F.gates * F.size
    row, column = gate_indices(F)
    own, unit = unit_indices(F)
    read, depth = chunk_indices(F)
    weight_at = weight + weight_rows(F) * F.size + gl.arange(0, F.depth, gl.SliceLayout(0, F.weight_load))[None, :]
    held, ring, weight_ring = prepare(weight, weight_at, F.depth, COLUMNS, F.depth, F)
    known, real = own < batch, (own < batch) & (unit < F.real)
    reads = (read < batch) & (depth >= 0)
    hidden = gl.load(last_hidden + own * F.size + unit, mask=known, other=0.0)
    memory = gl.load(last_memory + own * F.size + unit, mask=known, other=0.0) if F.memory else hidden
    length = gl.load(lengths + own, mask=known, other=0) if F.lengths else own
    gains = load_gains(gain, F) if F.normalised else 1.0
    nothing = zeros_of_sums(COLUMNS, F)
    step = 0
    while step < steps:  # a `for` loop would let loads move before the wait
        time = time_of(step, steps, F)
        here = (time * batch + own) * (F.directions * F.real) + unit
        x = gl.load(from_input + (time * batch + row) * WIDE + column, mask=row < batch, other=0.0)
        fraction = _kept_fraction(masks, zoneout, here, real, F) if F.zoneout else 0.0
        wait(counters + tile_number(F) * LINE, step * gl.num_programs(0), failed)
        at = (index_before(time, F) * batch + read) * F.size + depth
        sums = multiply(step >> 30, nothing, hiddens + at, reads, ring, held, weight_at, F.depth, weight_ring, F, True)
        sums = _in_order(sums, F)
        bare, deviation = sums, hidden
        if F.normalised:
            bare, deviation = normalise(sums, partial_sums, counters, step + 1, failed, F)
            sums = bare * gains
        sums = divide(sums + x.to(gl.float32), F)
        if F.resets:
            _hold(helds, sigmoid(sums[0]) * hidden, counters, step, failed, time, batch, F)
            at = (time * batch + read) * F.size + depth  # another zero, or both products keep their descriptors
            again = multiply((step + 1) >> 30, nothing, helds + at, reads, ring, held, weight_at, F.depth, weight_ring,
                             F, True)  # fmt: skip
            sums = (sums[0], sums[1], divide(_in_order(again, F) + x.to(gl.float32), F)[2], sums[3])
        new, new_memory, values = advance(sums, hidden, memory, F)
        hidden = _mixed(new, hidden, fraction, time < length, F)
        memory = _mixed(new_memory, memory, fraction, time < length, F)
        after = (index_after(time, F) * batch + own) * F.size + unit
        gl.store(hiddens + after, hidden.to(hiddens.dtype.element_ty), mask=known)
        arrive(counters + tile_number(F) * LINE)
        if F.save:
            if F.memory:
                gl.store(memories + after, memory, mask=known)
            _keep(unite(values, F), bare, deviation, saved, normalised, deviations, time, batch, F)
        gl.store(outputs + here, gl.where(time < length, hidden, 0.0) if F.lengths else hidden, mask=real)
        step += 1
    gl.store(last_hidden + own * F.size + unit, hidden, mask=known)
    if F.memory:
        gl.store(last_memory + own * F.size + unit, memory, mask=known)


@gluon.jit
def exchange(sums, exchanged, counter, number, failed, F: gl.constexpr):
    """The sums of a program's own units, over the partial sums of the programs of its group."""
    WIDE: gl.constexpr = F.split * F.units
    AREA: gl.constexpr = F.rows * WIDE
    SPLIT: gl.constexpr = F.split
    if SPLIT > 1:
        member = gl.program_id(0) % F.split
        down = gl.arange(0, F.rows, gl.SliceLayout(1, F.sums))[:, None]
        across = gl.arange(0, WIDE, gl.SliceLayout(0, F.sums))[None, :]
        gl.store(exchanged + member * AREA + down * WIDE + across, sums, cache_modifier=".cg")
        arrive(counter)
        wait(counter, number * F.split, failed)
        down = gl.arange(0, F.rows, gl.SliceLayout(1, F.tile))[:, None]
        across = gl.arange(0, F.units, gl.SliceLayout(0, F.tile))[None, :]
        mine = exchanged + down * WIDE + member * F.units + across
        total = gl.load(mine, cache_modifier=".cg")
        for i in gl.static_range(1, SPLIT):
            total += gl.load(mine + i * AREA, cache_modifier=".cg")
        return total
    else:
        return gl.convert_layout(sums, F.tile)


@gluon.jit
def _group(exchanged, counters, F: gl.constexpr):
    """The memory in which a program's group exchanges sums, and the group's counter."""
    AREA: gl.constexpr = F.rows * F.split * F.units
    number = tile_number(F) * gl.num_programs(0) + gl.program_id(0) // F.split * F.split
    return exchanged + number * AREA, counters + (tile_count(F) + number) * LINE


@gluon.jit
def _states_beside(hiddens, memories, time, batch, at, known, F: gl.constexpr):
    """The states before and after a step that a cell's derivative needs; `at` [rows, units] are offsets in a step."""
    before = index_before(time, F) * (batch * F.size) + at
    after = index_after(time, F) * (batch * F.size) + at
    if F.memory:
        first = gl.load(memories + before, mask=known, other=0.0)
        if F.zoneout:
            return first, first
        else:
            return first, gl.load(memories + after, mask=known, other=0.0)
    elif F.gates == 1:
        nothing = zeros_of_units(F)
        return nothing, nothing
    else:
        first = gl.load(hiddens + before, mask=known, other=0.0).to(gl.float32)
        return first, first


@gluon.jit
def _add_up(first, second, third, fourth, grads, F: gl.constexpr):
    """Four tiles, or the first of them, with the gradients of a step's slots added."""
    if not F.adds_up:
        return first, second, third, fourth
    elif F.gates == 4:
        return first + grads[0], second + grads[1], third + grads[2], fourth + grads[3]
    else:
        return first + grads[0], second, third, fourth


@gluon.jit
def _store_sums(out, first, second, third, fourth, F: gl.constexpr):
    """Store the sums over a program's sequences of four tiles, or of the first, for the bias."""
    COLUMNS: gl.constexpr = F.gates * F.units
    if F.adds_up:
        total = gl.sum(unite((first, second, third, fourth), F), 0)
        column = gl.program_id(0) * COLUMNS + gl.arange(0, COLUMNS, gl.SliceLayout(0, F.columns))
        gl.store(out + tile_number(F) * (F.gates * F.size) + column, total)


@gluon.jit
def _store_gradients(out, grads, time, batch, F: gl.constexpr):
    """Store gradients of a step's gates [rows, columns]; with reverse, the first index has the zeros."""
    row, column = gate_indices(F)
    offset = (index_before(time, F) * batch + row) * (F.directions * F.gates * F.size) + column
    gl.store(out + offset, grads.to(out.dtype.element_ty), mask=row < batch)


@gluon.jit
def _load_normalised(normalised, deviations, time, batch, F: gl.constexpr):
    """A step's normalised product [rows, columns], and 1 / deviation [rows, 1]."""
    if F.normalised:
        row, column = gate_indices(F)
        offset = (time * batch + row) * (F.gates * F.size) + column
        inverse = gl.load(deviations + time * batch + row, mask=row < batch, other=0.0)
        return gl.load(normalised + offset, mask=row < batch, other=0.0), inverse
    else:
        return 0.0, 0.0


@gluon.jit
def _retreat(kept, states, total, carried_memory, fraction, active, F: gl.constexpr):
    """One step back with zoneout, which changes nothing in padding: from the gradients of hidden and memory after the
    step to those of the slots' sums, and of hidden and memory before it.
    """
    GATES: gl.constexpr = F.gates
    values = divide(kept.to(gl.float32), F)
    if F.zoneout:
        rest = 1.0 - fraction
        q, hidden, memory = retreat(values, states[0], states[1], total * rest, carried_memory * rest, F)
        hidden += total * fraction
        memory += carried_memory * fraction
    else:
        q, hidden, memory = retreat(values, states[0], states[1], total, carried_memory, F)
    if F.lengths:
        real = ()
        for i in gl.static_range(GATES):
            real += (gl.where(active, q[i], 0.0),)
        return real, gl.where(active, hidden, total), gl.where(active, memory, carried_memory)
    else:
        return q, hidden, memory


@gluon.jit
def _far(step, F: gl.constexpr):
    """The distance between two chunks of weights in memory, as a number that the compiler cannot know."""
    return ((step >> 30) | (F.depth * F.size // 16)) * 16


@gluon.jit
def _without_last(grads, F: gl.constexpr):
    """The gradients of the slots that the first of two products computes."""
    nothing = zeros_of_units(F)
    return (grads[0], grads[1], nothing, nothing)


@gluon.jit
def _nothing(step, looks, F: gl.constexpr):
    """A zero that the compiler cannot know; for some kernels it also cannot move it or share it between products."""
    if F.late:
        return gl.inline_asm_elementwise("and.b32 $0, $1, 0;", "=r,r", [looks], dtype=gl.int32, is_pure=False, pack=1)
    else:
        return step >> 30


@gluon.jit
def _through_reset(
    q, kept, before, carried, known, grad_gates, nothing, read, depth, reads, ring, held, weight_at, weight_ring,
    exchanged, partners, counters, step, time, batch, failed, F: gl.constexpr
):  # fmt: skip
    """Backward of a step's second product, of r * h: the gradients of the slots, the reset's included, and of the
    hidden state. `grad_gates` gets the gradients of the last slot only.
    """
    none = zeros_of_units(F)
    _store_gradients(grad_gates, unite((none, none, q[2], none), F), time, batch, F)
    looks = wait_for_all(counters, step + 1, failed, F)
    at = (index_before(time, F) * batch + read) * (F.directions * F.gates * F.size) + depth
    later = step + 1  # with the numbers of the first product, both would keep their addresses and descriptors
    zero = _nothing(later, looks, F)
    sums = multiply(zero, nothing, grad_gates + at, reads, ring, held, weight_at, _far(later, F), weight_ring, F, False)
    grad = gl.where(known, exchange(sums, exchanged, partners, 2 * step + 2, failed, F), 0.0)
    reset = divide(kept.to(gl.float32), F)[0]
    return (grad * before * reset * (1.0 - reset), q[1], q[2], q[3]), carried + grad * reset


@gluon.jit
def _weight_offsets(weight, F: gl.constexpr):
    """The offsets of the first chunk of a program's weights: its section of the depth, for the units of its group."""
    WIDE: gl.constexpr = F.split * F.units
    row = gl.program_id(0) % F.split * (F.gates * F.size // F.split)
    row += gl.arange(0, F.depth, gl.SliceLayout(1, F.weight_load))[:, None]
    across = gl.program_id(0) // F.split * WIDE + gl.arange(0, WIDE, gl.SliceLayout(0, F.weight_load))[None, :]
    return weight + row * F.size + across


# `grad_product` are the gradients of the hidden state's product. `grad_gates` gets the gradients of the gates if layer
# normalisation makes them differ from `grad_product`, or those of a second product. In both cases `grad_bias` is not
# filled, because there are too few registers.
@gluon.jit(do_not_specialize=["steps", "batch", "zoneout"])
def persistent_backward(
    grads, weight, hiddens, memories, saved, grad_product, grad_gates, grad_hidden, grad_memory, grad_bias, exchanged,
    gain, normalised, deviations, partial_sums, masks, lengths, counters, failed, steps, batch, zoneout,
    F: gl.constexpr
):  # fmt: skip
    """Fill grad_product [T+1, B, gates * H], which is zero at the index before the first step to run, and grad_bias
    [tiles, gates * H]. grad_hidden and grad_memory hold gradients of the last state, and at the end those of the first
    state, without the gradient through the first step's product.
    """
    DEEP: gl.constexpr = F.gates * F.size
    row, column = gate_indices(F)
    own, unit = unit_indices(F)
    read, depth = chunk_indices(F)
    reads = (read < batch) & (depth >= 0)
    depth += gl.program_id(0) % F.split * (DEEP // F.split)
    weight_at = _weight_offsets(weight, F)
    held, ring, weight_ring = prepare(weight, weight_at, F.depth * F.size, F.depth, F.split * F.units, F)
    at, known, real = own * F.size + unit, own < batch, (own < batch) & (unit < F.real)
    carried = gl.load(grad_hidden + at, mask=known, other=0.0)
    carried_memory = gl.load(grad_memory + at, mask=known, other=0.0) if F.memory else carried
    length = gl.load(lengths + own, mask=known, other=0) if F.lengths else own
    b0 = zeros_of_units(F)
    b1, b2, b3 = b0, b0, b0
    nothing = zeros_of_sums(F.split * F.units, F)
    exchanged, partners = _group(exchanged, counters, F)
    step = 0
    while step < steps:
        time = time_of(steps - 1 - step, steps, F)
        here = (time * batch + own) * (F.directions * F.real) + unit
        active = known & (time < length) if F.lengths else known
        kept = gl.load(saved + (time * batch + row) * DEEP + column, mask=row < batch, other=0.0)
        states = _states_beside(hiddens, memories, time, batch, at, known, F)
        grad = gl.load(grads + here, mask=real & active, other=0.0)
        fraction = _kept_fraction(masks, zoneout, here, real, F) if F.zoneout else 0.0
        bare, inverse = _load_normalised(normalised, deviations, time, batch, F)
        looks = wait(counters + tile_number(F) * LINE, step * gl.num_programs(0), failed)
        ran = (index_after(time, F) * batch + read) * (F.directions * DEEP) + depth
        zero = _nothing(step, looks, F)
        sums = multiply(zero, nothing, grad_product + ran, reads, ring, held, weight_at, _far(step, F), weight_ring, F,
                        False)  # fmt: skip
        sums = exchange(sums, exchanged, partners, (1 + F.resets) * step + 1, failed, F)
        total = gl.where(known, sums + carried + grad.to(gl.float32), 0.0)  # a masked copy leaves undefined values
        q, carried, carried_memory = _retreat(kept, states, total, carried_memory, fraction, active, F)
        if F.resets:
            q, carried = _through_reset(
                q, kept, states[0], carried, known, grad_gates, nothing, read, depth, reads, ring, held, weight_at,
                weight_ring, exchanged, partners, counters, step, time, batch, failed, F
            )  # fmt: skip
        gates = unite(_without_last(q, F) if F.resets else q, F)
        if F.normalised:
            _store_gradients(grad_gates, gates, time, batch, F)
            gates = normalise_backward(gates, bare, inverse, gain, partial_sums, counters, step + 1, failed, F)
        _store_gradients(grad_product, gates, time, batch, F)
        arrive(counters + tile_number(F) * LINE)
        b0, b1, b2, b3 = _add_up(b0, b1, b2, b3, q, F)
        step += 1
    gl.store(grad_hidden + at, carried, mask=known)
    if F.memory:
        gl.store(grad_memory + at, carried_memory, mask=known)
    _store_sums(grad_bias, b0, b1, b2, b3, F)


@gluon.jit(do_not_specialize=["steps", "batch", "zoneout"])
def both_forward(
    from_input, weight, hiddens, memories, saved, outputs, last_hidden, last_memory, helds, gain, normalised,
    deviations, partial_sums, masks, lengths, counters, failed, steps, batch, zoneout, F: gl.constexpr
):  # fmt: skip
    """`persistent_forward` in both directions: from_input is [T, B, 2, gates * H], outputs and masks are [T, B, 2,
    real], and the first dimension of all other arrays is the direction.
    """
    WIDTH: gl.constexpr = F.gates * F.size
    direction = gl.program_id(2)
    rows = direction * (steps * batch)
    states = direction * ((steps + 1) * batch * F.size)
    first = direction * (batch * F.size)
    persistent_forward(
        from_input + direction * WIDTH, weight + direction * (WIDTH * F.size), hiddens + states, memories + states,
        saved + rows * WIDTH, outputs + direction * F.real, last_hidden + first, last_memory + first,
        helds + rows * F.size, gain + direction * WIDTH, normalised + rows * WIDTH, deviations + rows, partial_sums,
        masks + direction * F.real, lengths, counters, failed, steps, batch, zoneout, F
    )  # fmt: skip


@gluon.jit(do_not_specialize=["steps", "batch", "zoneout"])
def both_backward(
    grads, weight, hiddens, memories, saved, grad_product, grad_gates, grad_hidden, grad_memory, grad_bias, exchanged,
    gain, normalised, deviations, partial_sums, masks, lengths, counters, failed, steps, batch, zoneout,
    F: gl.constexpr
):  # fmt: skip
    """`persistent_backward` in both directions: grads and masks are [T, B, 2, real], grad_bias is [2 * tiles, gates *
    H], and grad_product and grad_gates are [T+2, B, 2, gates * H], with an extra step for each direction, so that a
    step's gradients have the same index in both, and one product reads them. The first dimension of all other arrays is
    the direction.
    """
    WIDTH: gl.constexpr = F.gates * F.size
    direction = gl.program_id(2)
    rows = direction * (steps * batch)
    states = direction * ((steps + 1) * batch * F.size)
    first = direction * (batch * F.size)
    start = (1 - direction) * (batch * 2 * WIDTH) + direction * WIDTH
    persistent_backward(
        grads + direction * F.real, weight + direction * (WIDTH * F.size), hiddens + states, memories + states,
        saved + rows * WIDTH, grad_product + start, grad_gates + start, grad_hidden + first, grad_memory + first,
        grad_bias, exchanged, gain + direction * WIDTH, normalised + rows * WIDTH, deviations + rows, partial_sums,
        masks + direction * F.real, lengths, counters, failed, steps, batch, zoneout, F
    )  # fmt: skip
