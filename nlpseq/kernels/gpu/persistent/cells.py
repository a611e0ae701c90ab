"""The pointwise arithmetic of each cell between two products in the persistent kernels, in Gluon.

Operands have 16 bits, so tanh is the GPU's own approximation, with an error of about 5e-4, and sigmoid uses it. A tuple
of tiles [rows, units] has the slots of the units. An LSTM has i f g o. A GRU has r, z, W_hn h + b_hn and W_in x + b_in,
where a slot without a product has zero weights; the price is a third more product than a GRU needs. A GRU that resets
before its product has r, z, n and an empty slot. An Elman cell has one slot. The values of the slots after a step are
saved for the backward kernel.

Gluon has no tables of functions, so the cell's name selects the code when a kernel is compiled.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def tanh(x):
    """The hyperbolic tangent of fp32, approximated."""
    return gl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def sigmoid(x):
    """1 / (1 + exp(-x)), approximated."""
    return 0.5 * tanh(0.5 * x) + 0.5


@gluon.jit
def zeros_of_units(F: gl.constexpr):
    """A tile [rows, units] of zeros."""
    ROWS: gl.constexpr = F.rows
    UNITS: gl.constexpr = F.units
    LAYOUT: gl.constexpr = F.tile
    return gl.zeros([ROWS, UNITS], gl.float32, layout=LAYOUT)


@gluon.jit
def divide(x, F: gl.constexpr):
    """Divide columns [rows, gates * units] into a tile [rows, units] for each slot, all in registers."""
    if F.gates == 1:
        return (x,)
    else:
        even, odd = gl.split(gl.reshape(x, [F.rows, F.units, 2, 2]))
        first, third = gl.split(even)
        second, fourth = gl.split(odd)
        return (
            gl.convert_layout(first, F.tile),
            gl.convert_layout(second, F.tile),
            gl.convert_layout(third, F.tile),
            gl.convert_layout(fourth, F.tile),
        )


@gluon.jit
def unite(tiles, F: gl.constexpr):
    """The inverse of `divide`."""
    if F.gates == 1:
        return tiles[0]
    else:
        pairs = gl.join(gl.join(tiles[0], tiles[2]), gl.join(tiles[1], tiles[3]))
        return gl.convert_layout(gl.reshape(pairs, [F.rows, 4 * F.units]), F.columns)


@gluon.jit
def advance(sums, hidden, memory, F: gl.constexpr):
    """One step from the slots' sums: hidden, memory and the slots' values; most cells do not change the memory."""
    if F.cell == "lstm":
        admitted, kept, candidate, shown = sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2]), sigmoid(sums[3])
        new = kept * memory + admitted * candidate
        return shown * tanh(new), new, (admitted, kept, candidate, shown)
    elif F.cell == "gru":
        reset, update = sigmoid(sums[0]), sigmoid(sums[1])
        candidate = tanh(sums[3] + reset * sums[2])
        return candidate + update * (hidden - candidate), memory, (reset, update, sums[2], candidate)
    elif F.resets:
        reset, update, candidate = sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2])
        return candidate + update * (hidden - candidate), memory, (reset, update, candidate, sums[3])
    else:
        if F.cell == "rnn":
            new = tanh(sums[0])
        elif F.cell == "rnn-sigmoid":
            new = sigmoid(sums[0])
        else:
            new = gl.maximum(sums[0], 0.0)
        return new, memory, (new,)


@gluon.jit
def retreat(values, before, after, total, carried, F: gl.constexpr):
    """One step back: the gradients of the slots' sums, and those of hidden and memory before the step.

    `values` are those of the slots, `total` and `carried` the gradients of hidden and memory after the step. `before`
    and `after` are an LSTM's memory; `before` is a GRU's hidden state. The gradients through the products are not
    included.
    """
    nothing = zeros_of_units(F)
    if F.cell == "lstm":
        # with zoneout `after` includes part of the old memory
        squashed = tanh(values[1] * before + values[0] * values[2]) if F.zoneout else tanh(after)
        through = carried + total * values[3] * (1.0 - squashed * squashed)
        grads = (
            through * values[2] * values[0] * (1.0 - values[0]),
            through * before * values[1] * (1.0 - values[1]),
            through * values[0] * (1.0 - values[2] * values[2]),
            total * squashed * values[3] * (1.0 - values[3]),
        )
        return grads, nothing, through * values[1]
    elif F.cell == "gru":
        candidate = total * (1.0 - values[1]) * (1.0 - values[3] * values[3])
        update = total * (before - values[3]) * values[1] * (1.0 - values[1])
        reset = candidate * values[2] * values[0] * (1.0 - values[0])
        return (reset, update, candidate * values[0], candidate), total * values[1], carried
    elif F.resets:  # the reset's gradient comes back through the second product
        candidate = total * (1.0 - values[1]) * (1.0 - values[2] * values[2])
        update = total * (before - values[2]) * values[1] * (1.0 - values[1])
        return (nothing, update, candidate, nothing), total * values[1], carried
    else:
        if F.cell == "rnn":
            grad = total * (1.0 - values[0] * values[0])
        elif F.cell == "rnn-sigmoid":
            grad = total * values[0] * (1.0 - values[0])
        else:
            grad = gl.where(values[0] > 0.0, total, 0.0)
        return (grad,), nothing, carried
