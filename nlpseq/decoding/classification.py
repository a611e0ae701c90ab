"""Texts to the probabilities of labels, on NumPy.

Texts of about one length are read together, as many as hold a budget of tokens, each group on a thread of its own; so
memory does not depend on how many texts there are. A text beyond LONGEST tokens is read up to there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.model_file import Model
from nlpseq.native.layer import unroll, workers
from nlpseq.native.matrix import PackedMatrix
from nlpseq.text.columns import Ids, side_by_side, together

TOKENS_AT_ONCE = 8192
LONGEST = 100_000  # tokens

Values = NDArray[Any]  # floats


class Decision(NamedTuple):
    """What is said of a text: all labels, the most probable first, and their probabilities."""

    labels: list[str]
    probabilities: list[float]
    cut: bool  # whether only its begin was read


class TextClassifier:
    """A classifier, ready to be asked."""

    def __init__(self, model: Model, options: ClassifierOptions) -> None:
        self.model = model
        self.options = options
        self.weights = {
            name: PackedMatrix.of(value) if ".weight_ih" in name else value for name, value in model.weights.items()
        }
        self.labels: list[str] = model.header["labels"]
        self.temperature = float(model.header.get("temperature", 1.0))

    @classmethod
    def load(cls, path: Path) -> TextClassifier:
        """From a file or run folder. Raises ModelFileError as `classifier.load` does."""
        return cls(*classifier.load(path))

    def ids(self, text: str) -> Values:
        """A text's tokens."""
        return classifier.text_ids(self.model.tokeniser, text, lowercase=bool(self.options.lowercase))

    def logits(self, texts: Sequence[Values]) -> Values:
        """Unnormalised log-probabilities [N, C] of texts that are ids, temperature not applied."""
        found = np.empty((len(texts), len(self.labels)), np.float32)
        read = [text[:LONGEST] for text in texts]
        lengths = np.array([len(text) for text in read], np.int64)
        groups = [group[::-1] for group in together(lengths, TOKENS_AT_ONCE)]  # the longest first, as the layer wants

        def run(group: Ids) -> None:
            outputs = classifier.read(
                self.weights, self.options, *side_by_side([read[place] for place in group]), run_layer=unroll
            )
            found[group] = classifier.logits(self.weights, self.options, outputs)

        if len(groups) < 2:
            for group in groups:
                run(group)
        else:
            list(workers().map(run, groups[::-1]))
        return found

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """What is said of each text."""
        ids = [self.ids(text) for text in texts]
        probabilities = arrays.softmax(self.logits(ids) / self.temperature)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            Decision([self.labels[label] for label in labels], row[labels].tolist(), len(one) > LONGEST)
            for one, row, labels in zip(ids, probabilities, order, strict=True)
        ]
