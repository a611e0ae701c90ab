"""What a training run shows and writes, that it goes on when nothing can be shown, and how a signal ends it."""

from __future__ import annotations

import io
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nlpseq.commands.training.display import show_training
from nlpseq.commands.training.lines import as_event, best_result, describe, describe_validation
from nlpseq.errors import Interrupted, RunError
from nlpseq.tasks import TASKS
from nlpseq.text.lines import ReaderGone
from nlpseq.training.progress import Progress
from nlpseq.training.repeating import resuming

STEP = Progress(
    step=31,
    total=40,
    loss=2.0,
    gradient_norm=1.0,
    tokens=8,
    tokens_per_second=80.0,
    seconds_left=3.0,
    rate=0.1,
)
VALIDATION = replace(STEP, validation=2.5, best=True)
NOTE = replace(STEP, loss=math.nan, gradient_norm=math.nan, note="back to step 3")
SCORES = {"loss": 1.5, "perplexity": None, "signature": "loss|unit:token"}
LENGTH = {"steps": 40, "best_step": 31, "seconds": 1.5}
RESULT = {"model": "m.safetensors", "task": "language-model", **LENGTH, "valid": SCORES}
LINE = (
    "m.safetensors  40 steps (best after 31) in 1.5 s  validation (all): loss 1.5000  perplexity none\n"
    "loss|unit:token\n"
)


