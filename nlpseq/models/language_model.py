"""The recurrent language model: embedding, stack, output.

A text is one stream of tokens, and after each token the model predicts the probabilities of the next. Every text starts
after a newline and ends with one; there are no other special tokens. The output layer may share its matrix with the
embedding (Press and Wolf, 2017; Inan et al., 2017). If hidden and embedding size then differ, a projection joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nlpseq import arrays, tasks
from nlpseq.arrays import Array
from nlpseq.cells import Unroll, unroll
from nlpseq.cells.cell import State
from nlpseq.cells.initial import log_frequencies, normal
from nlpseq.models import storage
from nlpseq.models.embedding import embed_for, table_shapes
from nlpseq.models.model_file import Model, load_model, read_options
from nlpseq.models.options import RecurrentOptions, sizes
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
    zero_values,
)
from nlpseq.models.structure import Structure, is_number_in
from nlpseq.options import option
from nlpseq.text.tokenisers import NEWLINE

TASK = tasks.LANGUAGE_MODEL.name

Weights = Mapping[str, Array]


class LanguageModelState(NamedTuple):
    """The state of a language model after the text so far."""

    layers: StackState
    recent: Array  # [n - 1, B], the last token ids; n is 1 without n-grams


@dataclass(frozen=True, kw_only=True)
class LanguageModelOptions(RecurrentOptions):
    """The options of a language model."""

    tied: bool | None = option(None, "share the embedding with the output [default: if the vocabulary is large]")
    ngrams: int | None = option(
        None,
        "longest n-grams with their own vectors; 1: none [default: by vocabulary]",
        minimum=1,
        maximum=8,
    )
    ngram_buckets: int | None = option(
        None, "number of vectors for the n-grams of each length [default: by corpus]", minimum=1, maximum=1 << 22
    )


def weight_shapes(options: LanguageModelOptions, vocabulary_size: int) -> Shapes:
    """The shapes of all weights by name. Raises OptionError if a size is not set."""
    hidden, embedding = sizes(options)
    shapes: Shapes = {"embedding.weight": (vocabulary_size, embedding)}
    shapes |= table_shapes(options.ngrams, options.ngram_buckets, embedding)
    shapes |= stack_shapes(options, "layers", options.layers, embedding)
    if not options.tied:
        shapes["output.weight"] = (vocabulary_size, hidden)
    elif hidden != embedding:
        shapes["output.projection"] = (embedding, hidden)
    return {**shapes, "output.bias": (vocabulary_size,)}


def initial_weights(
    options: LanguageModelOptions, vocabulary_size: int, seed: int, frequencies: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Initial weights by name, as float32. Raises OptionError if a size is not set.

    `frequencies` [V] are the tokens' counts. With them the output's bias starts at the tokens' log-probabilities, so
    no step is spent on learning which tokens are common.
    """
    _, embedding = sizes(options)
    scale = embedding**-0.5 if options.tied else 1.0
    others: dict[str, Draw] = {
        "embedding.weight": lambda generator, *shape: generator.standard_normal(shape) * scale,
        "ngrams.weight": zero_values,
        "output.weight": lambda generator, *shape: 0.5 * normal(generator, *shape),
    }
    shapes = weight_shapes(options, vocabulary_size)
    weights = initial_values(shapes, options, np.random.default_rng(seed), others)
    return weights | {"output.bias": log_frequencies(frequencies, vocabulary_size)}


def begin(weights: Weights, options: LanguageModelOptions, batch: int) -> LanguageModelState:
    """The state before the first token of `batch` texts."""
    layers = start_state(options.recurrent_cell, read_layers(weights, options.layers), batch)
    newlines = arrays.filled(((options.ngrams or 1) - 1, batch), NEWLINE, weights["embedding.weight"])
    return LanguageModelState(layers, newlines)


def forward(
    weights: Weights,
    options: LanguageModelOptions,
    ids: Array,  # [T, B]
    state: LanguageModelState,
    *,
    run_layer: Unroll = unroll,
    noise: Noise | None = None,
    **settings: Any,
) -> tuple[Array, LanguageModelState]:
    """Read tokens: features [T, B, E or H] for `output_layer` after each of them, and the last state."""
    layers = read_layers(weights, options.layers)
    products = getattr(run_layer, "takes_products", True)
    inputs, first = embed_for(weights, layers[0], ids, state.recent, noise, products=products)
    features, after = run_stack(
        options.recurrent_cell,
        [first, *layers[1:]],
        inputs,
        state.layers,
        zoneout=options.zoneout,
        run_layer=run_layer,
        noise=noise,
        **settings,
    )
    if noise is not None:
        features = noise.between(features)
    recent = arrays.concatenate([state.recent, ids], 0)[ids.shape[0] :]
    return output_features(weights, features), LanguageModelState(after, recent)


def output_features(weights: Weights, outputs: Array) -> Array:
    """The output layer's inputs [.., E or H] from the last layer's outputs [.., H]."""
    return arrays.project(outputs, weights["output.projection"]) if "output.projection" in weights else outputs


def output_layer(weights: Weights) -> tuple[Array, Array]:
    """The output's matrix [V, E or H] and bias [V]."""
    return weights.get("output.weight", weights["embedding.weight"]), weights["output.bias"]


def log_probabilities(weights: Weights, features: Array) -> Array:
    """The next token's log-probabilities [.., V], in nats, from features [.., E or H]."""
    return arrays.log_softmax(arrays.project(features, *output_layer(weights)))


