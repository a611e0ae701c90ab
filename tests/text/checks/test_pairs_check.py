"""Faults sown into parallel text are found, and sound text has none."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from nlpseq.text.checks.pairs import check_pairs

MULTI30K = (Path(__file__).parents[3] / "../shared/data/multi30k").resolve()

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
    assert f"the {('source', 'target')[side]} has {lines} line{plural} too many" in fault
    assert abs(int(fault.split(":")[1]) - 401) <= 5


def test_files_of_unequal_length_are_a_fault(check: Check) -> None:
    sources, targets = _sound(30)
    (fault,) = check((sources, targets[:-1]))
    assert "the files must have the same number of lines, but have 30 and 29" in fault


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


@pytest.mark.skipif(not MULTI30K.is_dir(), reason="shared/data/multi30k is not there")
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("line", [60, 150, 280])
@pytest.mark.parametrize("filled", [False, True])
def test_a_lost_line_is_found_in_a_real_corpus(side: int, line: int, filled: bool, check: Check) -> None:
    both = tuple((MULTI30K / f"val.{name}").read_text(encoding="utf-8").split("\n")[:300] for name in ("en", "de"))
    assert not [one for one in check(both) if one.startswith("fault")]
    del both[side][line - 1]
    if filled:
        both[side].append("One more line, so that the counts agree.")
    faults = [one for one in check(both) if one.startswith("fault")]
    assert len(faults) == 1 + (not filled)
    assert (
        f"the {('target', 'source')[side]} has 1 line too many, or the {('source', 'target')[side]} too few"
        in faults[-1]
    )
    assert abs(int(faults[-1].split(":")[1]) - line) <= 5


def test_the_first_of_two_lost_lines_is_named(check: Check) -> None:
    sources, targets = _sound(900)
    del targets[600], targets[300]
    _, fault = (one for one in check((sources, targets)) if one.startswith("fault"))
    assert abs(int(fault.split(":")[1]) - 301) <= 5


@pytest.mark.parametrize(
    "both",
    [
        (["the same"] * 500, ["dasselbe"] * 500),
        ([""] * 500, [""] * 500),
        ([chr(97 + n % 26) for n in range(500)], [chr(65 + n % 26) for n in range(500)]),
    ],
    ids=["equal", "blank", "letters"],
)
def test_texts_that_tell_nothing_are_in_step(both: Both, check: Check) -> None:
    assert not any("out of step" in one for one in check(both))


def test_fewer_pairs_than_training_takes_are_a_fault(check: Check) -> None:
    sources, targets = _sound(20)
    assert not any(one.startswith("fault") for one in check((sources, targets)))
    targets[3] = " "
    (fault,) = (one for one in check((sources, targets)) if one.startswith("fault"))
    assert "training needs at least 20 pairs with text on both sides, but there are 19" in fault


def test_shares_are_not_rounded_to_all_or_none(check: Check) -> None:
    sources, targets = _sound(3000)
    targets[1:] = sources[1:]
    assert any(
        "2,999 of 3,000 pairs (more than 99.9%) with two equal sides" in one for one in check((sources, targets))
    )
    sources, targets = _sound(3000)
    targets[7] = sources[7]
    assert any("1 of 3,000 pairs (less than 0.1%) with two equal sides" in one for one in check((sources, targets)))


def test_the_hint_trains_on_the_same_pairs(tmp_path: Path) -> None:
    sources, targets = _sound(30)
    files = [tmp_path / "my a.txt", tmp_path / "b.txt"]
    for path, side in zip(files, (sources, targets), strict=True):
        path.write_text("\n".join(side))
    hint = check_pairs([str(path) for path in files], two_files=True)[-1].hint
    assert shlex.split(hint)[:7] == [
        "nlpseq",
        "train",
        "translation",
        "--source",
        str(files[0]),
        "--target",
        str(files[1]),
    ]
    table = tmp_path / "a.tsv"
    table.write_text("".join(f"{a}\t{b}\n" for a, b in zip(sources, targets, strict=True)))
    hint = check_pairs([str(table)], two_files=False, columns=("2", "1"))[-1].hint
    assert shlex.split(hint)[3:6] == [str(table), "--columns", "2,1"]


def test_sources_that_are_not_in_the_test_text_are_said(tmp_path: Path) -> None:
    sources, targets = _sound(30)
    table, test = tmp_path / "a.tsv", tmp_path / "b.tsv"
    table.write_text("".join(f"{a}\t{b}\n" for a, b in zip(sources, targets, strict=True)))
    test.write_text("new\tx\n")
    found = check_pairs([str(table)], two_files=False, against=[str(test)])
    assert f"none of the sources of {test} is here too" in [one.what for one in found]
