"""A run that is not trained: what a command line asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nlpseq.commands.cli import app
from nlpseq.commands.settings.variables import KNOWN


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of our variables is set."""
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


class Asked:
    """The requests of runs that were asked for, and what the last command line answered."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.quiet: list[bool] = []
        self.done: Result | None = None

    def take(self, task: object, request: Any, started: float, *, quiet: bool, json: bool) -> None:
        """Stand in for training."""
        self.requests.append(request)
        self.quiet.append(quiet)

    def __call__(self, *arguments: object) -> Any:
        """The request of `nlpseq train ARGUMENTS`."""
        done = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return self.requests.pop()

    def refused(self, *arguments: object) -> str:
        """What a command line is refused with."""
        done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code in (1, 2)
        assert not self.requests
        return done.stderr


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """`ask("lm", "--steps", 5)`: the request that would be trained."""
    asked = Asked()
    monkeypatch.setattr("nlpseq.commands.train.show_training", asked.take)
    return asked


@pytest.fixture
def write() -> Callable[[str], Path]:
    """`write(text)`: the path of a run file with this text, in the current folder."""

    def make(text: str) -> Path:
        path = Path("run.toml")
        path.write_text(text, encoding="utf-8")
        return path

    return make
