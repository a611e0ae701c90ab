"""What a training run shows on standard error, and that it goes on when nothing can be shown."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nlpseq.commands.training_display import show_training
from nlpseq.errors import Interrupted
from nlpseq.tasks import TASKS
from nlpseq.training.loop import Progress

STEP = Progress(
    step=31,
    total=40,
    loss=2.0,
    gradient_norm=1.0,
    tokens=8,
    tokens_per_second=80.0,
    seconds_left=3.0,
    rate=0.1,
    validation=2.5,
)


class LostTerminal(io.StringIO):
    """A terminal that was closed while the program ran."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes_left = writes

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise OSError(5, "Input/output error")
        return len(text)


def _run(folder: Path, *, steps: int, interrupted: bool = False, task: str = "language-model") -> Any:
    def progress() -> Iterator[Progress]:
        for _ in range(steps):
            yield STEP
        if interrupted:
            raise Interrupted(2)

    return SimpleNamespace(
        name=task,
        notes=["a note"],
        run=SimpleNamespace(step=31, signal_number=None),
        folder=SimpleNamespace(path=folder, resume=folder / "resume.safetensors"),
        summary=lambda: "a summary",
        sample=lambda: "the [cat]",
        progress=progress,
        finish=lambda: {"steps": steps},
    )


def test_a_run_is_shown_line_by_line_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_training(_run(tmp_path, steps=1), quiet=False) == {"steps": 1}
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[:2] == ["a summary", "note: a note"]
    assert lines[2].startswith("step 31/40  loss 2.0000  perplexity 7.39  80 tokens/s  gradient 1.00  0:03 left")
    assert lines[3:] == ["  sample 'the [cat]'"]


def test_a_quiet_run_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_training(_run(tmp_path, steps=2), quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("writes", range(0, 12, 2))
def test_a_run_goes_on_without_its_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    monkeypatch.setattr(sys, "stderr", LostTerminal(writes))
    assert show_training(_run(tmp_path, steps=3), quiet=False) == {"steps": 3}


@pytest.mark.parametrize("task", TASKS)
def test_a_stopped_run_says_how_to_continue_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "resume.safetensors").touch()
    with pytest.raises(Interrupted):
        show_training(_run(folder, steps=1, interrupted=True, task=task), quiet=False)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("stopped at step 31; continue with: nlpseq train ")
    command = ["nlpseq", "train", TASKS[task].command, "--resume", "--out", str(folder)]
    assert shlex.split(said.partition(": ")[2]) == command


def test_a_run_that_saved_nothing_cannot_be_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Interrupted):
        show_training(_run(tmp_path, steps=1, interrupted=True), quiet=False)
    assert capsys.readouterr().err.endswith("stopped at step 31, before anything was saved for --resume\n")
