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
from nlpseq.cells.initial import log_frequencies, normal
from nlpseq.errors import ModelFileError, OptionError
from nlpseq.models import pooling
from nlpseq.models.embedding import MOST_BUCKETS, embed_tokens
from nlpseq.models.evidence import look_up
from nlpseq.models.model_file import Model, load_model, read_options
from nlpseq.models.options import CELL_CHOICES, RecurrentOptions
from nlpseq.models.pooling import POOLINGS, Outputs
from nlpseq.models.stack import Noise, initial_layer, read_layers, run_stack, start_state
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


def initial_weights(
    options: ClassifierOptions, vocabulary_size: int, label_counts: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Initial weights by name, as float32; `label_counts` [C] are the numbers of texts with each label.

    Raises OptionError if a size is not set.
    """
    if options.hidden_size is None or options.embedding_size is None:
        raise OptionError("hidden_size", "must be set before weights are made, was None")
    generator = np.random.default_rng(seed)
    hidden, embedding = options.hidden_size, options.embedding_size
    outputs = 2 * hidden if options.bidirectional else hidden
    weights = {"embedding.weight": normal(generator, vocabulary_size, embedding)}
    if (options.ngrams or 1) > 1:
        rows = (options.ngrams - 1) * (options.ngram_buckets or MOST_BUCKETS)  # type: ignore[operator]
        weights["ngrams.weight"] = np.zeros((rows, embedding))
    for layer in range(options.layers):
        for suffix in ("", "_reverse") if options.bidirectional else ("",):
            weights |= initial_layer(options, f"layers.{layer}", outputs if layer else embedding, generator, suffix)
    weights |= pooling.initial_weights(generator, options.poolings, outputs)
    evidence = (options.evidence or 0) * len(label_counts)
    if evidence:
        weights["evidence.projection"] = normal(generator, embedding, evidence)
    weights["output.weight"] = normal(generator, len(label_counts), outputs * len(options.poolings) + evidence)
    weights["output.bias"] = log_frequencies(label_counts, len(label_counts))
    return {name: value.astype(np.float32) for name, value in weights.items()}


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
    summed = None if evidence is None else evidence.sum(0) / lengths[:, None] ** 0.5
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
    if not isinstance(model.header.get("labels"), list):
        raise ModelFileError(model.name, "is a classifier without labels", "train it again, or copy it again")
    return model, read_options(model, ClassifierOptions)
