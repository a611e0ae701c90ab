"""Texts to the probabilities of labels, on NumPy or on a device.

Texts of about one length are read together, as many as hold a budget of tokens, so memory does not depend on how many
texts there are. On NumPy each group has a thread of its own; a device is given one group after the other, larger ones,
and their logits come back together. A text beyond LONGEST tokens is read up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.device import on_device
from nlpseq.models.model_file import Model
from nlpseq.native.layer import unroll, workers
from nlpseq.native.matrix import PackedMatrix
from nlpseq.text.padding import Ids, side_by_side, together

TOKENS_AT_ONCE = 4096
ENCODED_AT_ONCE = 256  # texts
LONGEST = 100_000  # tokens

Values = NDArray[Any]  # floats


class Decision(NamedTuple):
    """What is said of a text: all labels, the most probable first, and their probabilities."""

    labels: list[str]
    probabilities: list[float]
    cut: bool  # whether only its begin was read


class _Road(Protocol):
    """How logits are made on some device."""

    def begin(self, texts: Sequence[Values]) -> Callable[[], Values]:
        """Begin with the logits [N, C] of texts that are ids; they are then to be called for."""


class _HostRoad:
    """Logits by NumPy and compiled code, on threads."""

    def __init__(self, weights: classifier.Weights, options: ClassifierOptions) -> None:
        packed = classifier.projections(weights)
        self.weights = {name: PackedMatrix.of(value) if name in packed else value for name, value in weights.items()}
        self.options = options

    def begin(self, texts: Sequence[Values]) -> Callable[[], Values]:
        """As `_Road.begin`."""
        found = np.empty((len(texts), len(self.weights["output.bias"])), np.float32)
        lengths = np.array([len(text) for text in texts], np.int64)
        groups = [group[::-1] for group in together(lengths, TOKENS_AT_ONCE)]  # the longest first, as the layer wants

        def run(group: Ids) -> None:
            columns = side_by_side([texts[place] for place in group])
            outputs = classifier.read(self.weights, self.options, *columns, run_layer=unroll)
            found[group] = classifier.logits(self.weights, self.options, outputs)

        running = workers().map(run, groups[::-1]) if len(groups) > 1 else map(run, groups)

        def finish() -> Values:
            for _ in running:
                pass
            return found

        return finish


def _road_on(device: str, weights: classifier.Weights, options: ClassifierOptions) -> _Road:
    placed = on_device(weights, device)
    if arrays.is_numpy(placed["embedding.weight"]):
        return _HostRoad(placed, options)
    from nlpseq.decoding.device.classification import DeviceRoad

    return DeviceRoad(placed, options)


class TextClassifier:
    """A classifier, ready to be asked."""

    def __init__(self, model: Model, options: ClassifierOptions, device: str = "cpu") -> None:
        """Raises BackendError if there is no such device."""
        self.model = model
        self.options = options
        self._road = _road_on(device, model.weights, options)
        self.labels: list[str] = model.header["labels"]
        self.temperature = float(model.header.get("temperature", 1.0))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> TextClassifier:
        """From a file or run folder. Raises ModelFileError as `classifier.load` does, BackendError for no device."""
        return cls(*classifier.load(path), device)

    def ids(self, text: str) -> Values:
        """A text's tokens."""
        return classifier.text_ids(self.model.tokeniser, text, lowercase=bool(self.options.lowercase))

    def logits(self, texts: Sequence[Values]) -> Values:
        """Unnormalised log-probabilities [N, C] of texts that are ids, temperature not applied."""
        return self._begin(texts)()

    def _begin(self, texts: Sequence[Values]) -> Callable[[], Values]:
        """Begin with the logits of texts, which are then to be called for."""
        return self._road.begin([text[:LONGEST] for text in texts])

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """What is said of each text."""
        ids: list[Values] = []
        begun = []
        for start in range(0, len(texts), ENCODED_AT_ONCE):  # some are encoded while others are being read
            ids += map(self.ids, texts[start : start + ENCODED_AT_ONCE])
            begun.append(self._begin(ids[start:]))
        found = [finish() for finish in begun] or [np.empty((0, len(self.labels)), np.float32)]
        probabilities = arrays.softmax(np.concatenate(found) / self.temperature)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            Decision([self.labels[label] for label in labels], row[labels].tolist(), len(one) > LONGEST)
            for one, row, labels in zip(ids, probabilities, order, strict=True)
        ]
