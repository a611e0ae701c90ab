"""Files of vectors: NumPy's own (.npy), an array [N, D] of float32 with a row for each line.

`ArrayWriter` of nlpseq/text/array_files.py writes them row by row; here they are read in blocks, for searching.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nlpseq.errors import CorpusError
from nlpseq.vectors.embedder import Values

HINT = "nlpseq embed --output {} FILE, with the same model and options"


class VectorFile:
    """The rows of a file, taken one block after the other."""

    def __init__(self, path: Path, size: int) -> None:
        """`size` is D, the size of the model's vectors. Raises CorpusError if the file does not hold such vectors."""
        self.path = path
        try:
            self._rows: Values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or "it is not an array of NumPy's, or is damaged"
            raise CorpusError(str(path), f"it cannot be read: {told}", HINT.format(path)) from None
        if not isinstance(self._rows, np.ndarray) or self._rows.ndim != 2 or self._rows.dtype.kind != "f":
            raise CorpusError(str(path), "it does not hold vectors, an array [N, D] of floats", HINT.format(path))
        if self._rows.shape[1] != size:
            what = f"its vectors have {self._rows.shape[1]:,} values, and the model's have {size:,}"
            raise CorpusError(str(path), what, HINT.format(path))
        self._taken = 0

    def take(self, count: int) -> Values:
        """The next `count` vectors [count, D]. Raises CorpusError if there are fewer."""
        rows = np.asarray(self._rows[self._taken : self._taken + count], np.float32)
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
        return CorpusError(str(self.path), what, HINT.format(self.path))
