"""Lines about reading where there is no terminal: not at once, and none about nothing."""

from __future__ import annotations

import pytest

from nlpseq.commands.training import screen
from nlpseq.commands.training.screen import EVERY_SECONDS, open_screen


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_line_about_reading_comes_ten_seconds_after_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Time()
    monkeypatch.setattr(screen, "time", clock)
    shown = open_screen(quiet=False, json=False)
    shown.say("1 of 2")
    clock.now += 50 * EVERY_SECONDS  # of training, which the screen was not told of
    shown.say("2 of 2")
    shown.read("reading", 500, None)
    clock.now += EVERY_SECONDS
    shown.read("reading", 0, None)
    assert capsys.readouterr().err == "1 of 2\n2 of 2\n"
    shown.read("reading", 1000, None)
    shown.read("reading", 1001, None)
    assert capsys.readouterr().err == "reading: 1,000\n"
    assert shown.width is None
