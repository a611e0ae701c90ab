"""The translator: a recurrent encoder in both directions, attention, and a recurrent decoder.

The decoder's first layer reads the target so far and outputs the attention's queries. The layers above it read its
output and the attention's context (as in GNMT, Wu et al., 2016). No layer's input depends on a layer above it, so every
layer runs over a whole target text at once, on the same kernels as a language model. The price is that there is no
input feeding (Luong et al., 2015): the attention of a step does not see the context of the step before. The recurrent
query makes up for part of that.

Source and target share one vocabulary and one embedding, which may also be the output's matrix (Press and Wolf, 2017).
A newline ends each source and each target, and the decoder starts from one; there are no other special tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nlpseq import arrays, tasks
from nlpseq.arrays import Array
from nlpseq.cells import LayerWeights, Unroll, unroll
from nlpseq.cells.initial import log_frequencies, normal
from nlpseq.cells.unroll import zero_state
from nlpseq.models.attention import ATTENTIONS, Memory, attend, remember
from nlpseq.models.model_file import Model, load_model, read_options
from nlpseq.models.options import CELL_CHOICES, RecurrentOptions, sizes
from nlpseq.models.stack import (
    Draw,
    Noise,
    Shapes,
    StackState,
    initial_values,
    read_layers,
    run_stack,
    stack_shapes,
    start_state,
)
from nlpseq.models.structure import Structure, check_corpus
from nlpseq.options import option
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

TASK = tasks.TRANSLATOR.name
LONGEST = 2000  # tokens of a text; attention holds one number for each pair of source and target tokens

SIDE_BY_SIDE = 64  # pairs whose losses are computed together

Weights = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class TranslatorOptions(RecurrentOptions):
    """The options of a translator."""

    cell: str = option("gru", "recurrent cell", choices=CELL_CHOICES)
    hidden_size: int | None = option(256, "units in each layer", minimum=1, usual=True)
    embedding_size: int | None = option(
        None, "size of a token's vector [default: --hidden-size, at most 256]", minimum=1
    )
    layers: int = option(2, "layers of the decoder; the first outputs the attention's queries", minimum=2, maximum=16)
    encoder_layers: int = option(1, "layers of the encoder, each in both directions", minimum=1, maximum=16)
    attention: str = option("dot", "kind of attention", choices=tuple(ATTENTIONS))
    tied: bool = option(True, "share the embedding with the output")


class Source(NamedTuple):
    """An encoded source text."""

    memory: Memory  # for the attention
    state: StackState  # the initial state of the decoder


def weight_shapes(options: TranslatorOptions, vocabulary_size: int) -> Shapes:
    """The shapes of all weights by name. Raises OptionError if a size is not set."""
    hidden, embedding = sizes(options)
    both = 2 * hidden
    shapes: Shapes = {"embedding.weight": (vocabulary_size, embedding)}
    shapes |= stack_shapes(options, "encoder", options.encoder_layers, embedding, bidirectional=True)
    shapes |= {"bridge.weight": (options.layers * hidden, both), "bridge.bias": (options.layers * hidden,)}
    shapes |= stack_shapes(options, "query", 1, embedding)
    shapes |= ATTENTIONS[options.attention].shapes(hidden, both)
    shapes |= stack_shapes(options, "upper", options.layers - 1, hidden + both)
    shapes |= {"readout.weight": (embedding, hidden + both + embedding), "readout.bias": (embedding,)}
    shapes["output.bias"] = (vocabulary_size,)
    return shapes if options.tied else {**shapes, "output.weight": (vocabulary_size, embedding)}


def initial_weights(
    options: TranslatorOptions, vocabulary_size: int, seed: int, frequencies: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Initial weights by name, as float32; `frequencies` [V] are the target tokens' counts.

    Raises OptionError if a size is not set.
    """
    others: dict[str, Draw] = {"output.weight": lambda generator, *shape: 0.5 * normal(generator, *shape)}
    shapes = weight_shapes(options, vocabulary_size)
    weights = initial_values(shapes, options, np.random.default_rng(seed), others)
    return weights | {"output.bias": log_frequencies(frequencies, vocabulary_size)}


def line_ids(tokeniser: Tokeniser, text: str) -> np.ndarray:
    """A source or a target as ids [T], ended by a newline; a newline inside the text becomes a space."""
    return end_with_newline(tokeniser.encode(text.replace("\n", " ")))


