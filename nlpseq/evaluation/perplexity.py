"""A language model over a whole text: the state carried from first to last, every token predicted once.

Carrying one state makes the text one long chain, which a processor runs at a fraction of its speed. So the text is
cut into columns that run side by side from a state of zeros, and then each column's beginning is run again from the
state that the column before it ended in, until the states agree with those of the first run to `TOLERANCE`: from
there on nothing would change. If a column never agrees, the next round starts from its new end. The result is that of
the one long chain, at the price of running a few hundred tokens a column twice. Where a large vocabulary makes the
output far dearer than the layers, the states are settled first, without it, and then all is run once more with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from nlpseq import __version__, arrays
from nlpseq.arrays import Array
from nlpseq.cells import Unroll, unroll
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights, map_state
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

TOLERANCE = 1e-6  # between states, relative to one more than their size: an LSTM's memory can reach a hundred
BLOCK = 64  # steps between two looks at the states
COLUMNS = 64  # of a text, side by side
DEVICE_COLUMNS = 512
DEVICE_LOGITS = 1 << 26  # that exist at once on a GPU
MARKED = 16  # blocks whose states are all kept; after them, those at powers of two


def signature(tokeniser: Tokeniser, part: str) -> str:
    """How the scores of a text are made: tokeniser, context, text, version."""
    tokens = f"tok:{tokeniser.kind}-{tokeniser.size}#{tokeniser.fingerprint}"
    return f"{tokens}|context:carried|start:newline|text:{part}|version:{__version__}"


def part_name(facts: Mapping[str, Any]) -> str:
    """The validation part of a corpus in a signature: its names, what part of them it is, and the corpus's hash."""
    names = "+".join(name.rsplit("/", 1)[-1] for name in facts["valid"])
    part = "" if facts["valid_is"] == "given" else f":{facts['valid_is'].replace(' ', '-')}"
    return f"{names}{part}#{facts['valid_sha256'][:8]}"


TotalLoss = Callable[[Array, Array], Any]  # features [N, E or H], targets [N]: nats, a number or a tensor of one


class Tokens(Protocol):
    """A stream of token ids: an array, or a `TokenStream` on disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice) -> np.ndarray: ...


def text_loss(
    weights: Weights,
    options: LanguageModelOptions,
    tokens: Tokens,
    *,
    columns: int | None = None,
    run_layer: Unroll = unroll,
    total_loss: TotalLoss | None = None,
    exact: bool = True,
    **settings: Any,
) -> float:
    """What a text costs in nats: the sum of -log p over all its tokens, the first one after a newline.

    With `exact` off, columns keep the state of zeros that they started from: quicker, and a little too high. What
    features cost is found by `total_loss`, by default where the weights are; a loss that stays on a device is fetched
    once, at the end. There are 64 columns unless another number is given, on a GPU more if their states are settled.
    """
    embedding = weights["embedding.weight"]
    far = not arrays.is_numpy(embedding) and embedding.device.type != "cpu"
    if far and total_loss is None:
        total_loss = partial(_total_on_device, weights)
    columns = columns or (DEVICE_COLUMNS if far and exact else COLUMNS)
    chain = _Chain(weights, options, tokens, run_layer, total_loss, settings)
    columns = max(1, min(columns, len(tokens) // (4 * BLOCK)))
    height = len(tokens) // columns
    starts = height * np.arange(columns)
    begun = language_model.begin(weights, options, columns)
    settle_first = exact and columns > 1 and _output_is_dear(weights)
    losses, marks, ends = chain.run(starts, height, begun, silent=settle_first)
    while exact and columns > 1:
        shifted = _shift(ends, begun)
        again, new_marks, new_ends = chain.run(starts, height, shifted, marks, silent=settle_first)
        losses[: len(again)] = again
        marks |= new_marks
        if new_ends is None:
            break
        if _distance(new_ends, ends) <= TOLERANCE:
            break
        ends = new_ends
    if settle_first:
        losses, _, ends = chain.run(starts, height, _shift(ends, begun))
    rest = len(tokens) - height * columns
    last = _last_column(ends)
    tail = chain.run(np.array([height * columns]), rest, last)[0] if rest else []
    return float(sum(losses) + sum(tail))


def device_losses(weights: Weights, features: Array, targets: Array) -> Array:
    """-log p(target) in nats [N] as float64, of features [N, E or H], by weights that are tensors; they stay there."""
    rows = max(1, DEVICE_LOGITS // weights["output.bias"].shape[0])
    return language_model.placed_losses(weights, features, targets, rows).double()


def _total_on_device(weights: Weights, features: Array, targets: Array) -> Array:
    return device_losses(weights, features, targets).sum()


def _output_is_dear(weights: Weights) -> bool:
    """Whether a token's output takes several times the arithmetic of its layers."""
    layers = sum(math.prod(value.shape) for name, value in weights.items() if name.startswith("layers."))
    return bool(math.prod(language_model.output_layer(weights)[0].shape) > 4 * layers)


