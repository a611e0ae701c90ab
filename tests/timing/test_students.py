"""The speed of models side by side: as many rounds as there is time for."""

from __future__ import annotations

import pytest

from nlpseq.timing.students import FEWEST_ROUNDS, MOST_ROUNDS, rounds_in


@pytest.mark.parametrize(
    ("round_seconds", "rounds"), [(0.1, 39), (0.2, 19), (0.11, 35), (100.0, FEWEST_ROUNDS), (0.0, MOST_ROUNDS)]
)
def test_rounds_take_a_few_seconds_and_their_number_is_odd(round_seconds: float, rounds: int) -> None:
    assert rounds_in(4.0, round_seconds) == rounds
