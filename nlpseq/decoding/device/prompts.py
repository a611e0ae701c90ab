"""The states of a language model after prompts of unequal length, which are read side by side on a device.

Prompts of similar length are read together, so little is computed for padding; a long prompt is read alone, in pieces.
The cost is a sort of the prompts, and a second pass over them on the host for the last tokens, which n-grams need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from nlpseq import arrays
from nlpseq.cells import unroll
from nlpseq.device import in_halves
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights
from nlpseq.text.padding import Ids, side_by_side, together

TOKENS_AT_ONCE = 1 << 17  # padding included
STEPS = 1024  # tokens of a long prompt at once
FEW = 16  # up to this number of tokens the plain loop runs, because kernels would have to be compiled first


def read_prompts(
    weights: Weights, options: LanguageModelOptions, prompts: Sequence[np.ndarray], start: LanguageModelState
) -> LanguageModelState:
    """The state of B texts after prompts of ids, each from the state `start` of one text; weights are tensors.

    Raises BackendError if the device's memory does not hold a single prompt.
    """
    states: list[LanguageModelState] = []
    order: list[int] = []
    for group in _groups(np.array([len(prompt) for prompt in prompts], np.int64)):
        read = partial(_read_some, weights, options, prompts, start)
        states += in_halves(read, group.tolist())
        order += group.tolist()
    back = arrays.from_numpy(np.argsort(order), weights["embedding.weight"])
    return language_model.take_texts(language_model.join_states(states), back)


def _groups(lengths: Ids) -> Iterator[Ids]:
    """Groups of indices of prompts to read together, the longest first; empty prompts are a group."""
    empty, others = np.flatnonzero(lengths == 0), np.flatnonzero(lengths)
    if len(empty):
        yield empty
    yield from (others[batch[::-1]] for batch in together(lengths[others], TOKENS_AT_ONCE))


def _read_some(
    weights: Weights,
    options: LanguageModelOptions,
    prompts: Sequence[np.ndarray],
    start: LanguageModelState,
    indices: Sequence[int],
) -> LanguageModelState:
    like = weights["embedding.weight"]
    state = language_model.take_texts(start, arrays.from_numpy(np.zeros(len(indices), np.int64), like))
    columns, lengths = side_by_side([prompts[index] for index in indices])
    run_layer = unroll if len(columns) <= FEW else run_layer_for(like)
    padded = None if len(indices) == 1 else arrays.from_numpy(lengths, like)
    steps = STEPS if padded is None else max(1, len(columns))
    for first in range(0, len(columns), steps):
        ids = arrays.from_numpy(columns[first : first + steps], like)
        _, state = language_model.forward(weights, options, ids, state, lengths=padded, run_layer=run_layer)
    return state._replace(recent=arrays.from_numpy(_recent(start, columns, lengths), like))


def _recent(start: LanguageModelState, columns: Ids, lengths: Ids) -> Ids:
    """The last tokens [n - 1, B] of each text."""
    before = arrays.to_numpy(start.recent)
    texts = np.concatenate([before.repeat(len(lengths), 1), columns])
    times = lengths + np.arange(len(before))[:, None]
    return np.take_along_axis(texts, times, 0)
