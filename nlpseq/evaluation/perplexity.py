"""The loss of a language model over a whole text: the state is carried throughout, and every token is predicted once.

Carrying one state makes the text one long chain, which a processor runs at a fraction of its speed. So the text is cut
into streams that run side by side from a state of zeros. Then the start of each stream is run again from the last state
of the stream before it, until its states agree with those of the first run to `TOLERANCE`; from there on nothing would
change. If a stream never agrees, another round starts from the new last states. The result is that of the one long
chain, and the price is that a few hundred tokens of each stream are run twice. Models that amplify rounding never agree
to the tolerance; their rounds end when the difference is small and no longer falls.

If a large vocabulary makes the output layer far more expensive than the other layers, the states are settled without
the output, and then everything is run once more with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from nlpseq import __version__, arrays
from nlpseq.arrays import Array
from nlpseq.cells import Unroll, unroll
from nlpseq.models import language_model
from nlpseq.models.language_model import LanguageModelOptions, LanguageModelState, Weights, map_state
from nlpseq.text.signature import short_names
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

TOLERANCE = 1e-5  # of states, relative to 1 + their size, because an LSTM's memory can reach a hundred
ROUNDING = 1e-3  # a difference of states below this can be rounding that the model amplifies
BLOCK = 64  # steps between two comparisons of states
STREAMS = 64  # of a text, side by side
DEVICE_STREAMS = 512
DEVICE_LOGITS = 1 << 26  # logits that exist at once on a GPU
SECTION = 1 << 16  # tokens whose features are in memory together
MARKED = 16  # the states after these first blocks are kept; later ones only at powers of two


def signature(tokeniser: Tokeniser, text: str) -> str:
    """The signature of a text's scores: tokeniser, context, name of the text, version."""
    return f"{tokeniser_name(tokeniser)}|context:carried|start:newline|text:{text}|version:{__version__}"


def tokeniser_name(tokeniser: Tokeniser) -> str:
    """The field of a signature that names the tokens."""
    return f"tok:{tokeniser.kind}-{tokeniser.size}#{tokeniser.fingerprint}"


def text_name(facts: Mapping[str, Any]) -> str:
    """The validation text in a signature: the names of its files, which part of them it is, and its hash."""
    suffix = "" if facts["valid_is"] == "given" else f":{facts['valid_is'].replace(' ', '-')}"
    return f"{short_names(facts['valid'])}{suffix}#{facts['valid_sha256'][:8]}"


TotalLoss = Callable[[Array, Array], Any]  # (features [N, E or H], targets [N]) -> nats, a number or a scalar tensor