def step(
    weights: Weights, options: LanguageModelOptions, ids: Array, state: LanguageModelState
) -> tuple[Array, LanguageModelState]:
    """Read one token of each of B texts, ids [B]: the next token's log-probabilities [B, V], and the state."""
    features, state = forward(weights, options, ids[None], state)
    return log_probabilities(weights, features[0]), state


def flatten_state(state: LanguageModelState) -> dict[str, Array]:
    """A state as named arrays for a file: `recent` [n - 1, B] and LAYER.DIRECTION.FIELD [B, H]."""
    named = {
        f"{layer}.{direction}.{name}": value
        for layer, directions in enumerate(state.layers)
        for direction, own in enumerate(directions)
        for name, value in zip(own._fields, own, strict=True)
    }
    return {"recent": state.recent, **named}


def streams_axis(name: str) -> int:
    """The axis of the texts in an array of `flatten_state`."""
    return 1 if name == "recent" else 0


def restore_state(named: Mapping[str, Array], like: LanguageModelState) -> LanguageModelState:
    """The state from the named arrays of `flatten_state`; `like` is a state of the expected shapes.

    Raises KeyError if an array is missing and ValueError if a shape differs.
    """

    def restore(layer: int, direction: int, old: State) -> State:
        values = [named[f"{layer}.{direction}.{name}"] for name in old._fields]
        for value, expected in zip(values, old, strict=True):
            if value.shape != expected.shape or arrays.type_name(value) != arrays.type_name(expected):
                raise ValueError(f"layer {layer}: {value.dtype} {tuple(value.shape)} for {tuple(expected.shape)}")
        return type(old)(*values)

    if named["recent"].shape != like.recent.shape:
        raise ValueError(f"recent tokens: shape {named['recent'].shape} for {like.recent.shape}")
    layers = tuple(
        tuple(restore(layer, direction, old) for direction, old in enumerate(directions))
        for layer, directions in enumerate(like.layers)
    )
    return LanguageModelState(layers, named["recent"])


def join_states(states: Sequence[LanguageModelState]) -> LanguageModelState:
    """Join the states of several batches to the state of one batch."""
    batch_major = [state._replace(recent=state.recent.T) for state in states]
    joined = map_state(lambda *values: arrays.concatenate(values, 0), *batch_major)
    return joined._replace(recent=joined.recent.T)


def take_texts(state: LanguageModelState, rows: Array | slice) -> LanguageModelState:
    """The state of the texts at `rows` of a batch, indices [N] as int64 or a slice; an index may be repeated."""
    batch_major = state._replace(recent=state.recent.T)
    taken = map_state(lambda values: values[rows], batch_major)
    return taken._replace(recent=taken.recent.T)


def map_state(function: Callable[..., Array], *states: LanguageModelState) -> LanguageModelState:
    """Apply `function` to the corresponding arrays of one or more states."""

    def join(*same: State) -> State:  # the states of one layer in one direction
        return type(same[0])(*(function(*values) for values in zip(*same, strict=True)))

    by_layer = zip(*(state.layers for state in states), strict=True)
    layers = tuple(tuple(map(join, *directions)) for directions in by_layer)
    return LanguageModelState(layers, function(*(state.recent for state in states)))


def token_losses(weights: Weights, features: Array, targets: Array, rows: int = 0) -> np.ndarray:
    """-log p(target) in nats [N] for features [N, E or H], as a NumPy array.

    Only `rows` rows of logits exist at once; 0 chooses their number.
    """
    losses = [arrays.to_numpy(chunk) for chunk in _losses_by_rows(weights, features, targets, rows)]
    return np.concatenate(losses or [np.empty(0, np.float32)])


def losses_on_device(weights: Weights, features: Array, targets: Array, rows: int = 0) -> Array:
    """As `token_losses`, but as an array on the device of the weights."""
    losses = [*_losses_by_rows(weights, features, targets, rows), arrays.zeros((0,), features)]
    return arrays.concatenate(losses, 0)


def _losses_by_rows(weights: Weights, features: Array, targets: Array, rows: int) -> Iterator[Array]:
    rows = rows or max(1, (1 << 22) // weights["output.bias"].shape[0])
    for start in range(0, features.shape[0], rows):
        logits = arrays.project(features[start : start + rows], *output_layer(weights))
        yield arrays.log_sum_exp(logits) - arrays.pick(logits, targets[start : start + rows])


def negative_log_likelihood(weights: Weights, features: Array, targets: Array, rows: int = 0) -> float:
    """The sum of `token_losses`."""
    return float(token_losses(weights, features, targets, rows).sum(dtype=np.float64))


def load(path: Path, precision: str = "fp32", flag: str = "-m") -> tuple[Model, LanguageModelOptions]:
    """A language model from its file or run folder, its matrices rounded to `precision`, a number format of storage.py.

    `flag` is the option that named it. Raises ModelFileError as `load_model` does.
    """
    model = load_model(path, TASK, flag)
    return replace(model, weights=storage.rounded(model.weights, precision)), read_options(model, LanguageModelOptions)


def _check_header(header: Mapping[str, Any]) -> None:
    """Raises ValueError if the header does not say where the validation text starts."""
    facts = header.get("data") or {}
    start = facts.get("train_until", 0 if facts.get("valid_is") != "held out" else None)
    if start is not None and not is_number_in(start, 0, 1 << 62):
        raise ValueError("the fact train_until of its data is no number of characters")
    if start is None and facts.get("valid_is") == "held out":
        raise ValueError("the facts of its data miss train_until")


STRUCTURE = Structure(
    LanguageModelOptions, lambda options, size, header, found: weight_shapes(options, size), check_header=_check_header
)
