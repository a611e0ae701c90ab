"""Times in words."""

from __future__ import annotations

import pytest

from nlpseq.training.progress import duration


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0.0786269, "4.7 seconds"),
        (0.1, "6 seconds"),
        (1 / 60, "1 second"),
        (1, "1 minute"),
        (4.7126, "4.7 minutes"),
        (120.0, "120 minutes"),
    ],
)
def test_times_are_rounded_and_have_a_unit(minutes: float, words: str) -> None:
    assert duration(minutes) == words
