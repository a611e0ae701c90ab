"""From a search on a device to hypotheses on the host: one transfer, and the parents followed back.

All results of a search are fetched as one array of 32-bit numbers. The host assembles the texts of a whole batch at
once, and only those of returned hypotheses. The cost is a transfer of the tokens of all steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq.decoding.beam import BeamOptions, Hypothesis, length_divisor
from nlpseq.decoding.device.beam import DeviceBeam, Ended
from nlpseq.decoding.loops import without_repeats

if TYPE_CHECKING:
    from torch import Tensor


class _Choice(NamedTuple):
    """A hypothesis to return: the row of its text, its number of tokens, the slot of its last token, its scores."""

    row: int
    length: int
    slot: int
    total: float
    score: float
    period: int  # 0: it ended
    cut: bool


class Finished(NamedTuple):
    """Texts whose search ended in a beam: their rows in it, their indices among all texts, the number of steps."""

    beam: DeviceBeam
    rows: NDArray[np.int64]
    texts: NDArray[np.int64]
    steps: int


def hypotheses(finished: Sequence[Finished], limits: Sequence[int], options: BeamOptions) -> list[list[Hypothesis]]:
    """The best hypotheses of each text, best first. This is the only wait for the device."""
    results: list[list[Hypothesis]] = [[] for _ in limits]
    for group, (tokens, parents, *rest) in zip(finished, _fetched(finished, options.beam), strict=True):
        ended, given_up = (
            list(zip(*(values.tolist() for values in fields), strict=True))
            for fields in (rest[: len(Ended._fields)], rest[len(Ended._fields) :])
        )
        text_of = dict(zip(group.rows.tolist(), group.texts.tolist(), strict=True))
        chosen: list[_Choice] = []
        for row, text in text_of.items():
            best = _ended(row, limits[text], zip(*ended[row], strict=True), options)
            chosen += best or _given_up(row, given_up[row], options)
        for choice, text_tokens in zip(chosen, _traced(tokens, parents, chosen), strict=True):
            kept = without_repeats(text_tokens, choice.period) if choice.period else text_tokens
            results[text_of[choice.row]].append(Hypothesis(kept, choice.total, choice.score, choice.cut))
    return results


def _fetched(finished: Sequence[Finished], width: int) -> list[list[NDArray[Any]]]:
    """The contents of beams, in one transfer: tokens, parents, and the fields of `Ended` and `GivenUp`."""
    import torch

    tensors: list[list[Tensor]] = []
    for beam, rows, _, steps in finished:
        texts = int(rows.max(initial=-1)) + 1
        tensors.append(
            [
                beam.tokens[:steps, :texts],
                beam.parents[:steps, :texts],
                *(field[:texts, :width] for field in beam.ended),
                *(field[:texts] for field in beam.given_up),
            ]
        )
    packed = [[tensor if tensor.is_floating_point() else tensor.int() for tensor in group] for group in tensors]
    words = [tensor.contiguous().view(torch.int32).flatten() for group in packed for tensor in group]
    flat = torch.cat(words).cpu().numpy()
    fetched, start = [], 0
    for group in packed:
        arrays = []
        for tensor in group:
            arrays.append(_array(flat, tensor, start))
            start += tensor.numel() * tensor.element_size()
        fetched.append(arrays)
    return fetched


def _array(flat: NDArray[np.int32], like: Tensor, start: int) -> NDArray[Any]:
    """The array of a tensor's shape that starts at byte `start`."""
    dtype = np.float64 if like.is_floating_point() else np.int32
    array: NDArray[Any] = np.frombuffer(flat.data, dtype, like.numel(), start).reshape(like.shape)
    return array


def _ended(row: int, limit: int, set_aside: Iterable[Any], options: BeamOptions) -> list[_Choice]:
    """The best ended hypotheses of a text, from the fields of `Ended`."""
    choices = []
    for total, covered, time, parent in set_aside:
        if total > -inf:
            score = total / length_divisor(time + 1, options.length_penalty) + covered
            choices.append(_Choice(row, time, parent, total, score, 0, time + 1 > limit))
    choices.sort(key=lambda choice: -choice.score)
    return choices[: options.n_best]


def _given_up(row: int, fields: Any, options: BeamOptions) -> list[_Choice]:
    """The hypothesis of a text that looped, from the fields of `GivenUp`; empty if it did not."""
    total, time, slot, period = fields
    if total == -inf:
        return []
    score = total / length_divisor(time + 1, options.length_penalty)
    return [_Choice(row, time + 1, slot, total, score, period, cut=True)]


def _traced(tokens: NDArray[Any], parents: NDArray[Any], chosen: Sequence[_Choice]) -> list[list[int]]:
    """The tokens of hypotheses, followed back from the last token through the parents [T, B, K] of all steps."""
    if not chosen:
        return []
    rows, lengths, slots = (np.array([choice[field] for choice in chosen]) for field in range(3))
    traced = np.zeros((len(chosen), int(lengths.max())), np.int64)
    for time in reversed(range(traced.shape[1])):
        active = np.flatnonzero(lengths > time)
        traced[active, time] = tokens[time, rows[active], slots[active]]
        slots[active] = parents[time, rows[active], slots[active]]
    return [row[:length].tolist() for row, length in zip(traced, lengths, strict=True)]
