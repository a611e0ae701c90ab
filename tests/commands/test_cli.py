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
from nlpseq.models.model_file import load_model
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


def test_a_flag_may_be_repeated_if_help_is_asked_for(nlpseq: Run) -> None:
    assert nlpseq("generate", "-m", "a", "-m", "b", "--help").exit_code == 0


def test_the_version_is_shown(nlpseq: Run) -> None:
    assert nlpseq("--version").stdout == f"nlpseq {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["genrate"], "nlpseq: there is no command 'genrate'\nhint:  did you mean generate?\n"),
        (["train", "lmm"], "nlpseq train: there is no command 'lmm'\nhint:  did you mean lm?\n"),
        (["xyzzy"], "nlpseq: there is no command 'xyzzy'\nhint:  nlpseq --help\n"),
        (["--nonsense"], "nlpseq: there is no option --nonsense\nhint:  nlpseq --help\n"),
        (["generate", "-x"], "nlpseq generate: there is no option -x\nhint:  nlpseq generate --help-all\n"),
        (
            ["train", "lm", "--minuts", "3"],
            "nlpseq train lm: there is no option --minuts\nhint:  did you mean --minutes?\n",
        ),
        (["train", "lm", "--hiden-size", "3"], "there is no option --hiden-size\nhint:  did you mean --hidden-size?\n"),
        (["train", "lm", "--minutes"], "nlpseq train lm: --minutes needs a value\nhint:  nlpseq train lm --help\n"),
        (["generate", "--seed"], "nlpseq generate: --seed needs a value\nhint:  nlpseq generate --help\n"),
        (["classify", "-m"], "nlpseq classify: -m needs a value\nhint:  nlpseq classify --help\n"),
        (["generate", "--json=3"], "nlpseq generate: --json takes no value\nhint:  nlpseq generate --help\n"),
        (["generate", "-m", "a", "--model", "b"], "--model: takes one value, was set 2 times"),
        (
            ["generate", "surplus"],
            "nlpseq generate: unexpected argument surplus\nhint:  nlpseq generate --seed surplus\n",
        ),
        (["corpus", "show"], "nlpseq corpus show: CORPUS is missing\nhint:  nlpseq corpus show --help\n"),
        (["generate", "--length", "many"], "--length: must be a whole number, was 'many'\n"),
        (["generate", "--length", "0"], "--length: must be at least 1, was 0\n"),
        (["generate", "-n", "0"], "--samples: must be at least 1, was 0\n"),
        (["generate", "--temperature", "hot"], "--temperature: must be a number, was 'hot'\n"),
        (["generate", "--temperature", "-1"], "--temperature: must be at least 0, was -1"),
        (["generate", "--device", "gpu"], "--device: must be one of cpu, cuda, was 'gpu'\nhint:  did you mean cuda?\n"),
        (["train", "lm", "--tokens", "characters"], "bpe, was 'characters'\nhint:  did you mean char?\n"),
        (["train", "lm", "--precision", "bfloat16"], "fp16, was 'bfloat16'\nhint:  did you mean bf16?\n"),
        (["train", "lm", "--cell", "lsmt"], "minlstm, was 'lsmt'\nhint:  did you mean lstm?\n"),
        (["train", "lm", "--dropout", "20"], "--dropout: must be below 1, was 20.0\nhint:  --dropout 0.2\n"),
        (["classify", "--threshold", "90"], "--threshold: must be at most 1, was 90.0\nhint:  --threshold 0.9\n"),
        (["classify", "--threshold", "1.5"], "--threshold: must be at most 1, was 1.5\n"),
        (["train", "lm", "--cell", "lstm", "--activation", "relu"], "is an option of the rnn cell"),
    ],
)
def test_wrong_usage_is_told_in_one_line_with_status_2(nlpseq: Run, arguments: list[str], said: str) -> None:
    done = nlpseq(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.endswith(said) or "\n" not in said
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
        (OSError(5, "Input/output error"), 1, "error: nlpseq: Input/output error\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "error: nlpseq: No space left on device\nhint:  free some space on the disk, then run the command again\n",
        ),
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
    assert complete("nlpseq train lm --help").split() == ["--help", "--help-all"]


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


@posix
def test_a_ctrl_c_outside_the_command_ends_it_without_a_traceback() -> None:
    program = """
import os, signal, sys
from nlpseq.__main__ import main
from nlpseq.commands import cli
cli.Program.main = lambda *rest, **extra: os.kill(os.getpid(), signal.SIGINT)
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (130, "")


@posix
def test_a_ctrl_c_after_the_command_changes_nothing() -> None:
    program = """
import os, signal, sys
from nlpseq.__main__ import main
sys.argv[1:] = ["--version"]
try:
    main()
finally:
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_itself_imports_nothing_that_takes_long() -> None:
    program = "import sys; before = set(sys.modules); import nlpseq; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"nlpseq", "__future__"}


SMALL_RUN = [
    "train",
    "lm",
    "text.txt",
    "--steps",
    "2",
    "--hidden-size",
    "8",
    "--embedding-size",
    "4",
    "--device",
    "cpu",
]


@posix
@pytest.mark.parametrize("standard_error", ["2>/dev/full", "2>&-"])
def test_training_goes_on_without_standard_error(tmp_path: Path, standard_error: str) -> None:
    if "full" in standard_error and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    (tmp_path / "text.txt").write_text("the cat sat on the mat.\n" * 400)
    command = f"{shlex.join([*PROGRAM, *SMALL_RUN, '--out', 'run'])} {standard_error}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0
    assert done.stdout.startswith("run/model.safetensors  2 steps in ")
    assert load_model(tmp_path / "run").task == "language-model"
