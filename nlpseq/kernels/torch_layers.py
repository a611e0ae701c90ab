"""A layer over time by torch's own operators, oneDNN or cuDNN inside: for comparison.

They have neither all of our cells nor any of our options, so a model that needs one of those is refused before it is
trained. Where a layer is given its input's product instead of its input, torch has to multiply it with an identity
matrix: right, but slow.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nlpseq.cells.cell import Cell, LayerWeights, State

OPERATORS: dict[str, Any] = {
    "rnn": torch._VF.rnn_tanh,
    "rnn-relu": torch._VF.rnn_relu,
    "lstm": torch._VF.lstm,
    "gru": torch._VF.gru,
}


def lacks(cell: str, *, layer_normalisation: bool, zoneout: float) -> str | None:
    """What torch's layers do not have of what a model needs, or None."""
    if cell not in OPERATORS:
        return f"the cell {cell}"
    if layer_normalisation:
        return "layer normalisation"
    return "zoneout" if zoneout else None


def unroll(
    cell: Cell,
    weights: LayerWeights,
    inputs: Tensor,
    state: State,
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    zoneout: float = 0.0,
    masks: Tensor | None = None,
    operands: torch.dtype | None = None,
) -> tuple[Tensor, State]:
    """As `nlpseq.cells.unroll`; in half precision torch holds everything in `operands`, the state too."""
    missing = lacks(cell.name, layer_normalisation=weights.gain_hh is not None, zoneout=zoneout)
    assert missing is None and masks is None, f"torch's layers have no {missing}"
    full = state.hidden.dtype
    operands = operands or full
    inputs = _turned(inputs, lengths) if reverse else inputs
    weight_ih = weights.weight_ih
    if weight_ih is None:
        weight_ih = torch.eye(weights.weight_hh.shape[0], dtype=full, device=inputs.device)
    bias_ih = torch.zeros_like(weights.bias_hh) if weights.bias_ih is None else weights.bias_ih
    parameters = [one.to(operands) for one in (weight_ih, weights.weight_hh, bias_ih, weights.bias_hh)]
    first = [value.to(operands)[None] for value in state]
    outputs, last = _run(cell, inputs.to(operands), first, parameters, lengths)
    outputs = outputs.to(full)
    return _turned(outputs, lengths) if reverse else outputs, cell.state(*(value[0].to(full) for value in last))


def _run(
    cell: Cell, inputs: Tensor, first: list[Tensor], parameters: list[Tensor], lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    operator, settings = OPERATORS[cell.name], (True, 1, 0.0, True, False)
    if lengths is None:
        begun: Any = first if len(first) > 1 else first[0]
        outputs, *last = operator(inputs, begun, parameters, *settings, False)
        return outputs, last
    packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
    assert packed.sorted_indices is not None and packed.unsorted_indices is not None
    ordered = [value.index_select(1, packed.sorted_indices) for value in first]
    begun = ordered if len(ordered) > 1 else ordered[0]
    data, *last = operator(packed.data, packed.batch_sizes, begun, parameters, *settings)
    outputs, _ = pad_packed_sequence(packed._replace(data=data), total_length=inputs.shape[0])
    return outputs, [value.index_select(1, packed.unsorted_indices) for value in last]


def _turned(array: Tensor, lengths: Tensor | None) -> Tensor:
    """[T, B, W] with each sequence's real steps in reverse."""
    if lengths is None:
        return array.flip(0)
    time = torch.arange(array.shape[0], device=array.device)[:, None]
    places = torch.where(time < lengths, lengths - 1 - time, time)
    return array.gather(0, places[:, :, None].expand_as(array))
