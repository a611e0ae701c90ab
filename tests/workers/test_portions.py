"""Portions that are divided among worker processes, and the number of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.errors import OptionError
from nlpseq.workers import MOST, PAUSE, available_cores, check_processes, portions_in_order, usual_processes


def _divide(portion: list[int]) -> tuple[list[int], Callable[[list[int]], list[int]]]:
    """Each number is an item; -1 is one too, so that there is always one, and is left out of the result."""
    return [*portion, -1], lambda results: results[:-1]


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=6))
@settings(max_examples=30)
def test_each_portion_gets_its_own_results(portions: list[list[int]]) -> None:
    results = portions_in_order("operator:attrgetter", "real", portions, _divide, 1)
    assert list(results) == portions


def test_each_portion_gets_its_own_results_from_workers_too() -> None:
    portions = [list(range(number % 5)) for number in range(20)]
    assert list(portions_in_order("operator:attrgetter", "real", portions, _divide, 2)) == portions


def test_a_portion_has_its_result_before_a_pause_ends() -> None:
    seen: list[Any] = []

    def portions() -> Iterator[Any]:
        yield from ([1, 2], [], PAUSE)
        assert seen == [[1, 2], []]
        yield [3]

    for result in portions_in_order("operator:attrgetter", "real", portions(), _divide, 2):
        seen.append(result)
    assert seen == [[1, 2], [], [3]]


@pytest.mark.parametrize("processes", [0, -1, MOST + 1, "2", 1.5])
def test_a_number_that_is_no_number_of_processes_is_refused(processes: Any) -> None:
    with pytest.raises(OptionError, match="processes: must be a whole number from 1 to 1,024"):
        check_processes(processes, "cpu")


def test_a_gpu_has_one_process() -> None:
    check_processes(1, "cuda")
    with pytest.raises(OptionError, match="must be 1 on a GPU"):
        check_processes(2, "cuda")


def test_threads_bound_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usual_processes() == available_cores()
    for text, processes in [("1", 1), ("999", available_cores()), ("", available_cores()), ("x", available_cores())]:
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert usual_processes() == processes


def test_a_quota_of_a_container_bounds_the_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    everything = available_cores(quota)
    cases = {"max 100000": everything, "50000 100000": 1, "x": everything, "99900000 100000": everything}
    for text, cores in cases.items():
        quota.write_text(text)
        assert available_cores(quota) == cores
