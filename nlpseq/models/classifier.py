"""The classifier: embedding, recurrent stack in both directions, pooling, and one linear layer over the labels.

That is the network; a linear model of the text's n-grams stands beside it, and their logits are added (`linear.py`).

A text is read between two newlines, as a language model reads a line. So a language model's embedding and layers can be
used unchanged (Dai and Le, 2015); such a classifier reads forwards only.

The outputs of the layers are kept until they are pooled. So memory grows with the number of tokens in a batch, which
the caller chooses, and not with the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import arrays, tasks
from nlpseq.arrays import Array
from nlpseq.cells import Unroll, unroll
from nlpseq.cells.initial import log_frequencies
from nlpseq.errors import OptionError
from nlpseq.models import linear, pooling
from nlpseq.models.embedding import embed_tokens, table_shapes
from nlpseq.models.evidence import look_up, table_rows
from nlpseq.models.linear import KEYS
from nlpseq.models.model_file import Model, load_model, read_options
from nlpseq.models.options import CELL_CHOICES, RecurrentOptions, sizes
from nlpseq.models.pooling import POOLINGS, Outputs
from nlpseq.models.stack import (
    Noise,
    Shapes,
    initial_values,
    read_layers,
    run_stack,
    stack_shapes,
    start_state,
    zero_values,
)
from nlpseq.models.structure import Structure, check_corpus, check_labels
from nlpseq.models.text_ngrams import KINDS
from nlpseq.options import option
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

TASK = tasks.CLASSIFIER.name
USUAL_POOLING = "max,mean"
MOST_EVIDENCE_LABELS = 16  # with more labels, weights of evidence are not used by default
PRETRAINED_POOLING = "attention,max,mean,last"  # of layers that start from a language model

Weights = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(RecurrentOptions):
    """The options of a classifier."""

    cell: str = option("gru", "recurrent cell", choices=CELL_CHOICES)
    hidden_size: int | None = option(64, "units in each layer", minimum=1, usual=True)
    embedding_size: int | None = option(128, "size of a token's vector", minimum=1)
    bidirectional: bool | None = option(
        None, "read in both directions [default: yes, unless it starts from a language model]"
    )
    pooling: str | None = option(
        None,
        f"pooling of the outputs: {', '.join(POOLINGS)}, or several with commas "
        f"[default: {USUAL_POOLING}; from a language model {PRETRAINED_POOLING}]",
    )
    ngrams: int | None = option(
        None,
        "longest n-grams with their own vectors; 1: none [default: 2, or as in the model to start from]",
        minimum=1,
        maximum=8,
    )
    ngram_buckets: int | None = option(
        None, "number of vectors for the n-grams of each length [default: by corpus]", minimum=1, maximum=1 << 22
    )
    evidence: int | None = option(
        None,
        "longest n-grams whose weight for each label, counted before training, is an input; 0: none "
        f"[default: 2; 0 for more than {MOST_EVIDENCE_LABELS} labels, or from a language model]",
        minimum=0,
        maximum=4,
    )
    linear: str | None = option(
        None,
        "n-grams of the linear model beside the network: none, words, parts (of words, too) or characters "
        "[default: parts; characters without spaces]",
        choices=("none", *KINDS),
    )
    lowercase: bool | None = option(
        None, "convert texts to lower case [default: yes, unless the model to start from knows capital letters]"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.poolings:
            if name not in POOLINGS:
                raise OptionError(
                    "pooling",
                    f"must be of {', '.join(POOLINGS)}, with commas between several, was {self.pooling!r}",
                    "--pooling max,mean",
                )
        if len(set(self.poolings)) < len(self.poolings):
            raise OptionError("pooling", f"names one twice: {self.pooling}", "--pooling max,mean")

    @property
    def poolings(self) -> tuple[str, ...]:
        """The names in `pooling`, or the default."""
        return tuple((USUAL_POOLING if self.pooling is None else self.pooling).split(","))


def network_shapes(options: ClassifierOptions, vocabulary_size: int, labels: int) -> Shapes:
    """The shapes of the network's weights by name. Raises OptionError if a size is not set."""
    hidden, embedding = sizes(options)
    outputs = 2 * hidden if options.bidirectional else hidden
    evidence = (options.evidence or 0) * labels
    shapes: Shapes = {"embedding.weight": (vocabulary_size, embedding)}
    shapes |= table_shapes(options.ngrams, options.ngram_buckets, embedding)
    shapes |= stack_shapes(options, "layers", options.layers, embedding, bidirectional=bool(options.bidirectional))
    shapes |= pooling.weight_shapes(options.poolings, outputs)
    if evidence:
        shapes["evidence.projection"] = (embedding, evidence)
    shapes["output.weight"] = (labels, outputs * len(options.poolings) + evidence)
    return {**shapes, "output.bias": (labels,)}


