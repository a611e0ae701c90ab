"""The plain loop over time: the definition of what every faster kernel must compute.

It runs one step after another, on NumPy or on torch, and torch can differentiate through it. It is slow in training,
but it is the reference for tests, and it runs any cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells.cell import Cell, LayerWeights, State

Unroll = Callable[..., tuple[Array, State]]  # runs a layer over time: `unroll`, or a faster function


def zero_state(cell: Cell, batch: int, size: int, like: Array) -> State:
    """A state [batch, size] of zeros, from which a sequence starts by default."""
    return cell.state(*(arrays.zeros((batch, size), like) for _ in cell.state._fields))  # type: ignore[attr-defined]


def project_inputs(weights: LayerWeights, inputs: Array) -> Array:
    """The input's product for all time steps at once: inputs [T, B, I] -> [T, B, G*H]."""
    if weights.weight_ih is None:
        return inputs
    if weights.gain_ih is None:
        return arrays.project(inputs, weights.weight_ih, weights.bias_ih)
    return arrays.normalise(arrays.project(inputs, weights.weight_ih), weights.gain_ih) + weights.bias_ih


def project_hidden(cell: Cell, weights: LayerWeights, from_input: Array, state: State) -> Array | None:
    """The hidden state's product [B, G*H] for one step, with layer normalisation and reset if the layer has them.

    None for a parallel cell.
    """
    if cell.parallel:
        return None
    if cell.reset is None and weights.gain_hh is None:
        return arrays.project(state.hidden, weights.weight_hh, weights.bias_hh)

    def product(hidden: Array, rows: slice) -> Array:
        projected = arrays.project(hidden, weights.weight_hh[rows])
        if weights.gain_hh is not None:
            projected = arrays.normalise(projected, weights.gain_hh[rows])
        return projected + weights.bias_hh[rows]

    if cell.reset is None:
        return product(state.hidden, slice(None))
    size = state.hidden.shape[-1]
    gates = product(state.hidden, slice(0, -size))
    return arrays.concatenate([gates, product(cell.reset(from_input, gates, state), slice(-size, None))])


def advance(
    cell: Cell,
    weights: LayerWeights,
    from_input: Array,  # [B, G*H]
    state: State,
    zoneout: float = 0.0,
    mask: Array | None = None,  # [B, H]
) -> State:
    """One time step of one layer: the state after it; zoneout as in `unroll`."""
    peepholes = () if weights.peepholes is None else (weights.peepholes,)
    new = cell.step(from_input, project_hidden(cell, weights, from_input, state), state, *peepholes)
    if not zoneout:
        return new
    kept = zoneout if mask is None else mask
    return cell.state(*(fresh + kept * (old - fresh) for fresh, old in zip(new, state, strict=True)))


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Array,  # [T, B, I], or [T, B, G*H] if weights has no weight_ih
    state: State,  # of [B, H]
    lengths: Array | None = None,  # [B], steps before padding; None: all
    *,
    reverse: bool = False,  # from the last step to the first
    zoneout: float = 0.0,  # the fraction of the old state that each step keeps
    masks: Array | None = None,  # [T, B, H] of 0 and 1: where zoneout keeps the old state in training
) -> tuple[Array, State]:
    """Run a cell over time: outputs [T, B, H], zero where padded, and the state after each sequence's last step.

    Zoneout (Krueger et al., 2017) keeps the old value of single units: those marked in `masks`. Without masks every
    unit keeps the fraction `zoneout` of its old value, which is the expectation.
    """
    from_input = project_inputs(weights, inputs)
    steps = range(from_input.shape[0])
    outputs: list[Array] = []
    for time in reversed(steps) if reverse else steps:
        mask = None if masks is None else masks[time]
        new = advance(cell, weights, from_input[time], state, zoneout, mask)
        output = new.hidden
        if lengths is not None:
            active = arrays.active_rows(lengths, time)
            new = cell.state(*(arrays.where(active, fresh, old) for fresh, old in zip(new, state, strict=True)))
            output = output * active
        state = new
        outputs.append(output)
    return arrays.stack(outputs[::-1] if reverse else outputs), state


def run_directions(
    run_layer: Unroll,
    cell: Cell,
    weights: Sequence[LayerWeights],
    inputs: Array,
    states: Sequence[State],
    lengths: Array | None = None,
    *,
    masks: Sequence[Array | None],
    **settings: Any,
) -> tuple[Array, list[State]]:
    """Run the directions of a layer one after the other: outputs [T, B, H] or [T, B, 2H], and the last states."""
    outputs: list[Array] = []
    last: list[State] = []
    for reverse, (direction, start, mask) in enumerate(zip(weights, states, masks, strict=True)):
        output, end = run_layer(cell, direction, inputs, start, lengths, reverse=bool(reverse), masks=mask, **settings)
        outputs.append(output)
        last.append(end)
    return outputs[0] if len(outputs) == 1 else arrays.concatenate(outputs), last
