"""From a search on a device to hypotheses on the host: one transfer, and the parents followed back.

Everything that a search found comes in one piece of 32-bit numbers. Whole texts are made here, on the host and for all
of a batch at once, and only of the hypotheses that are given: the price is that the tokens of all steps travel.
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
    """A hypothesis that is given: its text's row, its tokens' number, and where the last of them is."""

    row: int
    length: int
    slot: int
    total: float
    score: float
    period: int  # 0: it ended
    cut: bool


class Part(NamedTuple):
    """Texts whose search ended in a beam: their rows there, which they are of all, and the steps made."""

    beam: DeviceBeam
    rows: NDArray[np.int64]
    texts: NDArray[np.int64]
    steps: int


def hypotheses(parts: Sequence[Part], limits: Sequence[int], options: BeamOptions) -> list[list[Hypothesis]]:
    """The best hypotheses of each text, best first; the only wait for the device."""
    made: list[list[Hypothesis]] = [[] for _ in limits]
    for part, (tokens, parents, *rest) in zip(parts, _fetched(parts, options.beam), strict=True):
        ended, given_up = (
            list(zip(*(one.tolist() for one in fields), strict=True))
            for fields in (rest[: len(Ended._fields)], rest[len(Ended._fields) :])
        )
        chosen: list[_Choice] = []
        for row, text in zip(part.rows.tolist(), part.texts.tolist(), strict=True):
            best = _ended(row, limits[text], zip(*ended[row], strict=True), options)
            chosen += best or _given_up(row, given_up[row], options)
        text_of = dict(zip(part.rows.tolist(), part.texts.tolist(), strict=True))
        for one, text_tokens in zip(chosen, _traced(tokens, parents, chosen), strict=True):
            kept = without_repeats(text_tokens, one.period) if one.period else text_tokens
            made[text_of[one.row]].append(Hypothesis(kept, one.total, one.score, one.cut))
    return made


def _fetched(parts: Sequence[Part], width: int) -> list[list[NDArray[Any]]]:
    """What beams hold, in one transfer: of each tokens and parents, and the fields of the other two."""
    import torch

    tensors: list[list[Tensor]] = []
    for beam, rows, _, steps in parts:
        texts = int(rows.max(initial=-1)) + 1
        tensors.append(
            [
                beam.tokens[:steps, :texts],
                beam.parents[:steps, :texts],
                *(one[:texts, :width] for one in beam.ended),
                *(one[:texts] for one in beam.given_up),
            ]
        )
    packed = [[one if one.is_floating_point() else one.int() for one in group] for group in tensors]
    flat = torch.cat([one.contiguous().view(torch.int32).flatten() for group in packed for one in group]).cpu().numpy()
    values, start = [], 0
    for group in packed:
        values.append([_array(flat, one, start + sum(map(_size, group[:place]))) for place, one in enumerate(group)])
        start += sum(map(_size, group))
    return values


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _array(flat: NDArray[np.int32], like: Tensor, start: int) -> NDArray[Any]:
    """The array of a tensor's shape that begins `start` bytes after the others."""
    dtype = np.float64 if like.is_floating_point() else np.int32
    found: NDArray[Any] = np.frombuffer(flat.data, dtype, like.numel(), start).reshape(like.shape)
    return found


def _ended(row: int, limit: int, set_aside: Iterable[Any], options: BeamOptions) -> list[_Choice]:
    """The best of the hypotheses of a text that ended, each a total, what coverage adds, its step and its parent."""
    found = []
    for total, covered, time, parent in set_aside:
        if total > -inf:
            score = total / length_divisor(time + 1, options.length_penalty) + covered
            found.append(_Choice(row, time, parent, total, score, 0, time + 1 > limit))
    found.sort(key=lambda one: -one.score)
    return found[: options.n_best]


def _given_up(row: int, circle: Any, options: BeamOptions) -> list[_Choice]:
    """What a text has if nothing ended, of the fields of `GivenUp`."""
    total, time, slot, period = circle
    if total == -inf:
        return []
    score = total / length_divisor(time + 1, options.length_penalty)
    return [_Choice(row, time + 1, slot, total, score, period, cut=True)]


def _traced(tokens: NDArray[Any], parents: NDArray[Any], chosen: Sequence[_Choice]) -> list[list[int]]:
    """The tokens of hypotheses, followed from the last one back, by tokens and parents [T, B, K] of all steps."""
    if not chosen:
        return []
    rows, lengths, slots = (np.array([one[field] for one in chosen]) for field in range(3))
    found = np.zeros((len(chosen), int(lengths.max())), np.int64)
    for time in reversed(range(found.shape[1])):
        going = np.flatnonzero(lengths > time)
        found[going, time] = tokens[time, rows[going], slots[going]]
        slots[going] = parents[time, rows[going], slots[going]]
    return [row[:length].tolist() for row, length in zip(found, lengths, strict=True)]
