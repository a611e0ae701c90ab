"""Layer normalisation in the persistent kernels: sums over all units of a sequence, which are spread over programs.

A step's product is normalised over all its gates (Ba et al., 2016), so each program needs two numbers of each sequence
from all other programs. They write partial sums to memory and wait once more. The price is this wait, about a
microsecond in each step; the other ways need a launch. A slot without a product and the padding units are zero before
normalisation and have no gain, so they do not change the sums.

The normalised values are kept for the backward pass in the operands' type, and 1 / deviation in fp32.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from nlpseq.kernels.gpu.persistent.directions import tile_number
from nlpseq.kernels.gpu.persistent.product import gate_indices, wait_for_all

EPSILON = gl.constexpr(1e-5)  # as in nlpseq.arrays.normalise


@gluon.jit
def _over_all_programs(first, second, partial_sums, counters, number, failed, F: gl.constexpr):
    """Sums of two numbers of each sequence [rows] over all programs, [rows, 1] each; `number` counts from one."""
    ROWS: gl.constexpr = F.rows
    PROGRAMS: gl.constexpr = F.partners
    LAYOUT: gl.constexpr = F.partial_sums
    COLUMNS: gl.constexpr = F.columns
    across: gl.constexpr = F.across
    start = partial_sums + tile_number(F) * (2 * across * ROWS)
    own = start + gl.program_id(0) * ROWS + gl.arange(0, ROWS, gl.SliceLayout(1, COLUMNS))
    gl.store(own, first, cache_modifier=".cg")
    gl.store(own + across * ROWS, second, cache_modifier=".cg")
    wait_for_all(counters, number, failed, F)
    program = gl.arange(0, PROGRAMS, gl.SliceLayout(1, LAYOUT))[:, None]
    row = gl.arange(0, ROWS, gl.SliceLayout(0, LAYOUT))[None, :]
    theirs, mask = start + program * ROWS + row, (program < across) & (row >= 0)
    firsts = gl.load(theirs, mask=mask, other=0.0, cache_modifier=".cg")
    seconds = gl.load(theirs + across * ROWS, mask=mask, other=0.0, cache_modifier=".cg")  # both loads run together
    firsts = gl.convert_layout(gl.sum(firsts, 0), gl.SliceLayout(1, COLUMNS))
    return firsts[:, None], gl.convert_layout(gl.sum(seconds, 0), gl.SliceLayout(1, COLUMNS))[:, None]


@gluon.jit
def normalise(sums, partial_sums, counters, number, failed, F: gl.constexpr):
    """A product's normalised columns [rows, columns], and 1 / deviation [rows, 1]."""
    total, squares = _over_all_programs(
        gl.sum(sums, 1), gl.sum(sums * sums, 1), partial_sums, counters, number, failed, F
    )
    mean = total * (1.0 / F.count)
    variance = gl.maximum(squares * (1.0 / F.count) - mean * mean, 0.0)
    deviation = gl.rsqrt(variance + EPSILON)
    return (sums - mean) * deviation, deviation


@gluon.jit
def load_gains(gain, F: gl.constexpr):
    """The gains of a program's columns, [1, columns]."""
    return gl.load(gain + gate_indices(F)[1])


@gluon.jit
def normalise_backward(grads, normalised, deviation, gain, partial_sums, counters, number, failed, F: gl.constexpr):
    """Backward of `normalise` and of the gains: the gradients of the bare product."""
    scaled, normalised = grads * load_gains(gain, F), normalised.to(gl.float32)
    total, shared = _over_all_programs(
        gl.sum(scaled, 1), gl.sum(scaled * normalised, 1), partial_sums, counters, number, failed, F
    )
    return (scaled - total * (1.0 / F.count) - normalised * (shared * (1.0 / F.count))) * deviation
