"""How the network of each task reads a text: its tokens, and the top layer's outputs over them.

language-model   the states after each token, but not after the newline before the text
classifier       the outputs between two newlines, and the evidence if the classifier counts it
translator       the encoder's outputs, up to the newline that ends a source
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.cells import Unroll
from nlpseq.models import classifier, language_model, translator
from nlpseq.models.model_file import Model
from nlpseq.models.pooling import Outputs
from nlpseq.text.tokenisers import NEWLINE, Tokeniser

Weights = Mapping[str, Array]

OUTPUT_LAYER = ("output.projection", "output.weight", "output.bias")


@dataclass(frozen=True)
class Network:
    """How texts are read by the models of one task; `options` are those of the task."""

    load: Callable[[Path], tuple[Model, Any]]
    ids: Callable[[Tokeniser, Any, str], np.ndarray]  # of a text that is not blank
    read: Callable[[Weights, Any, Array, Array, Unroll], Outputs]  # ids [T, B] and lengths [B], the longest first
    projections: Callable[[Weights], set[str]]  # names of the matrices that multiply batches of rows
    poolings: Callable[[Any], Sequence[str]]  # of which the vector is made by default


def _line(text: str) -> str:
    return text.replace("\n", " ")


def _language_model_ids(tokeniser: Tokeniser, options: Any, text: str) -> np.ndarray:
    return np.concatenate(([NEWLINE], tokeniser.encode(_line(text), exact=False)), dtype=np.int32)


def _read_language_model(weights: Weights, options: Any, ids: Array, lengths: Array, run_layer: Unroll) -> Outputs:
    layers = {name: value for name, value in weights.items() if name not in OUTPUT_LAYER}
    state = language_model.begin(layers, options, ids.shape[1])
    states, last = language_model.forward(layers, options, ids, state, lengths=lengths, run_layer=run_layer)
    return Outputs(states[1:], last.layers[-1][0].hidden, lengths - 1)


def _classifier_ids(tokeniser: Tokeniser, options: Any, text: str) -> np.ndarray:
    return classifier.text_ids(tokeniser, text, lowercase=bool(options.lowercase))


def _read_classifier(weights: Weights, options: Any, ids: Array, lengths: Array, run_layer: Unroll) -> Outputs:
    return classifier.read(weights, options, ids, lengths, run_layer=run_layer)


def _source_ids(tokeniser: Tokeniser, options: Any, text: str) -> np.ndarray:
    return translator.line_ids(tokeniser, text)


def _read_source(weights: Weights, options: Any, ids: Array, lengths: Array, run_layer: Unroll) -> Outputs:
    source = translator.encode(weights, options, ids, lengths, run_layer=run_layer)
    steps = source.memory.values.swapaxes(0, 1)
    size = steps.shape[-1] // 2
    forwards = steps[lengths - 1, arrays.positions(ids.shape[1], ids)]
    return Outputs(steps, arrays.concatenate([forwards[:, :size], steps[0, :, size:]]), lengths)


def _input_products(weights: Weights) -> set[str]:
    return {name for name in weights if ".weight_ih" in name}


def _mean(options: Any) -> Sequence[str]:
    return ("mean",)


NETWORKS: dict[str, Network] = {
    language_model.TASK: Network(
        language_model.load, _language_model_ids, _read_language_model, _input_products, _mean
    ),
    classifier.TASK: Network(
        classifier.load,
        _classifier_ids,
        _read_classifier,
        classifier.projections,
        lambda options: options.poolings,
    ),
    translator.TASK: Network(translator.load, _source_ids, _read_source, translator.projections, _mean),
}
