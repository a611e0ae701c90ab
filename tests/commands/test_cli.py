"""The program as a whole: what it imports, how it ends, what it says of wrong usage."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import Result

from nlpseq import __version__
from nlpseq.commands import cli
from nlpseq.errors import Interrupted, NlpseqError, OptionError
from nlpseq.text.lines import ReaderGone

Run = Callable[..., Result]
PROGRAM = [sys.executable, "-m", "nlpseq"]


def test_help_names_every_command(nlpseq: Run) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        shown = nlpseq(*arguments)
        assert shown.exit_code == 0
        for name, help in cli.COMMANDS.items():
            assert f"{name} " in shown.stdout
            assert help in shown.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_can_be_asked_for_help(nlpseq: Run, name: str) -> None:
    shown = nlpseq(name, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: nlpseq {name} ")


def test_the_version_is_shown(nlpseq: Run) -> None:
    assert nlpseq("--version").stdout == f"nlpseq {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["genrate"], "did you mean generate?"),
        (["xyzzy"], "xyzzy"),
        (["--nonsense"], "--nonsense"),
        (["generate", "--lenght", "3"], "--length"),
        (["generate", "surplus"], "surplus"),
        (["tokenize"], "Missing command"),
        (["corpus", "show"], "CORPUS"),
        (["generate", "--length", "many"], "'many' is not a whole number"),
        (["generate", "--length", "0"], "must be at least 1, was 0"),
        (["generate", "--temperature", "hot"], "'hot' is not a number"),
        (["generate", "--temperature", "-1"], "must be at least 0, was -1"),
        (["train", "lm", "--cell", "lsmt"], "did you mean lstm?"),
        (["train", "lm", "--cell", "lstm", "--activation", "relu"], "is an option of the rnn cell"),
    ],
)
def test_wrong_usage_is_told_in_one_line_with_status_2(nlpseq: Run, arguments: list[str], said: str) -> None:
    done = nlpseq(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (NlpseqError("here", "is wrong", "do this"), 1, "error: here: is wrong\nhint:  do this\n"),
        (OptionError("--here", "is wrong"), 2, "error: --here: is wrong\n"),
        (NlpseqError("a\nb\x1b[31m", "is [red]odd[/red]"), 1, "error: a\\nb\\x1b[31m: is [red]odd[/red]\n"),
        (ReaderGone(), 0, ""),
        (KeyboardInterrupt(), 130, ""),
        (Interrupted(signal.SIGTERM), 143, ""),
        (Interrupted(signal.SIGINT), 130, ""),
        (MemoryError(), 1, "error: nlpseq: there is not enough memory for this\n"),
        (OSError(28, "No space left on device"), 1, "error: nlpseq: No space left on device\n"),
        (typer.Exit(3), 3, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_is_raised_becomes_a_status(
    nlpseq: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, status: int, said: str
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.setattr(import_module("nlpseq.commands.corpus"), "BUNDLED", _Raising(fail))
    done = nlpseq("corpus", "list")
    assert (done.exit_code, done.stdout, done.stderr) == (status, "", said)


class _Raising(dict[str, object]):
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def values(self) -> None:  # type: ignore[override]
        self.fail()


def test_a_fault_of_the_program_is_not_hidden(nlpseq: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(import_module("nlpseq.commands.corpus"), "BUNDLED", _Raising(fail))
    with pytest.raises(ZeroDivisionError):
        nlpseq("corpus", "list")


IMPORTED = "import sys; from nlpseq.commands.cli import app; from typer.testing import CliRunner; "


def _imported_by(*arguments: str) -> set[str]:
    program = (
        f"{IMPORTED} done = CliRunner().invoke(app, {list(arguments)!r});"
        "assert done.exit_code == 0, done.output; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_imports_no_library() -> None:
    assert not _imported_by("--help") & {"torch", "numpy", "datasets", "rich", "pydantic", "safetensors"}


def test_generating_imports_nothing_heavy(model_path: Path) -> None:
    imported = _imported_by("generate", "-m", str(model_path), "--seed", "hello", "--length", "5")
    assert "numpy" in imported
    assert not imported & {"torch", "datasets", "rich", "pydantic", "sentencepiece", "sacrebleu", "pyarrow"}


def test_the_help_of_train_does_not_import_torch() -> None:
    assert not _imported_by("train", "lm", "--help") & {"torch", "datasets", "rich"}


def test_completion_knows_commands_and_flags() -> None:
    def complete(words: str) -> str:
        told = {"_NLPSEQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return subprocess.run(PROGRAM, env={**os.environ, **told}, capture_output=True, text=True).stdout

    assert complete("nlpseq ge").split() == ["generate"]
    assert complete("nlpseq generate --temp").split() == ["--temperature"]


posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")


@posix
def test_a_reader_that_goes_ends_the_program_quietly() -> None:
    program = shlex.join(PROGRAM)
    script = f"{program} corpus show python-docs | head -1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=180)
    assert (done.stdout, done.stderr) == ("0\n", "")


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["corpus", "show", "stories"], ["--help"]], ids=" ".join)
def test_a_full_disk_is_told_in_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=180)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@posix
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_program_with_their_status(model_path: Path, number: int, status: int) -> None:
    waiting = subprocess.Popen(
        [*PROGRAM, "score", "-m", str(model_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert waiting.stdin and waiting.stdout
    waiting.stdin.write(b"one\n")
    waiting.stdin.flush()
    assert waiting.stdout.readline().count(b"\t") == 3  # typing gets its answer while standard input is open
    waiting.send_signal(number)
    _, said = waiting.communicate(timeout=180)
    assert (waiting.returncode, said) == (status, b"")


@posix
@pytest.mark.parametrize(("ignored", "status"), [(False, -signal.SIGINT), (True, 0)])
def test_a_ctrl_c_while_the_program_is_imported_ends_it_without_a_traceback(ignored: bool, status: int) -> None:
    program = """
import builtins, os, signal, sys
def interrupted(name, *rest, imported=builtins.__import__):
    if name == "typer":
        os.kill(os.getpid(), signal.SIGINT)
    return imported(name, *rest)
if len(sys.argv) > 1:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
builtins.__import__ = interrupted
from nlpseq.__main__ import main
sys.argv[1:] = ["--version"]
main()
"""
    started = [sys.executable, "-c", program, *["ignore"] * ignored]
    done = subprocess.run(started, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (status, "")
