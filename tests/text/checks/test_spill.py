"""Rows come back sorted by their hash, and records in their order, however many of them fit in memory."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nlpseq.errors import RunError
from nlpseq.text.checks import spill
from nlpseq.text.checks.spill import HashedRows, Records, sorted_parts


def _rows(count: int, seed: int) -> np.ndarray:
    """Rows of a hash, of which some are equal, and a number that tells their order."""
    draw = np.random.default_rng(seed)
    limits = np.iinfo(np.int64)
    hashes = draw.choice(draw.integers(limits.min, limits.max, max(1, count // 2)), count)
    hashes[: min(4, count)] = [limits.min, limits.max, 0, -1][: min(4, count)]
    return np.stack([hashes, np.arange(count)], axis=1)


@pytest.mark.parametrize("block", [5, 64, 10_000])
@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (1000, 7), (777, 1500)])
def test_rows_come_back_sorted_and_tables_in_step(
    block: int, counts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "BLOCK", block)
    tables, added = (HashedRows(2), HashedRows(2)), [_rows(count, count) for count in counts]
    for table, rows in zip(tables, added, strict=True):
        for start in range(0, len(rows), 13):
            table.add(rows[start : start + 13])
    parts = list(sorted_parts(*tables))
    for side, rows in enumerate(added):
        found = np.concatenate([part[side] for part in parts])
        assert found.tolist() == sorted(rows.tolist())
    last = [max((int(rows[-1, 0]) for rows in part if len(rows)), default=None) for part in parts]
    first = [min((int(rows[0, 0]) for rows in part if len(rows)), default=None) for part in parts]
    filled = [span for span in zip(first, last, strict=True) if span[0] is not None]
    assert all(before[1] < after[0] for before, after in pairwise(filled))
    if sum(counts) > 10 * block:
        assert len(parts) > 5


@pytest.mark.parametrize("in_memory", [16, 1 << 20])
def test_records_are_read_as_if_in_a_circle(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "IN_MEMORY", in_memory)
    records = Records([("a", "<i4"), ("b", "u1", (2,))])
    values = np.zeros(10, records.fields)
    values["a"] = np.arange(10)
    records.add(values[:3])
    records.add(values[3:])
    values["a"][1] = 11
    records.replace(1, values[1:2])
    assert records.count == 10
    for start, stop in ((0, 10), (2, 5), (-3, 4), (8, 13), (-2, 12), (4, 4)):
        expected = [int(values["a"][index % 10]) for index in range(start, stop)]
        assert records.window(start, stop)["a"].tolist() == expected


class _FullDisk:
    """A temporary file on a disk without space."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def seek(self, *_: Any) -> int:
        return 0

    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


def test_a_full_disk_is_one_sentence_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", _FullDisk)
    monkeypatch.setattr(spill, "BLOCK", 2)
    with pytest.raises(RunError, match="temporary file cannot be written: No space left on device") as caught:
        HashedRows(2).add(_rows(3, 1))
    assert caught.value.where == tempfile.gettempdir() and "export TMPDIR=" in caught.value.hint
    with pytest.raises(RunError, match="No space left on device"):
        Records([("a", "<i4")]).add(np.zeros(1, [("a", "<i4")]))
