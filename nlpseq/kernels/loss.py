"""Cross-entropy of a linear output layer, without ever holding all logits of a batch.

A word model's logits are by far its largest tensor (700 tokens x 33,278 words x 4 bytes = 93 MB). Here the rows are
divided into chunks that share one buffer. The logits of a chunk become its softmax, its loss and its part of all three
gradients while they are in the cache, so the backward pass only scales. The price is that the forward pass computes
gradients even if they are not used, unless gradients are switched off.

For a vocabulary of many thousand words `sampled_cross_entropy` estimates the softmax's normaliser from some of the
words. It is several times faster but noisy: right on average, not in each step. Validation always uses the whole
vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nlpseq import arrays

CHUNK_VALUES = 1 << 22  # logits in one chunk on the CPU: 16 MB in fp32
LARGE_CHUNK = 1 << 27  # logits in one chunk on a GPU, where few large products are faster: 512 MB in fp32


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        operands: torch.dtype,
        gradients: bool,  # whether gradients are switched on
        smoothing: float,
        real: Tensor | None,  # [N], 0 for rows to ignore
    ) -> Tensor:
        values = CHUNK_VALUES if hidden.device.type == "cpu" else LARGE_CHUNK
        rows = max(1, min(hidden.shape[0], values // weight.shape[0]))
        training = gradients and any(ctx.needs_input_grad)
        matrix, offset = weight.to(operands), bias.to(operands)
        means = _mean_logits(hidden, weight, bias) if smoothing else hidden.new_zeros(len(hidden), 1)
        grad_hidden = torch.empty_like(hidden) if training else hidden
        grad_weight, grad_bias = (torch.zeros_like(value) if training else value for value in (weight, bias))
        buffer = hidden.new_empty(rows, weight.shape[0], dtype=operands)
        total = hidden.new_zeros((), dtype=torch.float64)
        for start in range(0, hidden.shape[0], rows):
            features = hidden[start : start + rows].to(operands)
            target = targets[start : start + rows, None]
            counts = 1.0 if real is None else real[start : start + rows, None]
            logits = torch.addmm(offset, features, matrix.t(), out=buffer[: features.shape[0]])
            chosen = logits.gather(1, target).double()
            if not training:
                total += ((_precise(logits).logsumexp(1, keepdim=True) - chosen) * counts).sum()
                continue
            log_likelihood = _differentiate(logits, target, chosen, means[start : start + rows], smoothing)
            total -= (log_likelihood * counts).sum()
            if real is not None:
                logits *= counts
            grad_hidden[start : start + rows] = logits @ matrix
            if operands == weight.dtype:
                grad_weight.addmm_(logits.t(), features)
            else:
                grad_weight.add_(logits.t() @ features)
            grad_bias += _column_sums(logits)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total.to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, grad_bias * grad, None, None, None, None, None


def _differentiate(logits: Tensor, target: Tensor, chosen: Tensor, mean: Tensor, smoothing: float) -> Tensor:
    """The smoothed log-likelihood of targets [N, 1] as float64; replaces `logits` [N, V] by the gradient of the loss.

    `chosen` [N, 1] are the targets' logits, `mean` [N, 1] the means of each row's logits.
    """
    floor = chosen - logits.amax(1, keepdim=True).double() if logits.dtype == torch.float16 else None
    probability = torch.softmax(logits, 1, out=logits)
    likelihood = probability.gather(1, target).double()
    log_likelihood = likelihood.clamp_min(1e-38).log()
    if floor is not None:  # in fp16 a probability below 6e-8 becomes zero
        log_likelihood = torch.where(likelihood > 0, log_likelihood, floor.clamp(max=-16.0))
    probability.scatter_add_(1, target, probability.new_full((1, 1), smoothing - 1).expand_as(target))
    if smoothing:
        probability -= smoothing / logits.shape[1]
    return log_likelihood + smoothing * (mean - chosen)


def _mean_logits(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The mean of each row's logits [N, 1] in float64, without the logits."""
    return (hidden @ weight.mean(0) + bias.mean())[:, None].double()


def _column_sums(gradient: Tensor) -> Tensor:
    """The sum of the rows. It is made in fp32 anyway, but in fp16 it may not fit."""
    return gradient.sum(0, dtype=torch.float32 if gradient.dtype == torch.float16 else None)


