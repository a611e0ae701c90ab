"""The next tokens of many texts at once on a device, as `nlpseq.decoding.sampling` draws those of one text on the host.

Every operation has a fixed shape and reads nothing back, so a step can be recorded as a CUDA graph. The uniform numbers
come from the texts' own generators on the host, so a seed gives the same text on both, up to the rounding of the
model's arithmetic. The cost in every step is a sort of the whole vocabulary for top-p, and a sum over it in 64 bits.

This file does not import torch; it uses the methods of tensors.
"""

from __future__ import annotations

from nlpseq.arrays import Array, library
from nlpseq.decoding.sampling import COLDEST, SamplingOptions


def draw_together(
    options: SamplingOptions,
    log_probabilities: Array,  # [B, V] in nats
    uniforms: Array,  # [B], from 0 to 1, as float64
    recent: Array,  # [B, W], the tokens before; padded with V
) -> Array:
    """The next token of each text, [B] as int64."""
    if options.repetition_penalty != 1:
        log_probabilities = _penalised(log_probabilities, recent, options.repetition_penalty)
    if options.temperature < COLDEST:
        return log_probabilities.argmax(-1)
    if options.temperature != 1:
        likeliest = log_probabilities.amax(-1, keepdim=True)
        log_probabilities = (log_probabilities - likeliest) / options.temperature
    return _invert(_narrowed(log_probabilities.exp(), options), uniforms)


def _penalised(log_probabilities: Array, recent: Array, penalty: float) -> Array:
    rows, size = log_probabilities.shape
    nothing = recent.new_zeros(rows, size + 1, dtype=library(recent).bool)
    seen = nothing.scatter_(1, recent, True)[:, :size]
    return library(recent).where(seen, log_probabilities * penalty, log_probabilities)


def _narrowed(weights: Array, options: SamplingOptions) -> Array:
    """Weights [B, V] with zero for tokens that top-k, top-p or min-p drops."""
    if not (options.top_k or options.top_p < 1 or options.min_p):
        return weights
    return weights.masked_fill(weights < least_kept_together(weights, options), 0.0)


def least_kept_together(weights: Array, options: SamplingOptions) -> Array:
    """As `sampling.least_kept`, for each row of weights [B, V] -> [B, 1]."""
    likeliest = weights
    least = weights.new_zeros(weights.shape[0], 1)
    if 0 < options.top_k < weights.shape[1]:
        likeliest = weights.topk(options.top_k).values
        least = likeliest[:, -1:]
    if options.top_p < 1:
        descending = likeliest.sort(-1, descending=True).values
        rank = _search(_cumulative(descending), options.top_p, right=False)
        least = descending.gather(1, rank)
    if options.min_p:
        minimum = weights.amax(-1, keepdim=True).double() * options.min_p
        least = library(weights).maximum(least, minimum.to(weights.dtype))
    return least


def _invert(weights: Array, uniforms: Array) -> Array:
    """The token [B] at a random point of the cumulative distribution; the weights [B, V] need not sum to one."""
    return _search(_cumulative(weights), uniforms[:, None], right=True)[:, 0]


def _cumulative(weights: Array) -> Array:
    return weights.cumsum(-1, dtype=library(weights).float64)


def _search(cumulative: Array, fractions: Array | float, *, right: bool) -> Array:
    """The index [B, 1] among sums [B, V] of a fraction of the last sum."""
    sums = cumulative[:, -1:] * fractions
    indices = library(cumulative).searchsorted(cumulative, sums, right=right)
    return indices.clamp(max=cumulative.shape[1] - 1)
