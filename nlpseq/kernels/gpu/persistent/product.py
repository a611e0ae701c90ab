"""The waits between programs and the products of the persistent kernels, which are fed by asynchronous copies.

All copies of a product run at once, in one group for each chunk of its depth, and a chunk is multiplied when it has
arrived. Weights that fit stay in shared memory over all steps. Triton's own language can express neither, so these
kernels are in Gluon; the price is that every layout is written out.

Three measures, each of them timed, keep the compiler from spilling. `nothing` is a zero whose value the compiler cannot
know; without it all descriptors of shared memory are computed before the loop over time and kept in local memory. If
many chunks are streamed, the distance between two chunks in memory is hidden in the same way. Every chunk has its own
allocation; otherwise a barrier appears between two copies.

A wait is bounded: after about a million reads a program raises a flag and continues, and its results are wrong.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import async_copy
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, warpgroup_mma, warpgroup_mma_wait

from nlpseq.kernels.gpu.persistent.directions import tile_count, tile_number
from nlpseq.kernels.gpu.persistent.gluon_names import moved_names

LINE = gl.constexpr(32)  # counters in a line of the cache; each counter in use has its own line
program_barrier, copy_to_shared = moved_names(gl, async_copy)


@gluon.jit
def arrive(counter):
    """Count this program as done; a program that sees the count also sees all earlier writes of this one."""
    program_barrier()
    gl.inline_asm_elementwise(
        """{ .reg .pred p; .reg .u32 t;
        mov.u32 t, %tid.x;
        setp.eq.u32 p, t, 0;
        @p red.release.gpu.global.add.u32 [$1], 1;
        mov.u32 $0, 0; }""",
        "=r,l",
        [counter],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )


@gluon.jit
def wait(counter, needed, failed):
    """Wait until `needed` programs have arrived; returns the number of reads, far less than 2^30. One thread reads. If
    it gives up, later waits at the counter also end.
    """
    looks = gl.inline_asm_elementwise(
        """{ .reg .pred p, q; .reg .u32 t, v, n;
        mov.u32 t, %tid.x;
        mov.u32 n, 0;
        setp.ne.u32 p, t, 0;
        @p bra DONE;
        LOOK:
        ld.acquire.gpu.global.u32 v, [$1];
        setp.ge.s32 q, v, $2;
        @q bra DONE;
        add.u32 n, n, 1;
        setp.lt.u32 q, n, 1048576;
        @q bra LOOK;
        red.relaxed.gpu.global.add.u32 [$3], 1;
        red.relaxed.gpu.global.max.s32 [$1], 1073741824;
        DONE:
        mov.u32 $0, n; }""",
        "=r,l,r,l",
        [counter, needed, failed],
        dtype=gl.int32,
        is_pure=False,
        pack=1,
    )
    program_barrier()
    return looks


@gluon.jit
def wait_for_all(counters, number, failed, F: gl.constexpr):
    """Wait inside a step for all programs of the same sequences; `number` counts these waits from one."""
    across: gl.constexpr = F.across
    counter = counters + (tile_count(F) * (1 + across) + tile_number(F)) * LINE
    arrive(counter)
    return wait(counter, number * across, failed)


@gluon.jit
def _rows(ROWS: gl.constexpr, LAYOUT: gl.constexpr):
    return gl.program_id(1) * ROWS + gl.arange(0, ROWS, gl.SliceLayout(1, LAYOUT))[:, None]


@gluon.jit
def _columns(WIDTH: gl.constexpr, LAYOUT: gl.constexpr):
    return gl.program_id(0) * WIDTH + gl.arange(0, WIDTH, gl.SliceLayout(0, LAYOUT))[None, :]


@gluon.jit
def gate_indices(F: gl.constexpr):
    """The sequences [rows, 1] and the columns of gates [1, gates * units] of a program."""
    LAYOUT: gl.constexpr = F.columns
    return _rows(F.rows, LAYOUT), _columns(F.gates * F.units, LAYOUT)


@gluon.jit
def unit_indices(F: gl.constexpr):
    """The sequences [rows, 1] and the units [1, units] of a program."""
    LAYOUT: gl.constexpr = F.tile
    return _rows(F.rows, LAYOUT), _columns(F.units, LAYOUT)


@gluon.jit
def chunk_indices(F: gl.constexpr):
    """The sequences [rows, 1] and the depth [1, depth] of the first chunk that a program multiplies."""
    LAYOUT: gl.constexpr = F.load
    return _rows(F.rows, LAYOUT), gl.arange(0, F.depth, gl.SliceLayout(0, LAYOUT))[None, :]


@gluon.jit
def zeros_of_sums(WIDTH: gl.constexpr, F: gl.constexpr):
    """A product [rows, WIDTH] of zeros."""
    ROWS: gl.constexpr = F.rows
    LAYOUT: gl.constexpr = F.sums
    return gl.zeros([ROWS, WIDTH], gl.float32, layout=LAYOUT)


@gluon.jit
def buffers(COUNT: gl.constexpr, TYPE: gl.constexpr, ROWS: gl.constexpr, WIDTH: gl.constexpr, SHARED: gl.constexpr):
    """Shared memory for COUNT chunks."""
    allocated = ()
    for _ in gl.static_range(COUNT):
        allocated += (gl.allocate_shared_memory(TYPE, [1, ROWS, WIDTH], SHARED),)
    return allocated


@gluon.jit
def prepare(weight, at, step, ROWS: gl.constexpr, WIDTH: gl.constexpr, F: gl.constexpr):
    """Shared memory for held weights, which is filled, for chunks of the other operand, and for streamed weights.

    A chunk of weights is [ROWS, WIDTH]; `step` is the distance between two chunks in memory.
    """
    HELD: gl.constexpr = F.held
    SHARED: gl.constexpr = F.shared
    WEIGHT_SHARED: gl.constexpr = F.weight_shared
    held = buffers(HELD, weight.dtype.element_ty, ROWS, WIDTH, WEIGHT_SHARED)
    ring = buffers(F.buffers, weight.dtype.element_ty, F.rows, F.depth, SHARED)
    weight_ring = buffers(F.streamed, weight.dtype.element_ty, ROWS, WIDTH, WEIGHT_SHARED)
    for i in gl.static_range(HELD):
        copy_to_shared(held[i].index(0), at + i * step)
    async_copy.commit_group()
    async_copy.wait_group(0)
    fence_async_shared()
    return held, ring, weight_ring


@gluon.jit
def _copy(i: gl.constexpr, at, mask, ring, weight_at, weight_step, weight_ring, F: gl.constexpr):
    """Start the copies of chunk i, bypassing the nearest cache, which does not see writes of other programs."""
    copy_to_shared(ring[i % F.buffers].index(0), at + i * F.depth, mask=mask, cache_modifier=".cg")
    if i >= F.held:
        copy_to_shared(weight_ring[i % F.buffers].index(0), weight_at + i * weight_step, cache_modifier=".cg")
    async_copy.commit_group()


@gluon.jit
def multiply(
    nothing, sums, at, mask, ring, held, weight_at, weight_step, weight_ring, F: gl.constexpr, TRANSPOSE: gl.constexpr
):
    """The product [rows, columns] of the chunks at `at` and the weights, which TRANSPOSE transposes; `nothing` is 0."""
    CHUNKS: gl.constexpr = F.chunks
    BUFFERS: gl.constexpr = F.buffers
    for i in gl.static_range(CHUNKS):
        if i < BUFFERS:
            _copy(i, at, mask, ring, weight_at, weight_step, weight_ring, F)
    for i in gl.static_range(CHUNKS):
        # the number of started groups that may still be running
        if i == 0:
            async_copy.wait_group(BUFFERS - 1)
        else:
            async_copy.wait_group(CHUNKS - 1 - i if CHUNKS - 1 - i < BUFFERS - 2 else BUFFERS - 2)
        program_barrier()  # directly after the wait, or the compiler adds a second barrier
        right = held[i].index(nothing) if i < F.held else weight_ring[i % BUFFERS].index(nothing)
        if TRANSPOSE:
            right = right.permute((1, 0))
        sums = warpgroup_mma(ring[i % BUFFERS].index(nothing), right, sums, use_acc=(i > 0), is_async=True)
        if (i > 0) and (i - 1 + BUFFERS < CHUNKS):
            sums = warpgroup_mma_wait(1, deps=[sums])
            program_barrier()
            _copy(i - 1 + BUFFERS, at, mask, ring, weight_at, weight_step, weight_ring, F)
    return warpgroup_mma_wait(0, deps=[sums])