def _precise(values: Tensor) -> Tensor:
    """The values in fp32, or in their own type if that is wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def linear_cross_entropy(
    hidden: Tensor,  # [N, E]
    weight: Tensor,  # [V, E]
    bias: Tensor,  # [V]
    targets: Tensor,  # [N]
    operands: torch.dtype | None = None,
    smoothing: float = 0.0,
    real: Tensor | None = None,
    *,
    fixed: bool | None = None,
) -> Tensor:
    """The sum, in nats, of -log softmax(hidden W' + b) at the targets; a tensor without dimensions.

    With label smoothing (Szegedy et al., 2016) the fraction `smoothing` of the target is spread over the whole
    vocabulary. That is for training only: without gradients the loss is not smoothed.

    Only rows marked in `real` [N] count; None: all rows. Other rows are left out of the arithmetic. With `fixed`, the
    default on a GPU, they are multiplied by zero instead, so that shapes do not depend on the data.
    """
    fixed = hidden.device.type != "cpu" if fixed is None else fixed
    if real is not None and not fixed:
        hidden, targets, real = hidden[real], targets[real], None
    result: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, operands or hidden.dtype, torch.is_grad_enabled(), smoothing, real
    )
    return result


class Candidates:
    """The words from which a softmax over a large vocabulary is estimated.

    In each step every word w is drawn independently, with probability pi_w = min(1, c * frequency_w ** 0.75), where c
    is such that `expected` words are drawn on average. Common words are always drawn. A rare word that is drawn counts
    1 / pi_w times, so the estimated normaliser is right on average (Horvitz and Thompson, 1952; for softmax Bengio and
    Senecal, 2008). The batch's own targets are always included: they are the rare words that a context makes likely,
    and without them the estimate would usually miss most of the mass.
    """

    def __init__(
        self,
        frequencies: np.ndarray,
        expected: int = 3072,
        device: torch.device | None = None,
        *,
        fixed: bool | None = None,
    ) -> None:
        """`frequencies` [V] are counts in the training text; words are drawn on `device`, by default the CPU.

        With `fixed`, the default on a GPU, each draw has the same number of ids.
        """
        weights = (np.asarray(frequencies, np.float64) + 0.1) ** 0.75
        low, high = 0.0, 1.0 / weights.min()
        for _ in range(100):
            scale = (low + high) / 2
            low, high = (scale, high) if np.minimum(1, scale * weights).sum() < expected else (low, scale)
        self.probability = torch.from_numpy(np.minimum(1, high * weights)).float().to(device or "cpu")
        self.fixed = self.probability.device.type != "cpu" if fixed is None else fixed
        self.most = math.ceil(expected + 8 * math.sqrt(expected))  # the largest number of words, without the targets

    def draw(self, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Ids [S] of the words drawn for a batch with `targets` [N], and -log pi of each [S].

        If S is fixed, unused entries have the id V and the value -inf, which has no mass.
        """
        probability = self.probability.index_fill(0, targets, 1.0)
        if not self.fixed:
            ids = (torch.rand(len(probability), generator=generator) < probability).nonzero()[:, 0]
            return ids, -probability[ids].log()
        own = generator if generator.device.type == probability.device.type else None
        return self._draw_fixed(probability, len(targets), own)

    def _draw_fixed(
        self, probability: Tensor, targets: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        words, most = len(probability), min(len(probability), self.most + targets)
        drawn = torch.rand(words, generator=generator, device=probability.device) < probability
        slots = (drawn.cumsum(0) - 1).where(drawn, most).clamp(max=most)
        all_ids = torch.arange(words, device=probability.device)
        ids = all_ids.new_full((most + 1,), words).scatter(0, slots, all_ids)[:most]
        unused = ids == words
        return ids, -probability[ids.clamp(max=words - 1)].log().masked_fill(unused, torch.inf)


class _SampledCrossEntropy(torch.autograd.Function):
    """The loss of rows over the words drawn for all rows and each row's own target."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # [N, E]
        rows: Tensor,  # [S + N, E], weights of the drawn words and of the targets
        offsets: Tensor,  # [S + N]
        column: Tensor,  # [N, 1], the index of a row's target among the drawn words, or -1
        operands: torch.dtype,
    ) -> Tensor:
        count = len(rows) - len(hidden)
        drawn, targets = rows[:count].to(operands), rows[count:]
        mass = (hidden.to(operands) @ drawn.t()).to(hidden.dtype).add_(offsets[:count])
        index = column.clamp(min=0)
        mass.scatter_(1, index, mass.gather(1, index).masked_fill(column >= 0, -torch.inf))
        own = (hidden * targets).sum(1) + offsets[count:]
        top = torch.maximum(mass.amax(1), own)
        mass.sub_(top[:, None]).exp_()
        own_mass = (own - top).exp_()
        whole = mass.sum(1).add_(own_mass)
        loss = (whole.log() + top - own).sum()
        if any(ctx.needs_input_grad):
            mass.div_(whole[:, None])
            own_mass.div_(whole).sub_(1)
            low = mass.to(operands)
            grad_hidden = (low @ drawn).to(hidden.dtype).addcmul_(own_mass[:, None], targets)
            grad_drawn = (low.t() @ hidden.to(operands)).to(hidden.dtype)
            grad_rows = torch.cat([grad_drawn, own_mass[:, None] * hidden])
            ctx.save_for_backward(grad_hidden, grad_rows, torch.cat([mass.sum(0), own_mass]))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        grad_hidden, grad_rows, grad_offsets = ctx.saved_tensors
        return grad_hidden * grad, grad_rows * grad, grad_offsets * grad, None, None


def sampled_cross_entropy(
    hidden: Tensor,  # [N, E]
    weight: Tensor,  # [V, E]
    bias: Tensor,  # [V]
    targets: Tensor,  # [N]
    drawn: tuple[Tensor, Tensor],  # ids [S], corrections [S]
    operands: torch.dtype | None = None,
) -> Tensor:
    """As `linear_cross_entropy`, with the normaliser estimated from the target and the words that `Candidates` drew."""
    operands = operands or hidden.dtype
    ids, correction = drawn
    words = weight.shape[0]
    both = torch.cat([ids.clamp(max=words - 1), targets])
    rows = arrays.embed(weight, both)
    index = targets.new_full((words + 1,), -1)  # the last entry is for unused ids
    index[ids] = torch.arange(len(ids), device=ids.device)
    offsets = bias[both] + torch.cat([correction, correction.new_zeros(len(targets))])
    result: Tensor = _SampledCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, rows, offsets, index[targets][:, None], operands
    )
    return result
