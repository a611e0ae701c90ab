"""Faults sown into parallel text are found, and sound text has none."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from nlpseq.text.checks.pairs import check_pairs

Both = tuple[list[str], list[str]]
Check = Callable[[Both], list[str]]


def _sound(count: int = 600) -> Both:
    """Sentences of unequal length, and targets of about the same."""
    draw = random.Random(1)
    counts = [draw.randint(2, 25) for _ in range(count)]
    sources = [" ".join(f"word{draw.randint(0, 9999)}" for _ in range(one)) for one in counts]
    targets = [
        " ".join(f"Wort{draw.randint(0, 9999)}" for _ in range(max(1, one + draw.randint(-1, 1)))) for one in counts
    ]
    return sources, targets


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def run(both: Both, **more: object) -> list[str]:
        paths = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
        for path, side in zip(paths, both, strict=True):
            Path(path).write_text("".join(f"{text}\n" for text in side), encoding="utf-8")
        found = check_pairs(paths, two_files=True)
        assert all(one.line <= len(both[0]) for one in found)
        return [f"{one.level}:{one.line}: {one.what}" for one in found]

    return run


def test_sound_text_has_a_summary_and_an_estimate_and_nothing_else(check: Check) -> None:
    first, last = check(_sound())
    assert first.startswith("note:0: 600 pairs") and "20 passes of training take about" in last


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_side_with_lines_too_many_is_out_of_step(side: int, lines: int, check: Check) -> None:
    both = _sound(900)
    both[side][400:400] = ["one more"] * lines
    del both[side][900:]
    (fault,) = (one for one in check(both) if one.startswith("fault"))
    plural = "s" * (lines > 1)
    assert f"the {('source', 'target')[side]} seems to have {lines} line{plural} too many" in fault
    assert 200 <= int(fault.split(":")[1]) <= 500


def test_files_of_unequal_length_are_a_fault(check: Check) -> None:
    sources, targets = _sound(30)
    (fault,) = check((sources, targets[:-1]))
    assert "they must have the same number of lines, but have 30 and 29" in fault


SOWN = [
    (lambda sources, targets: targets.__setitem__(7, " "), "note:8: 1 of 600 pairs (0.2%) with a blank side"),
    (lambda sources, targets: targets.__setitem__(7, sources[7]), "note:8: 1 of 600 pairs (0.2%) with two equal sides"),
    (
        lambda sources, targets: targets.__setitem__(slice(None), sources),
        "fault:1: 600 of 600 pairs (100.0%) with two equal sides",
    ),
    (
        lambda sources, targets: targets.__setitem__(7, "Wort " * 150),
        "note:8: 1 of 600 pairs (0.2%) whose sides differ 4 times",
    ),
    (
        lambda sources, targets: targets.__setitem__(7, "слово " * len(sources[7].split())),
        "note:8: 1 of 600 pairs (0.2%) whose target is not in Latin",
    ),
    (
        lambda sources, targets: sources.__setitem__(7, sources[3]),
        "note:8: 1 of 600 pairs (0.2%) whose source was there before, with another",
    ),
    (
        lambda sources, targets: (sources.__setitem__(7, sources[3]), targets.__setitem__(7, targets[3])),
        "note:8: 1 of 600 pairs (0.2%) that were there before",
    ),
    (
        lambda sources, targets: sources.__setitem__(7, "word " * 300),
        "note:8: 1 of 600 pairs (0.2%) with more than 800 characters",
    ),
]


@pytest.mark.parametrize(("sow", "wanted"), SOWN, ids=[wanted for _, wanted in SOWN])
def test_what_is_sown_is_found(sow: Callable[[list[str], list[str]], object], wanted: str, check: Check) -> None:
    both = _sound()
    sow(*both)
    assert any(one.startswith(wanted) for one in check(both)), check(both)


def test_sources_of_the_test_text_are_a_fault(tmp_path: Path) -> None:
    sources, targets = _sound(100)
    table, test = tmp_path / "a.tsv", tmp_path / "b.tsv"
    table.write_text("".join(f"{a}\t{b}\n" for a, b in zip(sources, targets, strict=True)))
    test.write_text(f"{sources[9]}\tx\nnew\ty\n")
    (fault,) = (one for one in check_pairs([str(table)], two_files=False, against=[str(test)]) if one.level == "fault")
    assert (fault.line, fault.what) == (10, f"50.0% of the sources of {test} are here too")
