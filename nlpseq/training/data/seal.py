"""Whether the files of a run's tokens are whole, before a run that is continued learns from them.

They have no checksum of their own, because they are written piece by piece. So once all are written, a file beside them
gets the size and the CRC-32 of each. Reading a gigabyte for that takes a second or two. Older runs have no such file.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nlpseq.files import replace_file

SEAL = "seal.json"
PIECE = 1 << 20  # bytes, or numbers, that are read at once


class Numbers(Protocol):
    """Numbers [N] in a file or in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> NDArray[Any]: ...


def seal(folder: Path) -> None:
    """Write down the size and the checksum of each file in a folder. Raises RunError if that fails."""
    marks = {path.name: _mark(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != SEAL}
    replace_file(folder / SEAL, json.dumps(marks).encode())


def is_whole(folder: Path) -> bool:
    """Whether the files in a folder are those that were sealed, or were never sealed."""
    try:
        marks = json.loads((folder / SEAL).read_bytes())
        return isinstance(marks, dict) and all(_mark(folder / name) == mark for name, mark in marks.items())
    except FileNotFoundError:
        return not (folder / SEAL).exists()
    except (OSError, ValueError, RecursionError):
        return False


def _mark(path: Path) -> list[int]:
    """The size and the CRC-32 of a file."""
    size, check = 0, 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            size, check = size + len(piece), zlib.crc32(piece, check)
    return [size, check]


def check_ids(name: str, ids: Numbers, count: int) -> None:
    """Raises ValueError if a number is not below `count`, or not a whole number from 0 on."""
    for start in range(0, len(ids), PIECE):
        piece = ids[start : start + PIECE]
        if piece.dtype.kind not in "iu" or not 0 <= int(piece.min()) <= int(piece.max()) < count:
            raise ValueError(f"{name} has a number that is none of {count:,}")


def checked_place(place: NDArray[Any], count: int) -> list[int]:
    """The numbers of a position in the data. Raises ValueError unless there are `count`, and none is negative."""
    if place.shape != (count,) or place.dtype.kind not in "iu" or (place < 0).any() or (place > 1 << 61).any():
        raise ValueError("its position in the data is not valid")
    numbers: list[int] = place.tolist()
    return numbers


def check_starts(name: str, starts: Numbers) -> None:
    """Raises ValueError unless numbers start from 0 and never fall."""
    last = 0
    for start in range(0, len(starts), PIECE):
        piece = starts[start : start + PIECE]
        falls = piece.dtype != np.int64 or piece[0] < last or (np.diff(piece) < 0).any()
        if falls or (start == 0 and piece[0] != 0):
            raise ValueError(f"{name} has texts that start before they end")
        last = int(piece[-1])
