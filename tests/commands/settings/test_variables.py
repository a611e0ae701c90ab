"""Variables of the environment are defaults of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nlpseq import process
from nlpseq.commands.cli import app
from nlpseq.commands.settings.variables import KNOWN, misspelled, number_of_threads
from nlpseq.errors import ConfigError

LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def test_device_and_quiet_are_defaults(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPSEQ_DEVICE", "cpu")
    monkeypatch.setenv("NLPSEQ_QUIET", "yes")
    request = ask("lm")
    assert (request.training.device, ask.quiet) == ("cpu", [True])
    assert "device" in request.given


def test_command_line_wins_over_a_variable_and_a_variable_over_a_file(
    ask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text("quiet = true\n[training]\ndevice = 'auto'\n")
    assert ask("lm", "--config", config).training.device == "auto"
    monkeypatch.setenv("NLPSEQ_DEVICE", "cpu")
    monkeypatch.setenv("NLPSEQ_QUIET", "0")
    assert ask("lm", "--config", config).training.device == "cpu"
    assert ask("lm", "--config", config, "--device", "cuda").training.device == "cuda"
    assert ask.quiet == [True, False, False]


@pytest.mark.parametrize("value", ["auto", "cpu", " CPU ", ""])
def test_device_that_a_filter_does_not_have_leaves_its_default(
    value: str, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPSEQ_DEVICE", value)
    done = CliRunner().invoke(app, ["score", "-m", str(model_path)], input="a\n", catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "said", "hint"),
    [
        ("NLPSEQ_DEVICE", "gpu", "must be one of auto, cpu, cuda, was 'gpu'", "did you mean cuda?"),
        ("NLPSEQ_DEVICE", "tpu:1", "must be one of auto, cpu, cuda, was 'tpu:1'", "unset NLPSEQ_DEVICE"),
        ("NLPSEQ_QUIET", "maybe", "must be 1 or 0, was 'maybe'", "export NLPSEQ_QUIET=1"),
        ("NLPSEQ_THREADS", "0", "must be a whole number from 1 to 1024, was '0'", "unset NLPSEQ_THREADS"),
        ("NLPSEQ_THREADS", "two", "must be a whole number from 1 to 1024, was 'two'", "unset NLPSEQ_THREADS"),
    ],
)
def test_value_that_cannot_be_names_the_variable(
    ask: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str, hint: str
) -> None:
    monkeypatch.setenv(name, value)
    assert ask.refused("train", "lm") == f"error: {name}: {said}\nhint:  {hint}\n"


def test_limits_of_an_option_name_the_variable(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.setenv("NLPSEQ_DEVICE", "cuda")
    done = CliRunner().invoke(app, ["score", "-m", str(model_path)], input="a\n", catch_exceptions=False)
    assert done.stderr.startswith("error: NLPSEQ_DEVICE: cuda cannot be used")


@pytest.mark.parametrize("value", ["-1", "1.5", "1e3", "²", "9" * 5000, "1025", "0x2"])
def test_number_of_threads_is_a_small_whole_number(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^NLPSEQ_THREADS: "):
        number_of_threads({"NLPSEQ_THREADS": value})


def test_number_of_threads_may_be_left_open() -> None:
    assert number_of_threads({}) is None
    assert number_of_threads({"NLPSEQ_THREADS": " "}) is None
    assert number_of_threads({"NLPSEQ_THREADS": " 3 "}) == 3


def test_threads_of_all_libraries_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LIBRARIES:
        monkeypatch.setenv(name, "7")
    process.use_threads(2)
    assert [os.environ[name] for name in LIBRARIES] == ["2", "2", "2"]


def test_threads_are_set_before_libraries_are_loaded(model_path: Path) -> None:
    """Compiled code, which tells how many threads it has."""
    pytest.importorskip("nlpseq.native.extension")
    program = (
        "import sys; from nlpseq.commands.cli import app; import typer; assert 'numpy' not in sys.modules\n"
        "typer.main.get_command(app).main(['score', '-m', sys.argv[1]], standalone_mode=False)\n"
        "from nlpseq.native import extension; print(extension.threads())\n"
    )
    environment = {**os.environ, "NLPSEQ_THREADS": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(model_path)], input="", capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_misspelled_variable_is_noted(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPSEQ_DEVCE", "cuda")
    done = CliRunner().invoke(app, ["train", "lm"], catch_exceptions=False)
    assert done.stderr == "note: the variable NLPSEQ_DEVCE is not known: NLPSEQ_DEVICE is\n"
    assert CliRunner().invoke(app, ["train", "lm", "-q"], catch_exceptions=False).stderr == ""


def test_only_names_that_resemble_ours_are_noted() -> None:
    assert misspelled({"NLPSEQ_HOME": "x", "DEVICE": "x", **dict.fromkeys(KNOWN, "1")}) == {}
    assert misspelled({"NLPSEQ_THREAD": "1"}) == {"NLPSEQ_THREAD": "NLPSEQ_THREADS"}


@pytest.mark.parametrize("command", [["classify"], ["train", "lm"]])
def test_help_names_the_variables(command: list[str]) -> None:
    shown = " ".join(CliRunner().invoke(app, [*command, "--help-all"]).stdout.split())
    assert "[variable: NLPSEQ_DEVICE]" in shown
    assert "[variable: NLPSEQ_QUIET]" in shown