class _Chain:
    """A text and a model, run from any place and state."""

    def __init__(
        self,
        weights: Weights,
        options: LanguageModelOptions,
        tokens: Tokens,
        run_layer: Unroll,
        total_loss: TotalLoss | None,
        settings: dict[str, Any],
    ) -> None:
        self.weights = weights
        self.options = options
        self.tokens = tokens
        self.run_layer = run_layer
        self.total_loss = total_loss or partial(language_model.negative_log_likelihood, weights)
        self.settings = settings

    def run(
        self,
        starts: np.ndarray,
        height: int,
        state: LanguageModelState,
        marks: Mapping[int, LanguageModelState] | None = None,
        *,
        silent: bool = False,
    ) -> tuple[list[Any], dict[int, LanguageModelState], Any]:
        """Run `height` tokens from each start: losses by block, states after some blocks, and the last state.

        States are kept of the first blocks and then ever more rarely, so that they do not grow with the text. With the
        `marks` of an earlier run it stops at the first block whose states agree with them; the last state is then None,
        since it is the earlier one. With `silent` there are states only, and no losses.
        """
        losses: list[Any] = []
        states: dict[int, LanguageModelState] = {}
        for block, first in enumerate(range(0, height, BLOCK)):
            stop = min(first + BLOCK, height)
            ids, targets = self._block(starts, first, stop)
            features, state = language_model.forward(
                self.weights, self.options, ids, state, run_layer=self.run_layer, **self.settings
            )
            if not silent:
                flat = features.reshape(-1, features.shape[-1])
                losses.append(self.total_loss(flat, targets.reshape(-1)))
            if block >= MARKED and block & (block - 1):
                continue
            states[block] = state
            if marks is not None and _distance(state, marks[block]) <= TOLERANCE:
                return losses, states, None
        return losses, states, state

    def _block(self, starts: np.ndarray, first: int, stop: int) -> tuple[Array, Array]:
        like = self.weights["embedding.weight"]
        rows = [self._with_previous(start + first, start + stop) for start in starts]
        block = arrays.from_numpy(np.stack(rows, 1).astype(np.int64), like)
        return block[:-1], block[1:]

    def _with_previous(self, start: int, stop: int) -> np.ndarray:
        if start == 0:
            return np.concatenate([[NEWLINE], self.tokens[0:stop]])
        return self.tokens[start - 1 : stop]


def _shift(ends: LanguageModelState, begun: LanguageModelState) -> LanguageModelState:
    """Each column's start: the end of the one before it."""

    def shift(end: Array, start: Array) -> Array:
        return arrays.concatenate([start[..., :1, :], end[..., :-1, :]], -2)

    moved = map_state(shift, _rows(ends), _rows(begun))
    return moved._replace(recent=moved.recent[..., 0])


def _rows(state: LanguageModelState) -> LanguageModelState:
    """The state with a last axis on `recent`, so that columns are the second to last axis everywhere."""
    return state._replace(recent=state.recent[..., None])


def _last_column(state: LanguageModelState) -> LanguageModelState:
    last = map_state(lambda value: value[..., -1:, :], _rows(state))
    return last._replace(recent=last.recent[..., 0])


def _distance(one: LanguageModelState, other: LanguageModelState) -> float:
    """The largest difference between any two values of two states, relative to one more than the value."""
    differences = map_state(lambda a, b: abs(a - b) / (1 + abs(a)), one, other)
    largest = [value.max() for layer in differences.layers for state in layer for value in state]
    return float(arrays.stack(largest).max())
