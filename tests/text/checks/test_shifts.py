"""The median of numbers in chunks, and a corpus that is looked at in chunks by several processes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.text.checks import pair_counts, shifts, spill
from nlpseq.text.checks.finding import Finding
from nlpseq.text.checks.labels import check_labelled
from nlpseq.text.checks.pairs import check_pairs
from nlpseq.text.checks.shifts import median

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.0, -0.0, 1.5, -1.5])


@settings(deadline=None, max_examples=60)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=40), size=st.integers(1, 9))
def test_the_median_is_that_of_all_numbers(numbers: list[float], size: int) -> None:
    chunks = [np.array(numbers[start : start + size]) for start in range(0, len(numbers), size)]
    assert median(lambda: iter(chunks)) == np.median(numbers)


def test_the_median_of_nothing_is_zero() -> None:
    assert median(lambda: iter([np.empty(0)])) == 0.0


def _sown(count: int) -> list[tuple[str, str]]:
    """Pairs with every fault: a lost line, blank, equal, repeated, contradicting, foreign, long and unequal ones."""
    draw = random.Random(3)
    words = [f"word{number}" for number in range(500)]
    sources = [" ".join(draw.choices(words, k=draw.randint(2, 20))) for _ in range(count)]
    targets = [source.replace("word", "Wort") for source in sources]
    targets[count // 2 : count // 2] = ["one more"]
    targets[7], targets[count // 3] = " ", "слово и слово " * 4
    sources[21], targets[21] = sources[20], targets[20]
    sources[-3] = sources[4]
    targets[5] = sources[5]
    sources[-9] = "very long " * 200
    return list(zip(sources, targets, strict=False))


def _write(path: Path, rows: list[tuple[str, str]], header: str = "") -> str:
    path.write_text(header + "".join(f"{first}\t{second}\n" for first, second in rows))
    return str(path)


def test_chunks_blocks_and_processes_change_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, header = _sown(1500), "label\ttext\n"
    labelled = [("ab"[len(target) % 2], source) for source, target in pairs]
    table = _write(tmp_path / "a.tsv", pairs)
    test = _write(tmp_path / "b.tsv", [*pairs[100:140], ("new", "neu")])
    labels = _write(tmp_path / "c.tsv", labelled, header)
    other = _write(tmp_path / "d.tsv", [*(("a", text) for _, text in labelled[::40]), ("z", "new")], header)

    def check() -> list[Finding]:
        found = check_pairs([table], two_files=False, against=[test])
        return [*found[:-1], *check_labelled([labels], against=[other])]  # the last is an estimate of time

    whole = check()
    said = " ".join(finding.what for finding in whole)
    for words in ("out of step", "blank side", "equal sides", "were there before;", "another target", "in Latin"):
        assert words in said
    for words in ("4 times more", "more than 800", "of the sources of", "with another label", "of the texts of", ": z"):
        assert words in said
    monkeypatch.setattr(spill, "BLOCK", 50)
    monkeypatch.setattr(spill, "IN_MEMORY", 100)
    monkeypatch.setattr(shifts, "CHUNK", 128)
    monkeypatch.setattr(pair_counts, "PAIRS_AT_ONCE", 100)
    for processes in (1, 2):
        monkeypatch.setattr(pair_counts, "available_cores", lambda count=processes: count)
        assert check() == whole