def initial_weights(
    options: ClassifierOptions, vocabulary_size: int, label_counts: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Initial weights by name, as float32; `label_counts` [C] are the numbers of texts with each label.

    Raises OptionError if a size is not set.
    """
    shapes = network_shapes(options, vocabulary_size, len(label_counts))
    weights = initial_values(shapes, options, np.random.default_rng(seed), {"ngrams.weight": zero_values})
    return weights | {"output.bias": log_frequencies(label_counts, len(label_counts))}


def text_ids(tokeniser: Tokeniser, text: str, *, lowercase: bool) -> np.ndarray:
    """A text as ids [T], between two newlines; a newline inside the text becomes a space."""
    plain = text.replace("\n", " ")
    tokens = tokeniser.encode(plain.lower() if lowercase else plain)
    return np.concatenate(([NEWLINE], tokens, [NEWLINE]), dtype=np.int32)


def read(
    weights: Weights,
    options: ClassifierOptions,
    ids: Array,  # [T, B]
    lengths: Array,  # [B]
    *,
    run_layer: Unroll = unroll,
    noise: Noise | None = None,
    shift: Array | None = None,  # [T, B, E]
    evidence: Array | None = None,  # [T, B, K]
    **settings: Any,
) -> Outputs:
    """Run the layers over texts; `shift` is added to the tokens' vectors.

    Without `evidence` the weights of evidence are looked up in the model's table, if it has one.
    """
    cell, batch = options.recurrent_cell, ids.shape[1]
    newlines = arrays.filled(((options.ngrams or 1) - 1, batch), NEWLINE, ids)
    inputs = embed_tokens(weights, ids, newlines, noise)
    if evidence is None and "evidence.table" in weights:
        evidence = look_up(weights["evidence.table"], ids, weights["embedding.weight"].shape[0])
    if evidence is not None:
        evidence = evidence * arrays.active_steps(lengths, ids.shape[0])[..., None]
        inputs = inputs + arrays.project(evidence, weights["evidence.projection"])
    layers = read_layers(weights, options.layers)
    steps, last = run_stack(
        cell,
        layers,
        inputs if shift is None else inputs + shift,
        start_state(cell, layers, batch),
        lengths,
        zoneout=options.zoneout,
        run_layer=run_layer,
        noise=noise,
        **settings,
    )
    summed = None if evidence is None else arrays.sum_in_order(evidence) / lengths[:, None] ** 0.5
    return Outputs(steps, arrays.concatenate([state.hidden for state in last[-1]]), lengths, summed)


def logits(weights: Weights, options: ClassifierOptions, outputs: Outputs, noise: Noise | None = None) -> Array:
    """Unnormalised log-probabilities [B, C] of the labels."""
    pooled = pooling.pool(weights, options.poolings, outputs)
    if noise is not None:
        pooled = noise.between(pooled[None])[0]
    return arrays.project(pooled, weights["output.weight"], weights["output.bias"])


def projections(weights: Weights) -> set[str]:
    """The names of the matrices that multiply batches of rows: neither tables nor recurrent weights."""
    tables = {"embedding.weight", "ngrams.weight", "evidence.table"}
    return {name for name, value in weights.items() if value.ndim == 2 and ".weight_hh" not in name} - tables


def load(path: Path) -> tuple[Model, ClassifierOptions]:
    """A classifier from its file or run folder. Raises ModelFileError as `load_model` does."""
    model = load_model(path, TASK)
    return model, read_options(model, ClassifierOptions)


def stored_shapes(options: ClassifierOptions, vocabulary_size: int, header: Mapping[str, Any], found: Shapes) -> Shapes:
    """The shapes of all that a model file holds: the network, the weights of evidence and the linear model.

    The linear model has as many n-grams as are found. Raises OptionError if a size is not set.
    """
    labels = len(header["labels"])
    shapes = network_shapes(options, vocabulary_size, labels)
    if options.evidence:
        shapes["evidence.table"] = (table_rows(options.evidence, vocabulary_size), labels)
    if options.linear not in (None, "none"):
        ngrams = next(iter(found.get(KEYS, ())), 0)
        shapes |= linear.weight_shapes(ngrams, labels, several=bool(header.get("several_labels")))
    return shapes


def _check_header(header: Mapping[str, Any]) -> None:
    """Raises ValueError for labels that cannot be, and columns that no reader of labelled texts has."""
    check_labels(header)
    check_corpus(header)
    facts = header.get("data") or {}
    columns = facts.get("columns") or []
    if ("valid_is" in facts and "columns" not in facts) or (columns and not 2 <= len(columns) <= 3):
        raise ValueError("the fact columns of its data is no list of columns")


STRUCTURE = Structure(ClassifierOptions, stored_shapes, {KEYS: "uint32"}, _check_header, linear.check_keys)
