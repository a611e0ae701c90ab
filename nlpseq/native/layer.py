"""A layer over time by the compiled loop, on NumPy arrays. It runs whole texts when no gradients are needed.

This is the loop of training, without torch. It runs on one thread and releases the interpreter's lock, so a caller
with many texts divides them among several threads, which need not wait for each other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.cells import Cell, LayerWeights
from nlpseq.cells import unroll as plain_unroll
from nlpseq.cells.cell import State
from nlpseq.native import extension, recurrence
from nlpseq.native.matrix import Values
from nlpseq.native.shapes import check_layer

ONE_THREAD = recurrence.Threads(None, None, None, 1)


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Values,  # [T, B, I]
    state: State,
    lengths: NDArray[np.int64] | None = None,  # [B]
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: None = None,
) -> tuple[Values, State]:
    """As `nlpseq.cells.unroll`, faster if the compiled loop can run it; zoneout is its expectation only."""
    if cell.name not in recurrence.CELLS or not extension.is_available() or inputs.dtype != np.float32:
        return plain_unroll(cell, weights, inputs, state, lengths, reverse=reverse, zoneout=zoneout, masks=masks)
    lengths = np.full(inputs.shape[1], len(inputs)) if lengths is None else np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    active = np.arange(len(inputs))[:, None] < lengths[order]
    hidden, last = _run(
        cell, weights, _reordered(inputs, order), state, order, active, reverse=reverse, zoneout=zoneout
    )
    final = hidden[0] if reverse else hidden[lengths[order], np.arange(len(order))]
    outputs = hidden[:-1] if reverse else hidden[1:]
    outputs[~active] = 0
    back = np.argsort(order)
    return _reordered(outputs, back), cell.state(*(value[back] for value in (final, *last)))


@cache
def workers() -> ThreadPoolExecutor:
    """A thread for each core, for work that releases the interpreter's lock."""
    return ThreadPoolExecutor(extension.threads())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.cache_clear)  # a forked process has none of its parent's threads


def unroll_shared(
    cell: Cell,
    weights: LayerWeights,
    inputs: Values,  # [T, B, I]
    state: State,
    lengths: NDArray[np.int64] | None = None,  # [B]
    **settings: Any,
) -> tuple[Values, State]:
    """As `unroll`, with the sequences divided among threads."""
    count = min(extension.threads(), inputs.shape[1])
    if count < 2:
        return unroll(cell, weights, inputs, state, lengths, **settings)
    groups = [np.arange(inputs.shape[1])[start::count] for start in range(count)]

    def run(rows: NDArray[np.int64]) -> tuple[Values, State]:
        own_lengths = None if lengths is None else lengths[rows]
        own_state = cell.state(*(value[rows] for value in state))
        return unroll(cell, weights, inputs[:, rows], own_state, own_lengths, **settings)

    results = list(workers().map(run, groups))
    back = np.argsort(np.concatenate(groups))
    outputs = arrays.concatenate([outputs for outputs, _ in results], 1)[:, back]
    states = zip(*(last for _, last in results), strict=True)
    return outputs, cell.state(*(arrays.concatenate(list(values), 0)[back] for values in states))


def _reordered(values: Values, order: NDArray[np.int64]) -> Values:
    """Sequences [T, B, ..] in the given order; the same array if they are already in that order."""
    return values if (order == np.arange(len(order))).all() else values[:, order]


def _run(
    cell: Cell,
    weights: LayerWeights,
    inputs: Values,  # [T, B, I], of sequences in `order`, the longest first
    state: State,
    order: NDArray[np.int64],  # [B]
    active: NDArray[np.bool_],  # [T, B], of sequences in `order`
    *,
    reverse: bool,
    zoneout: float,
) -> tuple[Values, list[Values]]:
    """The hidden states around each step [T + 1, B, H] of sequences in `order`, and the rest of the last state."""
    steps, (batch, size) = len(inputs), state.hidden.shape
    check_layer(cell, weights, inputs.shape[2], size)
    if any(value.shape != (batch, size) for value in state) or inputs.shape[1] != batch:
        raise ValueError(f"a state of {[value.shape for value in state]} does not fit inputs of {inputs.shape}")
    from_input = _project(weights, inputs.reshape(steps * batch, -1))
    hidden = np.zeros((steps + 1, batch, size), np.float32)
    hidden[-1 if reverse else 0] = state.hidden[order]
    last = [np.ascontiguousarray(value[order], np.float32) for value in state[1:]]
    layer: dict[str, Any] = {
        "weight": weights.weight_hh,
        "bias": weights.bias_hh,
        "gain": weights.gain_hh,
        "from_input": from_input,
        "input_bias": None if weights.weight_ih is None else weights.bias_ih,
        "hidden": hidden,
        "memory": last[0] if last else None,
        "rows": active.sum(1, dtype=np.int64),
        "offsets": np.arange(steps, dtype=np.int64) * batch,
    }
    if cell.reset is not None:
        layer["activations"] = np.empty((batch, from_input.shape[1]), np.float32)
        layer["held"] = np.empty((batch, size), np.float32)
    _call(cell, layer, {"steps": steps, "batch": batch, "size": size, "reverse": reverse, "zoneout": zoneout})
    return hidden, last


def _call(cell: Cell, values: Mapping[str, Values | None], settings: Mapping[str, Any]) -> None:
    """Run the compiled loop on this thread, on arrays named as in `recurrence.Layer`; they stay alive until it ends."""
    alive = {name: np.ascontiguousarray(value) for name, value in values.items() if value is not None}
    addresses = {name: value.ctypes.data for name, value in alive.items()}
    numbers = {
        "cell": recurrence.CELLS.index(cell.name),
        "gates": cell.gates,
        "half": recurrence.FULL,
        "share": recurrence.SEQUENCES,
        **settings,
    }
    sizes = {name: value.size for name, value in alive.items()}
    recurrence.check_sizes(sizes, numbers, settings["steps"] * settings["batch"])
    recurrence.run({**numbers, **addresses}, backward=False, doubles=False, threads=ONE_THREAD)


def _project(weights: LayerWeights, inputs: Values) -> Values:
    """The input's product [N, G*H] without its bias. Padding is included: leaving it out would cost more."""
    if weights.weight_ih is None:
        return inputs
    product = inputs @ weights.weight_ih.T
    if weights.gain_ih is not None:
        product = arrays.normalise(product, weights.gain_ih)
    return np.ascontiguousarray(product, np.float32)
