"""Cross-entropy of a linear output layer against the text and against the probabilities of teachers.

As in loss.py, all logits of a batch never exist at once: the rows are divided into chunks, and each chunk's gradients
are computed in the forward pass. The teachers' probabilities of a chunk are computed beside the student's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import log_softmax, nll_loss

from nlpseq.kernels.loss import CHUNK_VALUES, LARGE_CHUNK


class Predictor(NamedTuple):
    """What a teacher predicts the tokens of N rows from."""

    features: Tensor  # [N, E]
    weight: Tensor  # [V, E]
    bias: Tensor  # [V]


class _SoftCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        operands: torch.dtype,
        soft: float,
        temperature: float,
        teachers: Sequence[Predictor],
    ) -> Tensor:
        values = CHUNK_VALUES if hidden.device.type == "cpu" else LARGE_CHUNK
        rows = max(1, min(hidden.shape[0], values // weight.shape[0]))
        matrix, offset = weight.to(operands), bias.to(operands)
        answers = [teacher._replace(weight=teacher.weight.to(operands)) for teacher in teachers]
        grad_hidden, grad_weight, grad_bias = map(torch.zeros_like, (hidden, weight, bias))
        total = hidden.new_zeros((), dtype=torch.float64)
        for start in range(0, hidden.shape[0], rows):
            chunk = slice(start, start + rows)
            features = hidden[chunk].to(operands)
            logits = torch.addmm(offset, features, matrix.t()).to(hidden.dtype)
            wanted = _probabilities(answers, chunk, operands, temperature)
            loss, gradient = _differentiate(logits, targets[chunk], wanted, soft, temperature)
            total += loss
            low = gradient.to(operands)
            grad_hidden[chunk] = low @ matrix
            grad_weight += low.t() @ features
            grad_bias += gradient.sum(0)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total.to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, grad_bias * grad, None, None, None, None, None


def _probabilities(teachers: Sequence[Predictor], rows: slice, operands: torch.dtype, temperature: float) -> Tensor:
    """The mean of the teachers' probabilities [N, V] of some rows."""

    def each() -> Iterator[Tensor]:
        for features, weight, bias in teachers:
            logits = (features[rows].to(operands) @ weight.t()).to(bias.dtype) + bias
            yield torch.softmax(logits / temperature, 1)

    first, *others = each()
    return sum(others, first) / len(teachers)


def _differentiate(
    logits: Tensor, targets: Tensor, wanted: Tensor, soft: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """The loss of logits [N, V] in nats, and its gradient with respect to them."""
    flat = log_softmax(logits / temperature, 1)
    cross_entropy = -(wanted * flat).sum(dtype=torch.float64)
    gradient = (flat.exp() - wanted) * (soft * temperature)
    log_likelihood = flat if temperature == 1 else log_softmax(logits, 1)
    hard = nll_loss(log_likelihood, targets, reduction="sum").double()
    own = log_likelihood.exp()
    own.scatter_add_(1, targets[:, None], own.new_full((1, 1), -1.0).expand(len(targets), 1))
    gradient.add_(own, alpha=1 - soft)
    return (1 - soft) * hard + soft * temperature**2 * cross_entropy, gradient


def soft_cross_entropy(
    hidden: Tensor,  # [N, E]
    weight: Tensor,  # [V, E]
    bias: Tensor,  # [V]
    targets: Tensor,  # [N]
    teachers: Sequence[Predictor],
    *,
    soft: float,
    temperature: float = 1.0,
    operands: torch.dtype | None = None,
) -> Tensor:
    """As `linear_cross_entropy`, a fraction `soft` of it against the teachers; a tensor without dimensions, in nats.

    That fraction is the cross-entropy of the student's probabilities under the mean of the teachers', of logits that
    are divided by `temperature`. It is multiplied by the temperature's square, so that its gradients stay as large
    as those of the text (Hinton et al., 2015).
    """
    result: Tensor = _SoftCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, operands or hidden.dtype, soft, temperature, teachers
    )
    return result
