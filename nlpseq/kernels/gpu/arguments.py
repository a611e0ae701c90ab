"""What Triton's sequence kernels are given, in records, which keeps their signatures short.

Settings are fixed when a kernel is compiled, so each combination in use is compiled once and cached on disk by Triton;
the price is some seconds at its first use. Nothing here imports Triton.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Settings:
    """All that is fixed when a kernel is compiled, but for the cell's own functions."""

    gates: int  # blocks of gates
    saved: int  # tiles that the backward pass needs
    resets: bool  # whether the last block's product is of r * h
    memory: bool  # whether the state has a second part
    additive: bool  # whether both products have the same gradient
    normalised: bool
    zoneout: int  # 0 none, 1 a fraction, 2 masks
    reverse: bool
    padded: bool  # whether lengths differ
    training: bool
    precision: str  # of products in fp32, as in triton.language.dot
    held: bool = False  # whether the weights stay where they are over all steps
    rows: int = 16  # sequences in a tile
    units: int = 16  # hidden units in a tile
    depth: int = 16  # of a tile of weights, where a product is made in parts
    barrier: bool = False  # whether one launch runs all steps, its programs waiting for each other after each


class Sizes(NamedTuple):
    """Dimensions, and the fraction of the old state that zoneout keeps."""

    steps: Any
    batch: Any
    size: Any
    zoneout: Any


class Inputs(NamedTuple):
    """What a recurrence reads: N = T * B steps of all sequences, padding included, B sequences, G blocks, H units."""

    from_input: Any  # [N, G*H]
    weight: Any  # [G*H, H], of the products' type
    input_bias: Any  # [G*H] or None: it is in from_input already
    bias: Any  # [G*H]
    gain: Any  # [G*H] or None
    first_hidden: Any  # [B, H]
    first_memory: Any  # [B, H] or None
    masks: Any  # [N, H] or None
    lengths: Any  # [B] or None: all are of one length


class Signal(NamedTuple):
    """Where programs of one launch wait for each other."""

    counters: Any  # zero at first
    failed: Any  # [1], the device's: more than zero once a wait was given up


class Results(NamedTuple):
    """What the forward pass writes. `last_*` hold the current state, and at the end the last one."""

    outputs: Any  # [N, H]
    last_hidden: Any  # [B, H]
    last_memory: Any  # [B, H] or None
    memories: Any  # [N, H] or None, the second part of all states
    saved: Any  # [N, saved * H] or None
    normalised: Any  # [N, G*H] or None, products before their gain
    deviations: Any  # [N, 2] or None, one over the deviation of the first blocks' product, and of the last one's


class Gradients(NamedTuple):
    """Gradients. `hidden` and `memory` are those of the last state, and in the end those of the first one."""

    outputs: Any  # [N, H], of the outputs
    hidden: Any  # [B, H]
    memory: Any  # [B, H] or None
    from_input: Any  # [N, G*H]
    product: Any  # [N, G*H], of the hidden state's product: the same as `from_input` for an additive cell
    bare: Any  # [N, G*H], before normalisation: the same as `product` without it
