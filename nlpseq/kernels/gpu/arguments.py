"""The arguments of Triton's sequence kernels, in records, which keep the signatures short.

Settings are fixed when a kernel is compiled, so each combination in use is compiled once and cached on disk by Triton;
the price is some seconds at its first use. This file does not import Triton.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Settings:
    """Everything that is fixed when a kernel is compiled, except the cell's own functions."""

    gates: int  # number of blocks of gates
    saved: int  # number of tiles that the backward pass needs
    resets: bool  # whether the last block's product is of r * h
    memory: bool  # whether the state has a second part
    additive: bool  # whether both products have the same gradient
    normalised: bool
    zoneout: int  # 0: none, 1: a fraction, 2: masks
    reverse: bool
    padded: bool  # whether lengths differ
    training: bool
    precision: str  # of products in fp32, as for triton.language.dot
    held: bool = False  # whether a program keeps the weights over all steps
    rows: int = 16  # sequences in a tile
    units: int = 16  # hidden units in a tile
    depth: int = 16  # depth of a tile of weights, if a product is computed tile by tile
    barrier: bool = False  # whether one launch runs all steps, and its programs wait for each other after each step


class Sizes(NamedTuple):
    """Dimensions, and the fraction of the old state that zoneout keeps."""

    steps: Any
    batch: Any
    size: Any
    zoneout: Any


class Inputs(NamedTuple):
    """The inputs of a recurrence: N = T * B steps, padding included, of B sequences; G blocks of H units."""

    from_input: Any  # [N, G*H]
    weight: Any  # [G*H, H], of the products' type
    input_bias: Any  # [G*H], or None if from_input includes it
    bias: Any  # [G*H]
    gain: Any  # [G*H] or None
    first_hidden: Any  # [B, H]
    first_memory: Any  # [B, H] or None
    masks: Any  # [N, H] or None
    lengths: Any  # [B], or None if all sequences have the same length


class Signal(NamedTuple):
    """The counters at which programs of one launch wait for each other."""

    counters: Any  # zero at the start
    failed: Any  # [1], the device's flag: positive after a wait was given up


class Results(NamedTuple):
    """The results of the forward pass. `last_*` hold the current state, and at the end the last one."""

    outputs: Any  # [N, H]
    last_hidden: Any  # [B, H]
    last_memory: Any  # [B, H] or None
    memories: Any  # [N, H] or None, the memory of all states
    saved: Any  # [N, saved * H] or None
    normalised: Any  # [N, G*H] or None, normalised products before their gain
    deviations: Any  # [N, 2] or None, 1 / deviation of the first blocks' product, and of the last block's


class Gradients(NamedTuple):
    """Gradients. `hidden` and `memory` are those of the last state, and at the end those of the first state."""

    outputs: Any  # [N, H], of the outputs
    hidden: Any  # [B, H]
    memory: Any  # [B, H] or None
    from_input: Any  # [N, G*H]
    product: Any  # [N, G*H], of the hidden state's product: the same as `from_input` for an additive cell
    bare: Any  # [N, G*H], before normalisation: the same as `product` without it
