"""Files of vectors: NumPy's own (.npy), an array [N, D] of floats with a row for each line.

`ArrayWriter` of nlpseq/text/array_files.py writes them row by row; here they are read in blocks, for searching.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np

from nlpseq.errors import CorpusError
from nlpseq.vectors.embedder import Values

WANTED = "an array [N, D] of float16, float32 or float64"


def embed_command(path: Path) -> str:
    """The hint that makes the file again, under a name that `nlpseq embed` can write."""
    return f"nlpseq embed --output {shlex.quote(str(path.with_suffix('.npy')))} FILE, with the same model and options"


class VectorFile:
    """The rows of a file, taken one block after the other."""

    def __init__(self, path: Path, size: int) -> None:
        """`size` is D, the size of the model's vectors. Raises CorpusError if the file does not hold such vectors."""
        self.path = path
        try:
            self._rows: Values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or "it is not an array of NumPy's, or is damaged"
            raise CorpusError(str(path), f"it cannot be read: {told}", embed_command(path)) from None
        if not isinstance(self._rows, np.ndarray) or self._rows.ndim != 2 or self._rows.dtype.kind != "f":
            raise CorpusError(str(path), f"it does not hold vectors, {WANTED}", embed_command(path))
        if self._rows.shape[1] != size:
            what = f"its vectors have {self._rows.shape[1]:,} values, and the model's have {size:,}"
            raise CorpusError(str(path), what, embed_command(path))
        self._taken = 0

    def take(self, count: int) -> Values:
        """The next `count` vectors [count, D]. Raises CorpusError if there are fewer, or a value is not finite."""
        with np.errstate(over="ignore"):
            rows = np.asarray(self._rows[self._taken : self._taken + count], np.float32)
        if not np.isfinite(rows).all():
            row = self._taken + int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
            what = f"its vector {row + 1:,} has a value that is not a finite number of float32"
            raise CorpusError(str(self.path), what, embed_command(self.path))
        self._taken += count
        if len(rows) < count:
            raise self._out_of_step("fewer")
        return rows

    def finish(self) -> None:
        """To be called after the last line. Raises CorpusError if vectors are left."""
        if self._taken < len(self._rows):
            raise self._out_of_step("more")

    def _out_of_step(self, word: str) -> CorpusError:
        what = f"it has {word} vectors, {len(self._rows):,}, than there are lines"
        return CorpusError(str(self.path), what, embed_command(self.path))
