"""The statistics of a language model's text: the loss and the sizes of each block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.evaluation.comparison.blocks import Blocks, block_starts, block_sums
from nlpseq.evaluation.comparison.measures import TEXT_MEASURES, Measured
from nlpseq.evaluation.perplexity import tokeniser_name
from nlpseq.evaluation.reader import Reader
from nlpseq.models.language_model import LanguageModelOptions
from nlpseq.models.model_file import Model

OF_TOKENS = ("perplexity", "loss")  # that depend on the tokeniser


def block_statistics(
    model: Model, options: LanguageModelOptions, tokens: NDArray[Any], blocks: Blocks
) -> NDArray[np.float64]:
    """The loss in nats and the numbers of tokens, words, characters and bytes of each block [N, 5]."""
    reader = Reader(model.weights, options)
    losses = (
        arrays.to_numpy(reader.losses(features, reader.place(targets)))
        for features, targets in reader.text_features(tokens)
    )
    starts = block_starts(blocks, tokens, model.tokeniser)
    return np.concatenate([block_sums(starts, len(tokens), losses), blocks.sizes], 1)


def text_measured(statistics: NDArray[np.float64], model: Model) -> list[Measured]:
    """The measures of the statistics [N, 5] of a model's blocks."""
    return [
        Measured(
            measure,
            statistics,
            f"unit:{measure.unit}" + (f"|{tokeniser_name(model.tokeniser)}" if measure.name in OF_TOKENS else ""),
        )
        for measure in TEXT_MEASURES
    ]
