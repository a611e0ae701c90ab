"""Arrays in files, against NumPy's own reading of the same file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nlpseq.errors import RunError
from nlpseq.text.array_files import ArrayWriter, StoredArray, spans

PIECES = st.lists(st.lists(st.integers(0, 255), max_size=9), max_size=6)


def _written(path: Path, pieces: list[list[int]], kind: str = "uint8") -> NDArray[np.generic]:
    with ArrayWriter(path, kind) as file:
        for piece in pieces:
            file.append(np.array(piece, np.int64))
    loaded: NDArray[np.generic] = np.load(path, allow_pickle=False)
    return loaded


@given(pieces=PIECES, kind=st.sampled_from(["uint8", "uint16", "int64"]))
def test_numpy_reads_what_was_written_and_so_do_we(
    pieces: list[list[int]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    expected = _written(path, pieces, kind)
    stored = StoredArray(path)
    assert expected.tolist() == [value for piece in pieces for value in piece]
    assert stored.dtype == expected.dtype == np.dtype(kind) and len(stored) == len(expected)
    for first in range(-2, len(expected) + 2):
        for last in (first - 1, first + 2, None):
            assert stored[first:last].tolist() == expected[first:last].tolist()
    assert np.array_equal(np.asarray(stored), expected)


@given(wanted=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 40)), max_size=8))
def test_spans_are_slices_one_after_the_other(
    wanted: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    values = _written(path, [list(range(100))], "uint16")
    starts, lengths = (np.array([pair[side] for pair in wanted], np.int64) for side in (0, 1))
    expected = [value for start, length in wanted for value in range(start, start + length)]
    assert spans(StoredArray(path), starts, lengths).tolist() == spans(values, starts, lengths).tolist() == expected
    assert StoredArray(path)[starts].tolist() == starts.tolist()


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    _written(tmp_path / "a.npy", [[1, 2]])
    with pytest.raises(KeyError), ArrayWriter(tmp_path / "a.npy", "uint8") as file:
        file.append(np.arange(200))
        raise KeyError
    assert StoredArray(tmp_path / "a.npy")[:].tolist() == [1, 2]
    assert os.listdir(tmp_path) == ["a.npy"]


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        ArrayWriter(tmp_path / "missing" / "a.npy", "uint8")
    _written(tmp_path / "a.npy", [list(range(250))])
    stored = StoredArray(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 300)
    assert stored[:100].tolist() == list(range(100))
    with pytest.raises(RunError, match="has become shorter"):
        stored[:]
    with pytest.raises(ValueError, match="cut short"):
        StoredArray(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.arange(3))
    (tmp_path / "b.npy").write_bytes(b"what" + (tmp_path / "b.npy").read_bytes())
    with pytest.raises(ValueError, match="magic"):
        StoredArray(tmp_path / "b.npy")
