"""The time step and the tile of a program of the persistent kernels, in one direction or in both.

The time of a step depends on its wait and the latency of its product, not on the number of multiprocessors. So both
directions of a layer run side by side in one launch, in the time of one, if there is a multiprocessor for every
program. The third axis of the grid is the direction. A single direction is known when a kernel is compiled; with two,
the direction is a number, which costs some registers and one more kernel to compile.

Arrays of both directions are stored one after the other, except those of a product over all steps: the columns of the
input's product, of the gates' gradients and of the outputs are side by side, so that one product writes or reads them.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def tile_number(F: gl.constexpr):
    """The number of a program's tile of sequences, over all directions."""
    if F.directions == 1:
        return gl.program_id(1)
    else:
        return gl.program_id(2) * gl.num_programs(1) + gl.program_id(1)


@gluon.jit
def tile_count(F: gl.constexpr):
    """The number of tiles of sequences, over all directions."""
    if F.directions == 1:
        return gl.num_programs(1)
    else:
        return gl.num_programs(2) * gl.num_programs(1)


@gluon.jit
def time_of(step, steps, F: gl.constexpr):
    """The time of a step, which is counted in running order."""
    if F.directions == 2:
        return step + gl.program_id(2) * (steps - 1 - 2 * step)
    elif F.reverse:
        return steps - 1 - step
    else:
        return step


@gluon.jit
def index_before(time, F: gl.constexpr):
    """The index of the state before a step, among the states [T + 1]."""
    if F.directions == 2:
        return time + gl.program_id(2)
    elif F.reverse:
        return time + 1
    else:
        return time


@gluon.jit
def index_after(time, F: gl.constexpr):
    """The index of the state after a step."""
    if F.directions == 2:
        return time + 1 - gl.program_id(2)
    elif F.reverse:
        return time
    else:
        return time + 1
