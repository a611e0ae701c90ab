"""The translator: a recurrent encoder in both directions, attention, and a recurrent decoder.

The decoder's first layer reads the target so far and makes the attention's queries; the layers above it read its output
and what attention found (as in GNMT, Wu et al., 2016). So every layer runs over a whole target text at once, on the
same kernels as a language model: no layer's input depends on what the layer above made of the token before. The price
is that the attention of one step does not know what that of the step before looked at (input feeding, Luong et al.,
2015), which the recurrent query makes up for in part.

Source and target share one vocabulary and one embedding, which may be the output's matrix too (Press and Wolf, 2017).
A newline ends a source and a target, and begins a target: there are no other special tokens.
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
from nlpseq.errors import OptionError
from nlpseq.models.attention import ATTENTIONS, Memory, attend, remember
from nlpseq.models.model_file import Model, load_model, read_options
from nlpseq.models.options import CELL_CHOICES, RecurrentOptions
from nlpseq.models.stack import Noise, StackState, initial_layer, read_layers, run_stack, start_state
from nlpseq.options import option
from nlpseq.text.padding import side_by_side
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

TASK = tasks.TRANSLATOR.name
LONGEST = 2000  # tokens of a text, for attention holds a number for each pair of them

SIDE_BY_SIDE = 64  # pairs whose losses are made together
ROWS = 256  # whose logits exist at once, where losses are made without a gradient

Weights = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class TranslatorOptions(RecurrentOptions):
    """What a translator is made of."""

    cell: str = option("gru", "recurrent cell", choices=CELL_CHOICES)
    layers: int = option(2, "layers of the decoder; the first makes the attention's queries", minimum=2, maximum=16)
    encoder_layers: int = option(1, "layers of the encoder, each in both directions", minimum=1, maximum=16)
    attention: str = option("dot", "how attention compares", choices=tuple(ATTENTIONS))
    tied: bool = option(True, "share the embedding with the output")


class Source(NamedTuple):
    """What the decoder is given of a source text."""

    memory: Memory
    state: StackState  # that it begins with


def initial_weights(
    options: TranslatorOptions, vocabulary_size: int, seed: int, frequencies: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Weights to start from, as float32, by name; `frequencies` [V] are the target tokens' counts.

    Raises OptionError where a size was left open.
    """
    if options.hidden_size is None or options.embedding_size is None:
        raise OptionError("hidden_size", "must be known before weights are made, was left open")
    generator = np.random.default_rng(seed)
    hidden, embedding, both = options.hidden_size, options.embedding_size, 2 * options.hidden_size
    weights = {"embedding.weight": normal(generator, vocabulary_size, embedding)}

    for layer in range(options.encoder_layers):
        for suffix in ("", "_reverse"):
            weights |= initial_layer(options, f"encoder.{layer}", both if layer else embedding, generator, suffix)
    weights |= {
        "bridge.weight": normal(generator, options.layers * hidden, both),
        "bridge.bias": np.zeros(options.layers * hidden),
    }
    weights |= initial_layer(options, "query.0", embedding, generator)
    weights |= ATTENTIONS[options.attention].initial_weights(generator, hidden, both)
    for layer in range(options.layers - 1):
        weights |= initial_layer(options, f"upper.{layer}", hidden if layer else hidden + both, generator)
    weights |= {
        "readout.weight": normal(generator, embedding, hidden + both + embedding),
        "readout.bias": np.zeros(embedding),
        "output.bias": log_frequencies(frequencies, vocabulary_size),
    }
    if not options.tied:
        weights["output.weight"] = 0.5 * normal(generator, vocabulary_size, embedding)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def line_ids(tokeniser: Tokeniser, text: str) -> np.ndarray:
    """A source or a target as ids [T], with the newline that ends it; one inside it becomes a space."""
    return closed(tokeniser.encode(text.replace("\n", " ")))


def closed(tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """Tokens [T] and the newline that ends them."""
    return np.append(np.asarray(tokens, np.int32), np.int32(NEWLINE))


def begun(targets: np.ndarray) -> np.ndarray:
    """What the decoder reads to say targets [T, B]: a newline, and all but their last tokens."""
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
    """Read source texts, each with its newline. What is behind a text's length is read by nobody."""
    cell, batch = options.recurrent_cell, ids.shape[1]
    layers = read_layers(weights, options.encoder_layers, "encoder")
    outputs, after = run_stack(
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
    last = arrays.concatenate([one.hidden for one in after[-1]])
    bridged = arrays.tanh(arrays.project(last, weights["bridge.weight"], weights["bridge.bias"]))
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
    """Read targets so far, K of them for each source, those of a source side by side.

    Features [T, B * K, E] for `output_layer`, the last state, and the attention's shares [B, T * K, S]. `products` are
    those of the first layer, `query_layer`.
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
    """Contexts [T, B * K, M] of queries [T, B * K, H], and the shares [B, T * K, S]."""
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
    """The matrices that only rows are multiplied with, all but embedding and output."""
    return {name for name, value in weights.items() if value.ndim == 2} - {"embedding.weight", "output.weight"}


def token_losses(
    weights: Weights, options: TranslatorOptions, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """-log p of each token of each target [T], given its source, in nats; both are texts as `line_ids` gives them."""
    losses = [np.empty(0, np.float32)] * len(targets)
    order = sorted(range(len(targets)), key=lambda place: max(len(sources[place]), len(targets[place])))
    for start in range(0, len(order), SIDE_BY_SIDE):
        group = order[start : start + SIDE_BY_SIDE]
        memory, state = encode(weights, options, *side_by_side([sources[place] for place in group]))
        columns, _ = side_by_side([targets[place] for place in group])
        features, _, _ = decode(weights, options, begun(columns), memory, state)
        for column, place in enumerate(group):
            losses[place] = _target_losses(weights, features[:, column], targets[place])
    return losses


def _target_losses(weights: Weights, features: Array, target: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(target), ROWS):
        part = slice(start, min(start + ROWS, len(target)))
        logits = arrays.project(features[part], *output_layer(weights))
        parts.append(arrays.log_sum_exp(logits) - arrays.pick(logits, target[part]))
    return np.concatenate(parts)


def load(path: Path) -> tuple[Model, TranslatorOptions]:
    """A translator from its file or run folder. Raises ModelFileError as `load_model` does."""
    model = load_model(path, TASK)
    return model, read_options(model, TranslatorOptions)
