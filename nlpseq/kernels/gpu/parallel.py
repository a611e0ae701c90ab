"""The parallel cells on a GPU: torch computes the gates for all steps at once, and Triton's scan runs the recurrence.

Their step is linear in the state, h_t = a_t * h_{t-1} + b_t, also with zoneout. After the end of a sequence a is one
and b is zero, so that the last step holds every sequence's last state; padding is computed. The price of computing a
and b outside the scan is that they are written and read once more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nlpseq.cells.cell import Cell, LayerWeights, State
from nlpseq.kernels.gpu.products import project
from nlpseq.kernels.products import normalise


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
    """As `nlpseq.cells.unroll`, for the cells of `FACTORS`."""
    from nlpseq.kernels.gpu.scan import scan

    kept, admitted = FACTORS[cell.name](*_product(weights, inputs, operands or inputs.dtype).chunk(cell.gates, -1))
    if zoneout:
        fraction = zoneout if masks is None else masks
        kept, admitted = kept + fraction * (1 - kept), admitted - fraction * admitted
    if lengths is None:
        outputs: Tensor = scan(kept, admitted, state.hidden, reverse)
        return outputs, cell.state(outputs[0 if reverse else -1])
    active = torch.arange(inputs.shape[0], device=inputs.device)[:, None, None] < lengths[None, :, None]
    outputs = scan(torch.where(active, kept, 1.0), torch.where(active, admitted, 0.0), state.hidden, reverse)
    return outputs * active, cell.state(outputs[0 if reverse else -1])


def _product(weights: LayerWeights, inputs: Tensor, operands: torch.dtype) -> Tensor:
    """The input's product for all steps [T, B, G*H]."""
    if weights.weight_ih is None:
        return inputs
    product = normalise(weights, project(inputs, weights.weight_ih, operands).to(inputs.dtype))
    return product if weights.bias_ih is None else product + weights.bias_ih


def _mingru(update: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor]:
    update = update.sigmoid()
    return 1 - update, update * candidate


def _minlstm(forget: Tensor, admit: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor]:
    softplus = torch.nn.functional.softplus
    kept = torch.sigmoid(softplus(-admit) - softplus(-forget))
    return kept, (1 - kept) * candidate


# From the blocks of the input's product, [T, B, H] each: the factor a of the state, and the term b that a step adds.
FACTORS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"mingru": _mingru, "minlstm": _minlstm}
