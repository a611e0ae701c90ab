"""A classifier's logits on a device: large groups of texts are launched one after the other and fetched together.

The host encodes the next texts while the device reads the last. The cost is that an error of the device shows only when
the logits are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.arrays import Array
from nlpseq.device import in_halves
from nlpseq.kernels.running import run_layer_for
from nlpseq.models import classifier
from nlpseq.models.classifier import ClassifierOptions
from nlpseq.text.padding import side_by_side, together

TOKENS_AT_ONCE = 1 << 17  # padding included


class DeviceEngine:
    """Computes the logits of texts with weights that are tensors."""

    def __init__(self, weights: classifier.Weights, options: ClassifierOptions) -> None:
        self.weights = weights
        self.options = options
        self._like = weights["embedding.weight"]
        self._run_layer = run_layer_for(self._like)

    def begin(self, texts: Sequence[NDArray[Any]]) -> Callable[[], NDArray[Any]]:
        """Start to compute the logits [N, C] of texts of ids; the returned function waits for them.

        Raises BackendError if the device's memory does not hold a single text.
        """
        lengths = np.array([len(text) for text in texts], np.int64)
        groups = [group[::-1].tolist() for group in together(lengths, TOKENS_AT_ONCE)]
        read = partial(self.read, texts)
        logits = [tensor for group in groups for tensor in in_halves(read, group)]
        order = [index for group in groups for index in group]

        def finish() -> NDArray[Any]:
            fetched = np.empty((len(texts), self.weights["output.bias"].shape[0]), np.float32)
            if logits:
                fetched[order] = arrays.to_numpy(arrays.concatenate(logits, 0))
            return fetched

        return finish

    def read(self, texts: Sequence[NDArray[Any]], indices: Sequence[int]) -> Array:
        """The logits of the texts at `indices`, on the device."""
        columns = side_by_side([texts[index] for index in indices])
        ids, lengths = (arrays.from_numpy(values, self._like) for values in columns)
        outputs = classifier.read(self.weights, self.options, ids, lengths, run_layer=self._run_layer)
        return classifier.logits(self.weights, self.options, outputs)
