"""A layer over time run by torch's own fused operators: oneDNN or ATen on the CPU, cuDNN on CUDA.

It is for comparison, and for users who trust torch's operators more than ours. The weights have torch.nn's
layout, so they are handed over as they are. Sequences of different lengths are packed, longest first, by one selection
of rows; running backwards is another order of the same selection. The cost: torch's operators have
neither layer normalisation nor zoneout nor every cell. These are refused and never worked around. In bf16 all they see
is bf16, the state too, where our own kernels keep the state in fp32. An input's product instead of inputs
goes through an identity matrix, a product that is wasted; `TorchLayers` says that it would rather have the inputs.
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
ONE_LAYER = (True, 1, 0.0, True, False)  # has biases, layers, dropout, keeps what a gradient needs, both directions


def why_not(cell: str, layer_normalisation: bool, zoneout: float) -> str | None:
    """Why torch's operators cannot run a layer, in words, or None."""
    if cell not in OPERATORS:
        return f"torch has no operator with the cell {cell}"
    if layer_normalisation:
        return "torch has no operator with layer normalisation"
    return "torch has no operator with zoneout" if zoneout else None


def refuse(cell: str, *, layer_normalisation: bool = False, zoneout: float = 0.0) -> None:
    """Raises BackendError for a cell or an option that torch's operators lack, with what would run it."""
    if reason := why_not(cell, layer_normalisation, zoneout):
        raise BackendError("backend", reason, "--backend auto")


@dataclass(frozen=True)
class TorchLayers:
    """`unroll` with the type of its products' operands fixed, as the other kernels are called."""

    operands: torch.dtype
    takes_products: ClassVar[bool] = False  # it prefers inputs to the input's product

    def __call__(self, *arguments: Any, **settings: Any) -> tuple[Tensor, State]:
        """As `unroll`."""
        return unroll(*arguments, operands=self.operands, **settings)


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,  # [T, B, I], or [T, B, G*H] where weights has no weight_ih
    state: State,  # of [B, H]
    lengths: Tensor | None = None,  # [B]
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: Tensor | None = None,
    operands: torch.dtype | None = None,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`; `operands` is the type of everything inside, by default the state's.

    Raises BackendError for what torch's operators lack (see `refuse`). `masks` are zoneout's, so there are none.
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
    """The four weights that torch's operators want; an input's product passes through an identity."""
    if weights.weight_ih is not None and weights.bias_ih is not None:
        return weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh
    recurrent = weights.weight_hh
    width = recurrent.shape[0]
    identity = torch.eye(width, dtype=recurrent.dtype, device=recurrent.device)
    return identity, recurrent, recurrent.new_zeros(width), weights.bias_hh


def _run(
    cell: Cell, inputs: Tensor, counts: Tensor | None, state: list[Tensor], matrices: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """torch's operator on inputs [T, B, I], or on packed rows [N, I], `counts` [T] for each step."""
    first = [value[None] for value in state]
    begun = first[0] if len(first) == 1 else first
    run = OPERATORS[cell.name]
    if counts is None:
        outputs, *last = run(inputs, begun, matrices, *ONE_LAYER, False)
    else:
        outputs, *last = run(inputs, counts, begun, matrices, *ONE_LAYER)
    return outputs, [value[0] for value in last]


def _run_packed(
    cell: Cell, inputs: Tensor, lengths: Tensor, state: list[Tensor], matrices: list[Tensor], reverse: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs [T, B, H], zero where padded, and the state after each sequence's last step.

    Raises RuntimeError in a CUDA graph, before CUDA does: lengths are wanted on the host.
    """
    if lengths.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("torch's operators want the lengths of sequences on the host")
    steps, batch = inputs.shape[:2]
    ordered, order = lengths.sort(descending=True, stable=True)
    times = torch.arange(steps, device=lengths.device)[:, None]
    real = times < ordered  # [T, B], the longest sequences first
    counts = real.sum(1).cpu()
    counts = counts[counts > 0]
    if not len(counts):
        return inputs.new_zeros(steps, batch, state[0].shape[1]), state
    rows = ((ordered - 1 - times if reverse else times) * batch + order)[real]
    longest = order[: int(counts[0])]  # those that have a step at all
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