def end_with_newline(tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """Tokens [T] and a newline after them [T + 1]."""
    return np.append(np.asarray(tokens, np.int32), np.int32(NEWLINE))


def decoder_inputs(targets: np.ndarray) -> np.ndarray:
    """The inputs [T, B] from which the decoder predicts targets [T, B]: a newline, then all targets but the last."""
    return np.concatenate([np.full((1, targets.shape[1]), NEWLINE, np.int64), targets[:-1]])


def encode(
    weights: Weights,
    options: TranslatorOptions,
    ids: Array,  # [S, B]
    lengths: Array,  # [B]
    *,
    run_layer: Unroll = unroll,
    noise: Noise | None = None,
    **settings: Any,
) -> Source:
    """Read source texts, each ended by its newline. Ids beyond a text's length are ignored."""
    cell, batch = options.recurrent_cell, ids.shape[1]
    layers = read_layers(weights, options.encoder_layers, "encoder")
    outputs, last = run_stack(
        cell,
        layers,
        _embed(weights, ids, noise),
        start_state(cell, layers, batch),
        lengths,
        zoneout=options.zoneout,
        run_layer=run_layer,
        noise=noise,
        **settings,
    )
    if noise is not None:
        outputs = noise.between(outputs)
    hidden = arrays.concatenate([state.hidden for state in last[-1]])
    bridged = arrays.tanh(arrays.project(hidden, weights["bridge.weight"], weights["bridge.bias"]))
    size = bridged.shape[1] // options.layers
    state = tuple(
        (zero_state(cell, batch, size, bridged)._replace(hidden=bridged[:, layer * size : (layer + 1) * size]),)
        for layer in range(options.layers)
    )
    return Source(remember(weights, outputs.swapaxes(0, 1), lengths), state)


def decode(
    weights: Weights,
    options: TranslatorOptions,
    ids: Array,  # [T, B * K]
    memory: Memory,  # of B sources
    state: StackState,
    *,
    run_layer: Unroll = unroll,
    noise: Noise | None = None,
    products: Callable[[Array], Array] | None = None,
    **settings: Any,
) -> tuple[Array, StackState, Array]:
    """Read K targets for each of B sources; the targets of one source are adjacent.

    Returns features [T, B * K, E] for `output_layer`, the last state, and attention weights [B, T * K, S]. `products`
    returns the input products of the first layer, `query_layer`, for ids; without it they are computed.
    """
    cell = options.recurrent_cell
    common: dict[str, Any] = {"zoneout": options.zoneout, "run_layer": run_layer, "noise": noise, **settings}
    embedded = _embed(weights, ids, noise)
    query, read = query_layer(weights), embedded
    if products is not None:
        query, read = query._replace(weight_ih=None), products(ids)
    queries, first = run_stack(cell, [[query]], read, state[:1], **common)
    if noise is not None:
        queries = noise.between(queries)
    context, shares = _look(weights, options, queries, memory)
    upper = read_layers(weights, options.layers - 1, "upper")
    inputs = arrays.concatenate([queries, context])
    outputs, rest = run_stack(cell, upper, inputs, state[1:], **common)
    if noise is not None:
        outputs = noise.between(outputs)
    read = arrays.concatenate([outputs, context, embedded])
    features = arrays.tanh(arrays.project(read, weights["readout.weight"], weights["readout.bias"]))
    return features if noise is None else noise.between(features), (*first, *rest), shares


def query_layer(weights: Weights) -> LayerWeights:
    """The decoder's first layer."""
    return read_layers(weights, 1, "query")[0][0]


def _embed(weights: Weights, ids: Array, noise: Noise | None) -> Array:
    embedded = arrays.embed(weights["embedding.weight"], ids)
    return noise.inputs(embedded, ids) if noise is not None and noise.drops_inputs else embedded


def _look(weights: Weights, options: TranslatorOptions, queries: Array, memory: Memory) -> tuple[Array, Array]:
    """Contexts [T, B * K, M] and attention weights [B, T * K, S] of queries [T, B * K, H]."""
    steps, rows, size = queries.shape
    batch = memory.values.shape[0]
    grouped = queries.reshape(steps, batch, -1, size).swapaxes(0, 1).reshape(batch, -1, size)
    context, shares = attend(options.attention, weights, grouped, memory)
    context = context.reshape(batch, steps, rows // batch, -1).swapaxes(0, 1).reshape(steps, rows, -1)
    return context, shares


def output_layer(weights: Weights) -> tuple[Array, Array]:
    """The output's matrix [V, E] and bias [V]."""
    return weights.get("output.weight", weights["embedding.weight"]), weights["output.bias"]


def projections(weights: Weights) -> set[str]:
    """The names of the matrices that multiply batches of rows: all but the embedding and the output."""
    return {name for name, value in weights.items() if value.ndim == 2} - {"embedding.weight", "output.weight"}


def load(path: Path) -> tuple[Model, TranslatorOptions]:
    """A translator from its file or run folder. Raises ModelFileError as `load_model` does."""
    model = load_model(path, TASK)
    return model, read_options(model, TranslatorOptions)


STRUCTURE = Structure(
    TranslatorOptions, lambda options, size, header, found: weight_shapes(options, size), check_header=check_corpus
)
