"""A classifier's logits on a device: large groups of texts, launched one after the other and fetched together.

The host encodes the next texts while the device reads these. The cost is that a fault of the device shows only when the
logits are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.models.device import in_halves
from nlpseq.text.padding import Ids, side_by_side, together

TOKENS_AT_ONCE = 1 << 17  # padding included


class DeviceRoad:
    """Logits of texts by weights that are tensors."""

    def __init__(self, weights: classifier.Weights, options: ClassifierOptions) -> None:
        self.weights = weights
        self.options = options
        self._like = weights["embedding.weight"]
        self._run_layer = run_layer_for(self._like)

    def begin(self, texts: Sequence[NDArray[Any]]) -> Callable[[], NDArray[Any]]:
        """Begin with the logits [N, C] of texts that are ids; they are then to be called for.

        Raises BackendError where the device's memory does not hold a single text.
        """
        groups = [group[::-1].tolist() for group in together(_lengths(texts), TOKENS_AT_ONCE)]
        read = partial(self._read, texts)
        made = [part for group in groups for part in in_halves(read, group)]
        order = [place for group in groups for place in group]

        def finish() -> NDArray[Any]:
            found = np.empty((len(texts), self.weights["output.bias"].shape[0]), np.float32)
            if made:
                found[order] = arrays.to_numpy(arrays.concatenate(made, 0))
            return found

        return finish

    def _read(self, texts: Sequence[NDArray[Any]], places: Sequence[int]) -> Array:
        ids, lengths = (arrays.from_numpy(one, self._like) for one in side_by_side([texts[place] for place in places]))
        outputs = classifier.read(self.weights, self.options, ids, lengths, run_layer=self._run_layer)
        return classifier.logits(self.weights, self.options, outputs)


def _lengths(texts: Sequence[NDArray[Any]]) -> Ids:
    return np.array([len(text) for text in texts], np.int64)
