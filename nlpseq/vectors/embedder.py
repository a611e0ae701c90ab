"""Texts to vectors: the pooled outputs of a model's top layer.

Texts of similar length are read together, up to a budget of tokens, so memory does not depend on their number. On
NumPy each group has its own thread, and on a device groups run one after the other. Only the first LONGEST tokens of a
text are read. A blank text has no token to pool, and its vector is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlpseq import arrays
from nlpseq.cells import Unroll
from nlpseq.decoding.statuses import BLANK, IN_PART
from nlpseq.device import in_halves, on_device
from nlpseq.errors import ModelFileError
from nlpseq.kernels.running import run_layer_for
from nlpseq.models.linear import network_weights
from nlpseq.models.model_file import Model, Origin, load_again, load_model, task_of
from nlpseq.models.pooling import Outputs, pool
from nlpseq.native import layer
from nlpseq.native.matrix import PackedMatrix
from nlpseq.options import check, option
from nlpseq.text.lines import OK
from nlpseq.text.padding import side_by_side, together
from nlpseq.vectors.networks import NETWORKS
from nlpseq.workers import in_order

TOKENS_AT_ONCE = 4096
DEVICE_TOKENS_AT_ONCE = 1 << 17  # padding included
LONGEST = 100_000  # tokens
POOLINGS = ("mean", "max", "last")

Values = NDArray[Any]  # floats


@dataclass(frozen=True, kw_only=True)
class VectorOptions:
    """What a text's vector is made of."""

    pooling: str | None = option(
        None,
        "mean, largest or last of the top layer's outputs [default: mean; of a classifier, its own pooling]",
        choices=POOLINGS,
        usual=True,
    )
    normalise: bool = option(False, "scale each vector to length 1", switch=True, usual=True)

    def __post_init__(self) -> None:
        check(self)


class TextVector(NamedTuple):
    """The vector of a text."""

    values: Values  # [D], float32
    cut: bool  # whether only the first LONGEST tokens were read


def vector_status(vector: TextVector | None) -> str:
    """The status of a line: OK, IN_PART or BLANK."""
    if vector is None:
        return BLANK
    return IN_PART if vector.cut else OK


class TextEmbedder:
    """A model of any task, ready to turn texts into vectors."""

    def __init__(self, model: Model, options: Any, vectors: VectorOptions | None = None, device: str = "cpu") -> None:
        """Raises BackendError if there is no such device."""
        self.model, self.options, self.vectors = model, options, vectors or VectorOptions()
        self.network = NETWORKS[model.task]
        self.weights = on_device(network_weights(model.weights), device)
        self._like = self.weights["embedding.weight"]
        self.on_host = arrays.is_numpy(self._like)
        self._run_layer: Unroll = layer.unroll
        if self.on_host:
            packed = self.network.projections(self.weights)
            self.weights = {
                name: PackedMatrix.of(value) if name in packed else value for name, value in self.weights.items()
            }
        else:
            self._run_layer = run_layer_for(self._like)

    @classmethod
    def load(cls, path: Path, vectors: VectorOptions | None = None, device: str = "cpu") -> TextEmbedder:
        """Load a model of any task. Raises ModelFileError if it cannot be read, BackendError as the class."""
        task = task_of(path)
        if task not in NETWORKS:
            model = load_model(path)  # raises for a file that is missing, damaged or foreign
            raise ModelFileError(model.name, f"is of the task {model.task}, which this version does not know")
        return cls(*NETWORKS[task].load(path), vectors, device)

    @cached_property
    def size(self) -> int:
        """D, the number of values in a vector."""
        return int(self._read([self._ids("a")]).shape[1])

    def embed(self, texts: Sequence[str]) -> Values:
        """The vectors [N, D] of texts, as float32; zero for a blank text."""
        return self._embed([self._ids(text) for text in texts])

    def embed_lines(self, lines: Sequence[str | None]) -> list[TextVector | None]:
        """The vector of each line; None for a line that is blank or None."""
        ids = [self._ids(line or "") for line in lines]
        vectors = self._embed(ids)
        return [
            TextVector(values, len(tokens) > LONGEST) if len(tokens) else None
            for tokens, values in zip(ids, vectors, strict=True)
        ]

    def rows(self, vectors: Sequence[TextVector | None]) -> Values:
        """The vectors of lines as an array [N, D]; zeros for None."""
        blank = np.zeros(self.size, np.float32)
        return np.stack([blank if vector is None else vector.values for vector in vectors])

    def by_workers(self, portions: Iterable[Any], processes: int) -> Generator[list[TextVector | None], None, None]:
        """As `embed_lines` for one portion of lines after another, by worker processes: see `in_order`."""
        settings = (self.model.task, self.model.origin, self.vectors)
        return in_order(f"{__name__}:load_line_embedder", settings, portions, processes)

    def _ids(self, text: str) -> np.ndarray:
        """The tokens of a text, none of them if it is blank."""
        if not text.strip():
            return np.empty(0, np.int32)
        return self.network.ids(self.model.tokeniser, self.options, text)

    def _embed(self, ids: Sequence[np.ndarray]) -> Values:
        """The vectors [N, D] of texts of ids."""
        vectors = np.zeros((len(ids), self.size), np.float32)
        lengths = np.array([min(len(tokens), LONGEST) for tokens in ids], np.int64)
        filled = np.flatnonzero(lengths)
        budget = TOKENS_AT_ONCE if self.on_host else DEVICE_TOKENS_AT_ONCE
        groups = [filled[group[::-1]].tolist() for group in together(lengths[filled], budget)]

        def run(group: Sequence[int]) -> None:
            vectors[group] = self._read([ids[index][:LONGEST] for index in group])

        if self.on_host and len(groups) > 1:
            list(layer.workers().map(run, groups[::-1]))
        else:
            for group in reversed(groups):
                in_halves(run, group)
        return vectors

    def _read(self, texts: Sequence[np.ndarray]) -> Values:
        """The vectors [B, D] of texts of ids that are read together, the longest first."""
        ids, lengths = (arrays.from_numpy(values, self._like) for values in side_by_side(texts))
        outputs = self.network.read(self.weights, self.options, ids, lengths, self._run_layer)
        pooled = arrays.to_numpy(self._pooled(outputs)).astype(np.float32)
        return unit_length(pooled) if self.vectors.normalise else pooled

    def _pooled(self, outputs: Outputs) -> arrays.Array:
        if self.vectors.pooling is None:
            return pool(self.weights, self.network.poolings(self.options), outputs)
        return pool(self.weights, (self.vectors.pooling,), outputs._replace(evidence=None))


def load_line_embedder(settings: tuple[str, Origin, VectorOptions]) -> Callable[[Any], list[TextVector | None]]:
    """In a worker process: `embed_lines` with the settings of `by_workers`. Raises ModelFileError as `load_again`."""
    task, origin, vectors = settings
    return TextEmbedder(*load_again(NETWORKS[task].load, origin), vectors).embed_lines


def unit_length(vectors: Values) -> Values:
    """Vectors [N, D] scaled to length 1; a zero vector stays zero."""
    lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(-1, keepdims=True))
    scaled: Values = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0, casting="same_kind")
    return scaled


def spelled(values: Values) -> list[float]:
    """float32 values as numbers whose shortest decimals are those of the values."""
    return [float(str(value)) for value in values]
