"""Where a program of the persistent kernels is in time and among the others, in one direction or in both.

A step's time is bounded by its wait and by its way through the product, not by the multiprocessors, so both directions
of a layer run side by side in one launch, in the time of one, where there is a multiprocessor for every program. The
third axis of the grid is the direction. With one direction all of this is known when a kernel is compiled, and with
two the direction is a number, which costs some registers and one kernel more to compile.

Arrays of both directions lie one after the other, except those of a product over all steps: the columns of the input's
product, of the gates' gradients and of the outputs are side by side, so that one product makes them or reads them.
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
    """How many tiles of sequences there are, over all directions."""
    if F.directions == 1:
        return gl.num_programs(1)
    else:
        return gl.num_programs(2) * gl.num_programs(1)


@gluon.jit
def time_of(step, steps, F: gl.constexpr):
    """When a step is run."""
    if F.directions == 2:
        return step + gl.program_id(2) * (steps - 1 - 2 * step)
    elif F.reverse:
        return steps - 1 - step
    else:
        return step


@gluon.jit
def place_before(time, F: gl.constexpr):
    """The place of a state before a step, among those of all steps and one more."""
    if F.directions == 2:
        return time + gl.program_id(2)
    elif F.reverse:
        return time + 1
    else:
        return time


@gluon.jit
def place_after(time, F: gl.constexpr):
    """The place of a state after a step."""
    if F.directions == 2:
        return time + 1 - gl.program_id(2)
    elif F.reverse:
        return time
    else:
        return time + 1