class LostTerminal(io.StringIO):
    """A terminal that is closed after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes_left = writes

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise OSError(5, "Input/output error")
        return super().write(text)


@dataclass
class FakeRun:
    """A run that trains nothing."""

    folder: SimpleNamespace
    steps: list[Progress]
    name: str = "language-model"
    sample: Callable[[], str | None] = lambda: "the [cat]\x1b[2J"
    stops: Callable[[], object] = lambda: None  # called after the last step
    scores: Callable[[], object] = lambda: None  # called by the final evaluation

    def __post_init__(self) -> None:
        self.notes = ["a note"]
        self.run = SimpleNamespace(step=31, signal_number=None)
        self.again = resuming(TASKS[self.name], self.folder.path)

    @property
    def is_saved(self) -> bool:
        return bool(self.folder.resume.exists())

    def summary(self) -> str:
        return "a summary"

    def chosen(self) -> str:
        return "chosen values"

    def progress(self) -> Iterator[Progress]:
        yield from self.steps
        self.stops()

    def finish(self) -> dict[str, Any]:
        self.scores()
        return RESULT

    def endings(self) -> list[str]:
        return ["try: nlpseq generate -m m"]


Show = Callable[..., None]


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """`show([STEP], json=True)`: show a run of these steps; `prepare` is what the run does to read its corpus."""

    def show(
        steps: list[Progress],
        *,
        quiet: bool = False,
        json: bool = False,
        files: tuple[str, ...] = (),
        resume: bool = False,
        task: str = "language-model",
        folder: Path = tmp_path,
        prepare: Callable[[Any], object] = lambda watch: None,
        **parts: Any,
    ) -> None:
        def make(request: Any, started: float, watch: Any, processes: Any) -> FakeRun:
            prepare(watch)
            return FakeRun(SimpleNamespace(path=folder, resume=folder / "resume.safetensors"), steps, task, **parts)

        request = SimpleNamespace(
            resume=resume,
            overwrite=not resume,
            out=folder,
            valid=(),
            files=lambda: files,
            all_files=lambda: files,
            files_before=lambda: (),
            given=frozenset(),
            processes=1,
        )
        fake: Any = SimpleNamespace(corpus="stories", load=lambda what: make)
        show_training(fake, request, 0.0, quiet=quiet, json=json)  # type: ignore[arg-type]

    return show


def test_a_run_is_told_in_lines_without_a_terminal(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    show([STEP, STEP, VALIDATION])
    told = capsys.readouterr()
    assert told.out == LINE
    assert told.err.splitlines() == [
        "reading stories",
        "a summary",
        "chosen values",
        "note: a note",
        "step 31/40  training 2.0000  perplexity 7.39  80 tokens/s  gradient 1.00  0:03 left",
        "step 31/40  training 2.0000  perplexity 7.39  80 tokens/s  gradient 1.00  0:03 left  "
        "validation (quick) 2.5000 (best)",
        "  sample: 'the [cat]\\x1b[2J'",
        "try: nlpseq generate -m m",
    ]


def test_a_quiet_run_writes_its_result_only(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    show([STEP, VALIDATION], quiet=True, sample=lambda: pytest.fail("a sample that no reader sees"))
    assert capsys.readouterr() == (LINE, "")


def test_the_first_line_names_the_corpora(
    show: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("a", "b\x1b[2J", "c", "d", "e")
    for name in names:
        (tmp_path / name).write_text("text")
    show([], files=names)
    assert capsys.readouterr().err.splitlines()[0] == "reading a, b\\x1b[2J, c and 2 more"


def test_the_first_line_is_written_before_torch_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom nlpseq.commands import output, cli\n"
        "def note(line, quiet=False):\n    print(line, 'torch' in sys.modules)\n    raise SystemExit\n"
        "output.note = note\nsys.argv = ['nlpseq', 'train', 'lm', 'stories', '--out', 'run']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=180)
    assert (done.stdout, done.stderr) == ("reading stories False\n", "")


# Programs read objects.


def test_objects_are_finite_and_the_last_is_the_result(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    show([STEP, STEP, replace(VALIDATION, score=math.inf, criterion="bleu"), NOTE], json=True)
    lines = capsys.readouterr().out.splitlines()
    objects = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in lines]
    assert [found.pop("event") for found in objects] == ["start", "note", "step", "validation", "note", "result"]
    start, first_note, step, validation, note, result = objects
    assert (start["task"], start["summary"], start["chosen"]) == ("language-model", "a summary", "chosen values")
    assert first_note["note"] == "a note"
    assert step == {
        "step": 31,
        "total": 40,
        "loss": 2.0,
        "gradient_norm": 1.0,
        "rate": 0.1,
        "unit": "token",
        "tokens": 8,
        "tokens_per_second": 80.0,
        "seconds_left": 3.0,
    }
    expected = {"validation_loss": 2.5, "criterion": "bleu", "score": None, "best": True}
    assert validation == {**step, **expected, "sample": "the [cat]\x1b[2J"}
    assert note == {"step": 31, "total": 40, "note": "back to step 3"}
    assert result == RESULT


@pytest.mark.parametrize("fault", [ReaderGone(), RunError("stdout", "it cannot be written: No space left")], ids=str)
def test_a_run_goes_on_without_a_reader_of_its_objects(
    show: Show, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    finished = []

    def fail(value: object) -> None:
        raise fault

    monkeypatch.setattr("nlpseq.commands.output.write_json", fail)
    with pytest.raises(type(fault)):
        show([VALIDATION], json=True, quiet=True, scores=lambda: finished.append(1))
    assert finished


# A terminal shows a bar.


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_the_bar_of_a_terminal_is_one_line(
    show: Show, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """The line itself is tested in test_training_bar.py."""
    terminal = LostTerminal(10**6)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    show([STEP, VALIDATION, NOTE])
    said = terminal.getvalue()
    assert capsys.readouterr().out == LINE
    assert "step 31/40  training 2.0000  validation (quick) 2.5000 (best)\n" in said
    assert "  sample: 'the [cat]\\x1b[2J'\n" in said
    assert "back to step 3\n" in said
    assert "evaluating" in said
    assert said.endswith("\x1b[2Ktry: nlpseq generate -m m\n"), "the bar is removed"


@pytest.mark.parametrize("writes", range(0, 24, 2))
def test_a_run_goes_on_without_its_terminal(
    show: Show, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], writes: int
) -> None:
    monkeypatch.setattr(sys, "stderr", LostTerminal(writes))
    show([STEP, VALIDATION, STEP], prepare=lambda watch: watch("reading", 1, 2))
    assert capsys.readouterr().out == LINE


def test_a_terminal_without_a_cursor_gets_lines(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = LostTerminal(10**6)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    show([STEP])
    assert "\x1b" not in terminal.getvalue() and "step 31/40" in terminal.getvalue()


# Reading.


def test_reading_is_told_every_ten_seconds(
    show: Show, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)

    def prepare(watch: Any) -> None:
        for done in range(1, 30):
            clock.now += 1
            watch("reading a\x1b.txt", done, 50 if done < 20 else None)

    show([], prepare=prepare)
    said = capsys.readouterr().err.splitlines()
    assert said[:4] == ["reading stories", "reading a\\x1b.txt: 20%", "reading a\\x1b.txt: 20", "a summary"]


# A sample that fails.


@pytest.mark.parametrize(
    ("fault", "reason"), [(IndexError("index 9\x1b"), "IndexError: index 9\\x1b"), (TypeError(), "TypeError: ")]
)
def test_a_sample_that_fails_does_not_end_the_run(
    show: Show, capsys: pytest.CaptureFixture[str], fault: Exception, reason: str
) -> None:
    def sample() -> str:
        raise fault

    show([VALIDATION], sample=sample)
    told = capsys.readouterr()
    assert f"  sample: none ({reason})" in told.err.splitlines() and told.out == LINE


# Signals.


def _kill(number: int) -> Callable[..., None]:
    return lambda *arguments: os.kill(os.getpid(), number)


posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])


def _interrupted() -> None:
    raise Interrupted(2)


@pytest.mark.parametrize("task", TASKS)
def test_a_stopped_run_says_how_to_continue_it(
    show: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "resume.safetensors").touch()
    with pytest.raises(Interrupted):
        show([STEP], stops=_interrupted, folder=folder, task=task, json=True)
    told = capsys.readouterr()
    said = told.err.splitlines()[-1]
    assert said.startswith("stopped at step 31; continue with: nlpseq train ")
    command = ["nlpseq", "train", TASKS[task].command, "--resume", "--out", str(folder)]
    assert shlex.split(said.partition(": ")[2]) == command
    event = json.loads(told.out.splitlines()[-1])
    assert (event["event"], event["step"], shlex.split(event["command"])) == ("stopped", 31, command)


def test_a_run_that_saved_nothing_cannot_be_continued(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Interrupted):
        show([STEP], stops=_interrupted)
    assert capsys.readouterr().err.endswith("stopped at step 31, before anything was saved for --resume\n")


@posix
@both
def test_a_signal_while_reading(show: Show, capsys: pytest.CaptureFixture[str], number: int) -> None:
    with pytest.raises(Interrupted) as stopped:
        show([STEP], prepare=_kill(number))
    assert stopped.value.signal_number == number
    assert capsys.readouterr() == ("", "reading stories\nstopped before the first step: nothing was trained\n")


@posix
def test_a_signal_before_a_run_goes_on(show: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "resume.safetensors").touch()
    with pytest.raises(Interrupted):
        show([STEP], prepare=_kill(signal.SIGINT), resume=True)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"continuing the run in {tmp_path}", "stopped before the next step: the run is as it was"]


@posix
@both
def test_a_signal_during_an_import_ends_the_program(number: int) -> None:
    """Whatever the library that is imported does with exceptions."""
    program = (
        "import os\nfrom nlpseq import process\nwith process.ending_at_once():\n"
        f"    try:\n        os.kill(os.getpid(), {number:d})\n        sum(range(1000))\n"
        "    except BaseException:\n        pass\nprint('dropped')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


@posix
@both
def test_a_signal_that_python_drops_while_reading(show: Show, capsys: pytest.CaptureFixture[str], number: int) -> None:
    class Dropping:
        def __del__(self) -> None:
            _kill(number)()
            sum(range(1000))  # the handler runs between two instructions

    def prepare(watch: Any) -> None:
        Dropping()

    with pytest.raises(Interrupted) as stopped:
        show([STEP], prepare=prepare)
    assert stopped.value.signal_number == number
    first, last = capsys.readouterr().err.splitlines()
    assert first == "reading stories" and last.startswith("stopped ")


@posix
@both
def test_a_signal_that_an_import_takes_for_its_own_fault(show: Show, number: int) -> None:
    def prepare(watch: Any) -> None:
        try:
            _kill(number)()
        except BaseException as error:
            raise ImportError("a library that cannot be imported") from error

    with pytest.raises(Interrupted) as stopped:
        show([STEP], prepare=prepare)
    assert stopped.value.signal_number == number


@posix
@both
def test_a_signal_in_the_last_step_or_the_final_evaluation(
    show: Show, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    (tmp_path / "resume.safetensors").touch()
    for parts in ({"stops": _kill(number)}, {"scores": _kill(number)}):
        with pytest.raises(Interrupted) as stopped:
            show([STEP], **parts)
        assert stopped.value.signal_number == number
        told = capsys.readouterr()
        assert told.out == "" and "stopped at step 31; continue with: nlpseq train lm --resume" in told.err


@posix
def test_signals_mean_afterwards_what_they_meant_before(show: Show) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    show([STEP], quiet=True)
    with pytest.raises(Interrupted):
        show([STEP], prepare=_kill(signal.SIGINT))
    assert before == ([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook)


@posix
def test_a_signal_that_is_ignored_stays_so_while_reading(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    held = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        show([STEP], prepare=_kill(signal.SIGINT), quiet=True)
    finally:
        signal.signal(signal.SIGINT, held)


@pytest.mark.parametrize(("criterion", "shown"), [("micro-f1", "micro-F1"), ("macro-f1", "macro-F1"), ("bleu", "bleu")])
def test_a_score_has_one_name_in_all_lines(criterion: str, shown: str) -> None:
    progress = replace(VALIDATION, score=12.5, criterion=criterion)
    assert best_result(progress) == f"best {shown} 12.50"
    for line in (describe(progress), describe_validation(progress)):
        assert f"  {shown} 12.50 (best)" in line
    assert as_event(progress, None)["criterion"] == criterion
