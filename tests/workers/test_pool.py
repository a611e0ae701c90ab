"""Worker processes: order, backpressure, faults, and that none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from nlpseq.errors import CorpusError, RunError
from nlpseq.workers import PAUSE, available_cores, in_order

Run = Callable[..., Generator[Any, None, None]]
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")

FUNCTIONS = """
import os, sys, time
from nlpseq.errors import CorpusError

def times(factor):
    return lambda item: item * factor

def slow_first(seconds):
    def apply(item):
        if item == 0:
            time.sleep(seconds)
        return item
    return apply

def own_number(settings):
    return lambda item: os.getpid()

def fail_at(number):
    def apply(item):
        if item == number:
            raise CorpusError("a file", f"item {item}", "a hint")
        return item
    return apply

def divide(settings):
    return lambda item: 1 // item

def prepare_badly(settings):
    raise CorpusError("settings", "they are wrong")

def die(number):
    def apply(item):
        if item == number:
            os.kill(os.getpid(), 9)
        return item
    return apply

def threads(settings):
    return lambda item: os.environ["OMP_NUM_THREADS"]

def talk(settings):
    def apply(item):
        print("noise", item, flush=True)
        return sys.stdin.read()
    return apply

def sleep(settings):
    def apply(seconds):
        time.sleep(seconds)
        return os.getpid()
    return apply

class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(first)

def odd(settings):
    def apply(item):
        raise Odd(1, 2)
    return apply
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("times", settings, items, processes)`: one of FUNCTIONS, in a module that workers find as this process."""
    (tmp_path / "functions_of_tests.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name, *rest: in_order(f"functions_of_tests:{name}", *rest)


def _is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _gone(processes: set[int], seconds: float = 5) -> bool:
    """Whether all processes end within some seconds."""
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(_is_alive, processes))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_order(run: Run, processes: int) -> None:
    assert list(run("times", 3, range(50), processes)) == [3 * item for item in range(50)]
    assert list(run("slow_first", 0.2, range(20), processes)) == list(range(20))
    assert list(run("times", 3, [], processes)) == []


def test_one_process_starts_none(run: Run) -> None:
    assert set(run("own_number", None, range(3), 1)) == {os.getpid()}


def test_a_worker_is_started_only_for_an_item_that_waits(run: Run) -> None:
    assert len(set(run("sleep", None, [0.1], 3))) == 1
    numbers = set(run("sleep", None, [0.1] * 9, 3))
    assert len(numbers) == 3
    assert os.getpid() not in numbers


def test_few_items_are_read_ahead(run: Run) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = run("times", 1, items(), 2)
    assert next(results) == 0
    assert len(taken) < 12
    assert [next(results) for _ in range(10)] == list(range(1, 11))
    assert len(taken) < 22
    results.close()


def test_large_items_and_results_fill_no_pipe_for_ever(run: Run) -> None:
    items = [bytes([number]) * 3_000_000 for number in range(8)]
    assert [len(result) for result in run("times", 2, items, 2)] == [6_000_000] * 8


def test_after_a_pause_all_results_are_there_before_the_next_item_is_asked_for(
    run: Run,
) -> None:
    seen: list[int] = []

    def items() -> Iterator[Any]:
        yield from (1, 2, 3, PAUSE)
        assert seen == [1, 2, 3]
        yield 4

    for processes in (1, 2):
        seen.clear()
        for result in run("times", 1, items(), processes):
            seen.append(result)
        assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_package_is_raised_as_itself_after_earlier_results(run: Run, processes: int) -> None:
    results = run("fail_at", 5, range(100), processes)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(CorpusError, match="a file: item 5") as caught:
        next(results)
    assert caught.value.hint == "a hint"


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_items_is_raised_after_earlier_results(run: Run, processes: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise CorpusError("stdin", "it cannot be read")

    results = run("times", 1, items(), processes)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(CorpusError, match="stdin: it cannot be read"):
        next(results)


def test_another_exception_names_the_line_in_the_worker(run: Run) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(run("divide", None, [0], 2))
    assert "functions_of_tests.py" in "".join(caught.value.__notes__)
    with pytest.raises(RuntimeError, match="Odd"):  # it cannot be made again here
        list(run("odd", None, [0], 2))


def test_settings_that_are_refused_are_refused_here(run: Run) -> None:
    with pytest.raises(CorpusError, match="settings: they are wrong"):
        list(run("prepare_badly", None, range(9), 2))


def test_a_killed_worker_is_one_clear_error(run: Run) -> None:
    results = run("die", 4, range(100), 2)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(RunError, match="ended by SIGKILL") as caught:
        next(results)
    assert "--processes 1" in caught.value.hint


@linux
def test_no_worker_is_left_when_the_results_are_given_up(run: Run) -> None:
    results = run("sleep", None, [0.0, 0.0, *[60.0] * 6], 2)
    processes = {next(results), next(results)}
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 2
    assert not any(map(_is_alive, processes))


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(run: Run, number: int) -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from nlpseq.workers import in_order\n"
        "for result in in_order('functions_of_tests:sleep', None, [0.0, 0.0, *[60.0] * 6], 2):\n"
        "    print(result, flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        processes = {int(parent.stdout.readline()), int(parent.stdout.readline())}
        assert all(map(_is_alive, processes))
        parent.send_signal(number)
        assert parent.wait(10)
    assert _gone(processes)


def test_what_a_worker_prints_or_reads_disturbs_nothing(run: Run) -> None:
    assert list(run("talk", None, range(5), 2)) == [""] * 5


def test_workers_share_the_cores(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert next(run("threads", None, [0], 2)) == str(max(1, available_cores() // 2))
    assert next(run("threads", None, [0], 1000)) == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert next(run("threads", None, [0], 2)) == "1"