class Tokens(Protocol):
    """A stream of token ids: an array, or a `TokenStream` on disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice) -> np.ndarray: ...


def text_loss(
    weights: Weights,
    options: LanguageModelOptions,
    tokens: Tokens,
    *,
    streams: int | None = None,
    run_layer: Unroll = unroll,
    total_loss: TotalLoss | None = None,
    exact: bool = True,
    **settings: Any,
) -> float:
    """The loss of a text in nats: the sum of -log p over all its tokens, the first of them after a newline.

    With `exact` off, every stream starts from zeros: quicker, but a little too high. `total_loss` computes the loss of
    features, by default on the device of the weights; a loss on a device is fetched once, at the end. `streams` is by
    default 64, or 512 on a GPU with `exact`.
    """
    embedding = weights["embedding.weight"]
    far = not arrays.is_numpy(embedding) and embedding.device.type != "cpu"
    if far and total_loss is None:
        total_loss = partial(_total_on_device, weights)
    chain = _Chain(weights, options, tokens, run_layer, total_loss, settings)
    streams = streams or (DEVICE_STREAMS if far and exact else STREAMS)
    streams = max(1, min(streams, len(tokens) // (4 * BLOCK)))
    length = len(tokens) // streams
    starts = length * np.arange(streams)
    if exact and streams > 1:
        first = language_model.begin(weights, options, 1)
        losses, ends = _run_settled(chain, starts, length, first, settle_first=_output_dominates(weights))
    else:
        losses, _, ends = chain.run(starts, length, language_model.begin(weights, options, streams))
    rest = len(tokens) - length * streams
    tail = chain.run(np.array([length * streams]), rest, _last_stream(ends))[0] if rest else []
    return float(sum(losses) + sum(tail))


def text_features(
    weights: Weights,
    options: LanguageModelOptions,
    tokens: Tokens,
    *,
    streams: int = STREAMS,
    run_layer: Unroll = unroll,
    section: int | None = None,
) -> Iterator[tuple[Array, np.ndarray]]:
    """The features [N, E or H] from which each token is predicted, and the tokens [N], in the order of the text.

    A text comes in sections of this number of tokens, by default SECTION. The state is carried as in `text_loss`.
    """
    chain = _Chain(weights, options, tokens, run_layer, lambda features, targets: features, {})
    state, section = language_model.begin(weights, options, 1), section or SECTION
    for start in range(0, len(tokens), section):
        stop = min(start + section, len(tokens))
        count = max(1, min(streams, (stop - start) // (4 * BLOCK)))
        length = (stop - start) // count
        starts = start + length * np.arange(count)
        if count > 1:
            blocks, ends = _run_settled(chain, starts, length, state, settle_first=False)
        else:
            blocks, _, ends = chain.run(starts, length, state)
        features, state = [_in_order(blocks, count)], _last_stream(ends)
        if rest := stop - start - length * count:
            tail, _, state = chain.run(np.array([stop - rest]), rest, state)
            features += tail
        yield arrays.concatenate(features, 0), np.asarray(tokens[start:stop], np.int64)


def _in_order(blocks: list[Array], streams: int) -> Array:
    """The rows of successive streams [N, E], from blocks [T * B, E] of all streams side by side."""
    steps = arrays.concatenate([block.reshape(-1, streams, block.shape[-1]) for block in blocks], 0)
    return steps.swapaxes(0, 1).reshape(-1, steps.shape[-1])


def device_losses(weights: Weights, features: Array, targets: Array) -> Array:
    """-log p(target) in nats [N] as float64, from features [N, E or H]; tensors, on the device of the weights."""
    rows = max(1, DEVICE_LOGITS // weights["output.bias"].shape[0])
    return language_model.losses_on_device(weights, features, targets, rows).double()


def _total_on_device(weights: Weights, features: Array, targets: Array) -> Array:
    return device_losses(weights, features, targets).sum()


def _output_dominates(weights: Weights) -> bool:
    """Whether the output layer takes several times the arithmetic of the recurrent layers."""
    layers = sum(math.prod(value.shape) for name, value in weights.items() if name.startswith("layers."))
    return bool(math.prod(language_model.output_layer(weights)[0].shape) > 4 * layers)


class _Chain:
    """A model and a text, which it can read from any position and state."""

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
        starts: np.ndarray,  # [B], positions in the text
        length: int,
        state: LanguageModelState,
        marks: Mapping[int, LanguageModelState] | None = None,
        *,
        silent: bool = False,
    ) -> tuple[list[Any], dict[int, LanguageModelState], Any]:
        """Read `length` tokens from each start: the losses by block, the states after some blocks, and the last state.

        States are kept after the first blocks and then ever more rarely, so their number hardly grows with the text.
        With the `marks` of an earlier run, reading stops at the first block whose states agree with them; the last
        state is then None, because it equals that of the earlier run. With `silent` no losses are computed.
        """
        losses: list[Any] = []
        states: dict[int, LanguageModelState] = {}
        for block, first in enumerate(range(0, length, BLOCK)):
            stop = min(first + BLOCK, length)
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


def _run_settled(
    chain: _Chain, starts: np.ndarray, length: int, first: LanguageModelState, *, settle_first: bool
) -> tuple[list[Any], LanguageModelState]:
    """Run streams, each from the state in which the stream before it ended: the losses by block, and the last state.

    The first stream starts from the state `first` of one text. With `settle_first` the states are settled without the
    losses.
    """
    zeros = language_model.begin(chain.weights, chain.options, len(starts))
    losses, marks, ends = chain.run(starts, length, _shift(zeros, first), silent=settle_first)
    distance = math.inf
    while distance > TOLERANCE:
        again, new_marks, new_ends = chain.run(starts, length, _shift(ends, first), marks, silent=settle_first)
        losses[: len(again)] = again
        marks |= new_marks
        if new_ends is None:
            break
        earlier, distance = distance, _distance(new_ends, ends)
        ends = new_ends
        if earlier / 2 <= distance < ROUNDING:
            break
    if settle_first:
        losses, _, ends = chain.run(starts, length, _shift(ends, first))
    return losses, ends


def _shift(ends: LanguageModelState, first: LanguageModelState) -> LanguageModelState:
    """The initial state of each stream: `first` for the first, else the last state of the stream before it."""

    def shift(end: Array, start: Array) -> Array:
        return arrays.concatenate([start[..., :1, :], end[..., :-1, :]], -2)

    shifted = map_state(shift, _with_last_axis(ends), _with_last_axis(first))
    return shifted._replace(recent=shifted.recent[..., 0])


def _with_last_axis(state: LanguageModelState) -> LanguageModelState:
    """The state with one more axis on `recent`, so that streams are the second to last axis of every array."""
    return state._replace(recent=state.recent[..., None])


def _last_stream(state: LanguageModelState) -> LanguageModelState:
    last = map_state(lambda value: value[..., -1:, :], _with_last_axis(state))
    return last._replace(recent=last.recent[..., 0])


def _distance(state: LanguageModelState, other: LanguageModelState) -> float:
    """The largest difference between two states, relative to 1 + the size of the value."""
    differences = map_state(lambda a, b: abs(a - b) / (1 + abs(a)), state, other)
    largest = [value.max() for layer in differences.layers for difference in layer for value in difference]
    return float(arrays.stack(largest).max())
