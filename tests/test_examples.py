"""Every program in examples/ runs, says the same each time, and what it prints is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def _last_number(line: str) -> float:
    return float(re.findall(r"[-+0-9.e]+", line)[-1])


def _check_hello_world(lines: list[str]) -> None:
    right, reversed_ = (float(line.split()[1]) for line in lines[:2])
    assert right < 1.5 < 20 < reversed_
    assert lines[-1] == "generated: hello world, how are you?"


def _check_own_training_loop(lines: list[str]) -> None:
    assert lines[-1] == "generated: hello world, how are you?"


def _check_sine_wave(lines: list[str]) -> None:
    assert _last_number(lines[-1]) < 0.1  # a flat line is 0.71 away, and so is a wave that has lost its phase


def _check_regression(lines: list[str]) -> None:
    guessing, trained = (_last_number(line) for line in lines[-2:])
    assert trained < guessing / 5


def _check_by_hand(lines: list[str]) -> None:
    found = {line.split()[0]: [float(n) for n in re.findall(r"\d\.\de[-+]\d+", line)] for line in lines[1:]}
    assert set(found) == {"rnn", "lstm", "gru"}
    assert all(len(numbers) == 2 and max(numbers) < 1e-14 for numbers in found.values())


def _check_gradients(lines: list[str]) -> None:
    """At a distance of a hundred steps, in the order of the tables."""
    far = [[float(n) for n in re.findall(r"\d\.\de[-+]\d+", line)] for line in lines if line.startswith("     100")]
    (small_rnn, small_lstm, _), (straight_rnn, _, _), (large_rnn, _, _), (_, open_lstm, open_gru) = far
    assert small_rnn < small_lstm < 1e-6  # vanished
    assert 1e-3 < straight_rnn < 1
    assert large_rnn > 1e3  # exploded
    assert min(open_lstm, open_gru) > 0.1  # carried through open gates


CHECKS = {
    "hello_world": _check_hello_world,
    "own_training_loop": _check_own_training_loop,
    "sine_wave": _check_sine_wave,
    "regression": _check_regression,
    "by_hand": _check_by_hand,
    "gradients": _check_gradients,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_shows_what_it_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    CHECKS[path.stem](capsys.readouterr().out.splitlines())


def test_examples_are_a_page_long_and_listed() -> None:
    listed = (EXAMPLES[0].parent / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 90, path.name
        assert path.name in listed
