"""A layer over time by torch's own fused operators: oneDNN or ATen on the CPU, cuDNN on CUDA.

It is for comparison, and for users who trust torch's operators more than ours. The weights have torch.nn's layout, so
they are passed unchanged. Sequences of different lengths are packed, longest first, by one selection of rows; the
reverse direction is another order of the same rows. torch's operators have neither layer normalisation nor zoneout, and
not every cell; such layers are refused, never worked around. In bf16 everything is bf16, the state too, while our own
kernels keep the state in fp32. If the input's product is given instead of inputs, it is multiplied with an identity
matrix, which wastes a product; `TorchLayers.takes_products` tells callers to pass inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.errors import BackendError

OPERATORS: dict[str, Any] = {
    "rnn": torch._VF.rnn_tanh,
    "rnn-relu": torch._VF.rnn_relu,
    "lstm": torch._VF.lstm,
    "gru": torch._VF.gru,
}
ONE_LAYER = (True, 1, 0.0, True, False)  # biases, layers, dropout, training, both directions


def why_not(cell: str, layer_normalisation: bool, zoneout: float) -> str | None:
    """The reason why torch's operators cannot run a layer, or None."""
    if cell not in OPERATORS:
        return f"torch has no operator with the cell {cell}"
    if layer_normalisation:
        return "torch has no operator with layer normalisation"
    return "torch has no operator with zoneout" if zoneout else None


def refuse(cell: str, *, layer_normalisation: bool = False, zoneout: float = 0.0) -> None:
    """Raises BackendError for a cell or an option that torch's operators do not have, with a hint."""
    if reason := why_not(cell, layer_normalisation, zoneout):
        raise BackendError("backend", reason, "--backend auto")


@dataclass(frozen=True)
class TorchLayers:
    """`unroll` with a fixed type of the products' operands; called like the other kernels."""

    operands: torch.dtype
    takes_products: ClassVar[bool] = False  # whether the input's product may replace inputs without a cost

    def __call__(self, *arguments: Any, **settings: Any) -> tuple[Tensor, State]:
        """As `unroll`."""
        return unroll(*arguments, operands=self.operands, **settings)


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,  # [T, B, I], or [T, B, G*H] if weights has no weight_ih
    state: State,  # of [B, H]
    lengths: Tensor | None = None,  # [B]
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: Tensor | None = None,
    operands: torch.dtype | None = None,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`; `operands` is the type of everything inside, by default the state's.

    Raises BackendError as `refuse` does. `masks` are for zoneout, so they are always None here.
    """
    refuse(cell.name, layer_normalisation=weights.gain_ih is not None, zoneout=zoneout)
    own_type = state.hidden.dtype
    lower = operands or own_type
    values = [value.to(lower) for value in state]
    matrices = [value.to(lower) for value in _all_weights(weights)]
    if lengths is None:
        ordered = inputs.flip(0) if reverse else inputs
        outputs, last = _run(cell, ordered.to(lower), None, values, matrices)
        outputs = outputs.flip(0) if reverse else outputs
    else:
        outputs, last = _run_packed(cell, inputs.to(lower), lengths, values, matrices, reverse)
    return outputs.to(own_type), cell.state(*(value.to(own_type) for value in last))


def _all_weights(weights: LayerWeights) -> tuple[Tensor, ...]:
    """The four weights that torch's operators take; an input's product is multiplied with an identity matrix."""
    if weights.weight_ih is not None and weights.bias_ih is not None:
        return weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh
    recurrent = weights.weight_hh
    width = recurrent.shape[0]
    identity = torch.eye(width, dtype=recurrent.dtype, device=recurrent.device)
    return identity, recurrent, recurrent.new_zeros(width), weights.bias_hh


def _run(
    cell: Cell, inputs: Tensor, counts: Tensor | None, state: list[Tensor], matrices: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Run torch's operator on inputs [T, B, I], or on packed rows [N, I] with `counts` [T] rows in each step."""
    first = [value[None] for value in state]
    start = first[0] if len(first) == 1 else first
    run = OPERATORS[cell.name]
    if counts is None:
        outputs, *last = run(inputs, start, matrices, *ONE_LAYER, False)
    else:
        outputs, *last = run(inputs, counts, start, matrices, *ONE_LAYER)
    return outputs, [value[0] for value in last]


def _run_packed(
    cell: Cell, inputs: Tensor, lengths: Tensor, state: list[Tensor], matrices: list[Tensor], reverse: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs [T, B, H], zero where padded, and the state after each sequence's last step.

    Raises RuntimeError in a CUDA graph, before CUDA does, because lengths are needed on the host.
    """
    if lengths.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("torch's operators need the lengths of sequences on the host")
    steps, batch = inputs.shape[:2]
    ordered, order = lengths.sort(descending=True, stable=True)
    times = torch.arange(steps, device=lengths.device)[:, None]
    real = times < ordered  # [T, B], the longest sequences first
    counts = real.sum(1).cpu()
    counts = counts[counts > 0]
    if not len(counts):
        return inputs.new_zeros(steps, batch, state[0].shape[1]), state
    rows = ((ordered - 1 - times if reverse else times) * batch + order)[real]
    longest = order[: int(counts[0])]  # sequences with at least one step
    packed, last = _run(
        cell,
        inputs.flatten(0, 1).index_select(0, rows),
        counts,
        [value.index_select(0, longest) for value in state],
        matrices,
    )
    outputs = packed.new_zeros(steps * batch, packed.shape[1]).index_copy(0, rows, packed)
    after = [value.index_copy(0, longest, new) for value, new in zip(state, last, strict=True)]
    return outputs.view(steps, batch, -1), after
