"""Files of a run's tokens that were changed are noticed, and numbers that no corpus has are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nlpseq.training.data.seal import SEAL, check_ids, check_starts, checked_place, is_whole, seal


def _folder(path: Path) -> Path:
    for name, data in (("train.arrow", b"abc" * 1000), ("corpus.json", b"{}"), ("empty", b"")):
        (path / name).write_bytes(data)
    seal(path)
    return path


def test_what_was_sealed_is_whole(tmp_path: Path) -> None:
    assert is_whole(_folder(tmp_path))
    assert json.loads((tmp_path / SEAL).read_text()).keys() == {"train.arrow", "corpus.json", "empty"}
    (tmp_path / SEAL).unlink()
    assert is_whole(tmp_path)  # as an older version wrote it


@pytest.mark.parametrize("name", ["train.arrow", "corpus.json", "empty", SEAL])
def test_a_file_that_was_changed_or_removed_is_noticed(name: str, tmp_path: Path) -> None:
    path = _folder(tmp_path) / name
    data = path.read_bytes()
    for changed in (data + b"x", data[:-1] + b"\xff", b"[" * 100_000):
        path.write_bytes(changed)
        assert not is_whole(tmp_path)
    if name != SEAL:
        path.unlink()
        assert not is_whole(tmp_path)


def test_numbers_beyond_a_vocabulary_are_refused() -> None:
    check_ids("ids", np.array([0, 6], np.uint8), 7)
    check_ids("ids", np.array([], np.uint8), 7)
    for wrong in (np.array([0, 7], np.uint8), np.array([-1, 0]), np.array([0.0, 1.0]), np.array([1 << 40])):
        with pytest.raises(ValueError, match="none of 7"):
            check_ids("ids", wrong, 7)


def test_starts_that_fall_are_refused() -> None:
    check_starts("texts", np.array([0, 0, 5, 9]))
    for wrong in (np.array([1, 5]), np.array([0, 5, 4]), np.array([0, -1]), np.array([0, 1], np.int32)):
        with pytest.raises(ValueError, match="start before they end"):
            check_starts("texts", wrong)


def test_a_place_is_so_many_numbers_from_zero_on() -> None:
    assert checked_place(np.array([1, 2]), 2) == [1, 2]
    for wrong in (np.array([1]), np.array([1, -2]), np.array([1, 1 << 62]), np.array([1.0, 2.0]), np.array(3)):
        with pytest.raises(ValueError, match="position"):
            checked_place(wrong, 2)
