"""Layer normalisation inside Triton's sequence kernels: of products before they are added, forwards and backwards."""

from __future__ import annotations

import triton
import triton.language as tl

from nlpseq import arrays

EPSILON: tl.constexpr = tl.constexpr(arrays.EPSILON)


@triton.jit
def normalise(
    blocks: tl.tuple, known: tl.tensor, size: tl.tensor, EPSILON: tl.constexpr, BLOCKS: tl.constexpr
) -> tl.tuple:
    """Layer normalisation of rows over all blocks (Ba et al., 2016), without gain; and 1 / deviation [rows]."""
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
    """Backward of `normalise`: from gradients of its results, gain included, to those of its arguments."""
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
    """Products of blocks from FIRST on, normalised if the layer is, with their bias; the same before gain and bias;
    and 1 / deviation.
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
    inputs: tl.tuple,
    results: tl.tuple,
    gradients: tl.tuple,
    positions: tl.tensor,
    units: tl.tensor,
    mask: tl.tensor,
    size: tl.tensor,
    S: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> tl.tuple:
    """Backward of `finish`: the gradients of the bare products, which are stored if they differ."""
    if S.normalised:
        address = positions * (S.gates * size) + FIRST * size + units
        normalised = ()
        scaled = ()
        for block in tl.static_range(BLOCKS):
            gain = tl.load(inputs.gain + (FIRST + block) * size + units, mask=units < size, other=0.0)
            scaled += (grads[block] * gain,)
            normalised += (tl.load(results.normalised + address + block * size, mask=mask, other=0.0),)
        active = tl.max(mask.to(tl.int32), 1)[:, None] > 0
        inverse = tl.load(results.deviations + positions * 2 + (FIRST > 0), mask=active, other=0.0)
        bare = normalise_backward(scaled, normalised, tl.sum(inverse, 1), units < size, size, BLOCKS)
        for block in tl.static_range(BLOCKS):
            tl.store(gradients.bare + address + block * size, bare[block], mask=mask)
        return bare
    else:
        return grads
