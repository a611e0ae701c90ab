"""The embedding: tokens to the input vectors of the recurrent layers.

The vectors of the n-grams that end in a token may be added to its own vector. N-grams are hashed into a table (as in
fastText, Bojanowski et al., 2017, but over tokens). A recurrent layer needs many batches to learn what the last few
tokens mean together, and a table does not: on one megabyte of characters it lowered a language model's loss after 1.2
million characters from 1.59 to 1.52. The cost is the table in the model file, and a state that also holds the last few
tokens.

Without n-grams, the first layer's input product depends on the token alone. If the vocabulary is smaller than the
batch, it is computed once for each token of the vocabulary and looked up, which saves up to half of a small model's
arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells import LayerWeights
from nlpseq.cells.unroll import project_inputs
from nlpseq.models.stack import Layer, Noise

LEAST_BUCKETS, MOST_BUCKETS = 224, 16384  # of the n-grams of each length, unless an option says otherwise
TOKENS_PER_BUCKET = 45  # of the training text
SHORT_TEXT = 30_000  # tokens; n-grams have up to 4 tokens in a shorter training text, else up to 5
KEPT_BYTES = 1 << 27  # most memory for the products of all tokens

Weights = Mapping[str, Array]


def embed_for(
    weights: Weights, first: Layer, ids: Array, recent: Array, noise: Noise | None, *, products: bool
) -> tuple[Array, Layer]:
    """The first layer's inputs, or its input product if that is cheaper, and the first layer's weights for them."""
    embedding = weights["embedding.weight"]
    small = embedding.shape[0] <= ids.shape[0] * ids.shape[1] and "ngrams.weight" not in weights
    noisy = noise is not None and noise.drops_inputs
    if products and small and not noisy:
        product = arrays.embed(project_inputs(first[0], embedding), ids)
        return product, [first[0]._replace(weight_ih=None)]
    return embed_tokens(weights, ids, recent, noise), first


class TokenProducts:
    """The first layer's input products of single tokens, in NumPy, each computed when its token is first read."""

    def __init__(self, embedding: np.ndarray, layer: LayerWeights) -> None:
        self._embedding = embedding
        self._layer = layer
        self._known: set[int] = set()
        self.rows = np.empty((len(embedding), layer.width), embedding.dtype)  # takes memory only as rows are filled

    @classmethod
    def of(cls, embedding: np.ndarray, layer: LayerWeights) -> TokenProducts | None:
        """The products, or None if all of them would take more than KEPT_BYTES."""
        return cls(embedding, layer) if 4 * len(embedding) * layer.width <= KEPT_BYTES else None

    def make(self, tokens: Sequence[int]) -> None:
        """Compute the missing rows of these tokens in `rows` [V, G*H], biases included."""
        if not self._known.issuperset(tokens):
            missing = sorted(set(tokens) - self._known)
            self.rows[missing] = project_inputs(self._layer, self._embedding.take(missing, 0))
            self._known.update(missing)

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """Products [.., G*H] of ids [..]."""
        self.make(ids.ravel().tolist())
        rows: np.ndarray = self.rows[ids]
        return rows


def embed_tokens(weights: Weights, ids: Array, recent: Array, noise: Noise | None = None) -> Array:
    """The vectors [T, B, E] of tokens [T, B]; `recent` [n - 1, B] are the tokens before them."""
    inputs = arrays.embed(weights["embedding.weight"], ids)
    if "ngrams.weight" in weights:
        inputs = inputs + _embed_ngrams(weights["ngrams.weight"], ids, recent, noise)
    return noise.inputs(inputs, ids) if noise is not None and noise.drops_inputs else inputs


def _embed_ngrams(table: Array, ids: Array, recent: Array, noise: Noise | None) -> Array:
    """The summed vectors [T, B, E] of the n-grams of 2, 3, .. tokens that end in each of `ids` [T, B].

    `recent` [n - 1, B] are the tokens before them.
    """
    orders, steps = recent.shape[0], ids.shape[0]
    tokens = arrays.concatenate([recent, ids], 0)
    backwards = [tokens[orders - order : orders - order + steps] for order in range(orders + 1)]
    rows = arrays.stack(ngram_rows(backwards, table.shape[0] // orders))
    return arrays.embed_sum(table, rows, None if noise is None else noise.ngrams(table, rows.shape))


def table_shapes(ngrams: int | None, buckets: int | None, embedding: int) -> dict[str, tuple[int, ...]]:
    """The shape of the table of n-grams of up to `ngrams` tokens; nothing without n-grams."""
    orders = (ngrams or 1) - 1
    return {"ngrams.weight": (orders * (buckets or MOST_BUCKETS), embedding)} if orders else {}


def suited_ngrams(tokens: int) -> tuple[int, int]:
    """The longest n-grams for a training text of this many tokens, and the number of buckets for each length.

    The table grows with the text, up to a text of a megabyte: benchmarks/ has what that costs and saves.
    """
    buckets = min(MOST_BUCKETS, max(LEAST_BUCKETS, tokens // TOKENS_PER_BUCKET))
    return 4 if tokens < SHORT_TEXT else 5, buckets


def ngram_rows(backwards: Sequence[Any], buckets: int) -> list[Any]:
    """Table rows of the n-grams of 2, 3, .. tokens that end in `backwards[0]`; `backwards` is the tokens, last first.

    Tokens are numbers, or arrays of one shape. The row of an n-gram is a multiplicative hash of its tokens.
    """
    hashed, rows = backwards[0], []
    for order, earlier in enumerate(backwards[1:], 1):
        hashed = (hashed * 1_000_003 + earlier + order) % 2_147_483_647
        rows.append(hashed % buckets + (order - 1) * buckets)
    return rows
