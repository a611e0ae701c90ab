"""What a language model knows after prompts of unequal length that are read side by side on a device.

Prompts of about one length go together, so that little is computed for padding; a long one goes alone and is read in
stretches. The cost is a sort of the prompts, and a second look at them on the host for the tokens that n-grams go on
from.
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
STEPS = 1024  # of a long prompt at once
FEW = 16  # steps that the plain loop takes: a device's kernels would first have to be compiled


def read_prompts(
    weights: Weights, options: LanguageModelOptions, prompts: Sequence[np.ndarray], start: LanguageModelState
) -> LanguageModelState:
    """The state of B texts after prompts of ids, each from the state `start` of one text; weights are tensors.

    Raises BackendError where the device's memory does not hold a single prompt.
    """
    states: list[LanguageModelState] = []
    order: list[int] = []
    for group in _groups(np.array([len(one) for one in prompts], np.int64)):
        read = partial(_read_some, weights, options, prompts, start)
        states += in_halves(read, group.tolist())
        order += group.tolist()
    back = arrays.from_numpy(np.argsort(order), weights["embedding.weight"])
    return language_model.take_texts(language_model.join_states(states), back)


def _groups(lengths: Ids) -> Iterator[Ids]:
    """Places of prompts that are read together, the longest first; those without a token apart."""
    empty, some = np.flatnonzero(lengths == 0), np.flatnonzero(lengths)
    if len(empty):
        yield empty
    yield from (some[places[::-1]] for places in together(lengths[some], TOKENS_AT_ONCE))


def _read_some(
    weights: Weights,
    options: LanguageModelOptions,
    prompts: Sequence[np.ndarray],
    start: LanguageModelState,
    places: Sequence[int],
) -> LanguageModelState:
    like = weights["embedding.weight"]
    state = language_model.take_texts(start, arrays.from_numpy(np.zeros(len(places), np.int64), like))
    columns, lengths = side_by_side([prompts[place] for place in places])
    run_layer = unroll if len(columns) <= FEW else run_layer_for(like)
    given = None if len(places) == 1 else arrays.from_numpy(lengths, like)
    steps = STEPS if given is None else max(1, len(columns))
    for first in range(0, len(columns), steps):
        ids = arrays.from_numpy(columns[first : first + steps], like)
        _, state = language_model.forward(weights, options, ids, state, lengths=given, run_layer=run_layer)
    return state._replace(recent=arrays.from_numpy(_recent(start, columns, lengths), like))


def _recent(start: LanguageModelState, columns: Ids, lengths: Ids) -> Ids:
    """The last tokens [n - 1, B] of each text."""
    before = arrays.to_numpy(start.recent)
    texts = np.concatenate([before.repeat(len(lengths), 1), columns])
    places = lengths + np.arange(len(before))[:, None]
    return np.take_along_axis(texts, places, 0)
