"""Help: what it shows on a screen and a half, what --help-all shows, and how it is laid out on any terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from nlpseq.commands import cli
from nlpseq.commands.flags import application, command
from nlpseq.options import option

Run = Callable[..., Result]

LINES = 36  # a screen and a half of 24 lines
SPLIT = ["train lm", "train sentiment", "train translation", "generate", "translate", "evaluate"]


def _commands() -> Iterator[tuple[str, Any]]:
    """The words of the program itself, of every group and of every command, each with its command."""
    program: Any = typer.main.get_command(cli.app)
    yield "", program
    for name in cli.COMMANDS:
        found = program.get_command(None, name)
        yield name, found
        yield from ((f"{name} {inner}", made) for inner, made in getattr(found, "commands", {}).items())


COMMANDS = dict(_commands())
GROUPS = [words for words, found in COMMANDS.items() if hasattr(found, "list_commands")]


def _help(nlpseq: Run, words: str, flag: str = "--help", columns: int = 80) -> str:
    shown = nlpseq(*words.split(), flag, env={"COLUMNS": str(columns)})
    assert (shown.exit_code, shown.stderr) == (0, "")
    return shown.stdout


@pytest.mark.parametrize("words", COMMANDS)
def test_help_fits_on_a_screen_and_a_half(nlpseq: Run, words: str) -> None:
    assert len(_help(nlpseq, words).splitlines()) <= LINES


@pytest.mark.parametrize("columns", [100, 80, 40])
@pytest.mark.parametrize("words", COMMANDS)
def test_no_line_is_wider_than_the_terminal(nlpseq: Run, words: str, columns: int) -> None:
    for flag in ("--help", "--help-all"):
        lines = _help(nlpseq, words, flag, columns).splitlines()
        assert [line for line in lines if len(line) > columns] == []


@pytest.mark.parametrize("words", COMMANDS)
def test_help_all_shows_every_option(nlpseq: Run, words: str) -> None:
    shown = _help(nlpseq, words, "--help-all")
    for parameter in COMMANDS[words].params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            flags = {flag.removeprefix("--") for flag in parameter.opts if flag.startswith("--")}
            assert any(re.search(rf"--(\[no-\])?{flag}\b", shown) for flag in flags), parameter.name
            assert parameter.help.split()[0].strip(".") in shown


@pytest.mark.parametrize("words", SPLIT)
def test_a_long_help_shows_fewer_options_and_ends_with_the_way_to_the_others(nlpseq: Run, words: str) -> None:
    short, whole = _help(nlpseq, words), _help(nlpseq, words, "--help-all")
    assert short.endswith(f"\n\n  nlpseq {words} --help-all shows the other options.\n")
    flags = [set(re.findall(r"^  (?:-\w, )?(--\S+)", text, re.MULTILINE)) for text in (short, whole)]
    assert flags[0] and flags[0] < flags[1]
    assert "--help-all" in flags[1]


def test_the_help_of_training_shows_what_most_people_set(nlpseq: Run) -> None:
    shown = _help(nlpseq, "train lm")
    for flag in ("--minutes", "--steps", "--out", "--hidden-size", "--learning-rate", "--tokens", "--device"):
        assert f"  {flag} " in shown
    for heading in ("Arguments:", "Options:", "Model:", "Training:"):
        assert f"\n\n{heading}\n" in shown
    assert "--zoneout" not in shown


@pytest.mark.parametrize("words", ["corpus list", "tokenize", "", "bench cells"])
def test_a_help_that_fits_is_the_same_with_help_all(nlpseq: Run, words: str) -> None:
    shown = _help(nlpseq, words)
    whole = re.sub(r"\s+\[variable:\s+\w+\]", "", _help(nlpseq, words, "--help-all"))
    assert shown == whole == _help(nlpseq, words, "-h")
    assert "--help-all" not in shown


@pytest.mark.parametrize("words", GROUPS)
def test_a_group_alone_shows_its_help(nlpseq: Run, words: str) -> None:
    shown = nlpseq(*words.split())
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout == _help(nlpseq, words)


@pytest.mark.parametrize(
    ("words", "command"),
    [("help", ""), ("help train lm", "train lm"), ("train help lm", "train lm"), ("help corpus", "corpus")],
)
def test_help_is_a_command_too(nlpseq: Run, words: str, command: str) -> None:
    assert nlpseq(*words.split()).stdout == _help(nlpseq, command)


def test_help_of_an_unknown_command_names_the_right_one(nlpseq: Run) -> None:
    done = nlpseq("help", "predict")
    assert done.exit_code == 2
    assert done.stderr.endswith("hint:  nlpseq classify --help\n")


LONG = ("alpha", "beta", "gamma", "delta", "epsilon")


@dataclass(frozen=True, kw_only=True)
class Letters:
    """Options whose rows have all shapes."""

    kind: str = option("alpha", "sort of letter", choices=LONG, usual=True)
    side: str = option("left", "side of the page", choices=("left", "right"))
    with_a_very_long_name: bool = option(False, "whether its name is long")
    number: int = option(3, "first clause; second clause [default: by kind]", usual=True)
    choice: str = option("beta", "first clause; second clause", choices=LONG, metavar="LETTER")


@pytest.fixture
def letters() -> Callable[..., str]:
    """`letters("--help", columns)`: the help of a command with the options of Letters."""
    app = application("Letters.")

    @command(app)
    def write(*, letters: Letters) -> None:
        """Write letters."""

    def shown(flag: str, columns: int = 80) -> str:
        return CliRunner().invoke(app, [flag], env={"COLUMNS": str(columns)}, catch_exceptions=False).stdout

    return shown


def test_choices_are_in_the_text_if_they_are_long(letters: Callable[..., str]) -> None:
    shown = " ".join(letters("--help").split())
    assert " --kind KIND Sort of letter: one of alpha, beta, gamma, delta, epsilon. [default: alpha] " in shown
    assert " --side <left|right> Side of the page. [default: left] " in shown
    assert " --choice LETTER First clause; second clause. One of alpha, beta, gamma, delta, epsilon." in shown


def test_a_long_flag_has_its_text_below(letters: Callable[..., str]) -> None:
    lines = letters("--help").splitlines()
    place = lines.index("  --[no-]with-a-very-long-name")
    assert lines[place + 1].strip() == "Whether its name is long."
    assert lines[place + 1].index("W") == lines[place - 1].index("Side")


def test_on_a_narrow_terminal_every_text_is_below_its_flag(letters: Callable[..., str]) -> None:
    lines = letters("--help", 40).splitlines()
    place = lines.index("  --side <left|right>")
    assert lines[place + 1] == "      Side of the page. [default: left]"


@pytest.mark.parametrize("columns", [1, 20, 39, 61, 1000])
def test_help_is_written_on_any_terminal(letters: Callable[..., str], columns: int) -> None:
    shown = letters("--help", columns)
    assert "".join(shown.split()).count("Sortofletter:oneofalpha,beta,gamma,delta,epsilon.") == 1
    assert max(map(len, shown.splitlines())) <= 100


def test_a_line_of_an_example_goes_on_after_a_backslash(nlpseq: Run) -> None:
    shown = _help(nlpseq, "evaluate", columns=40)
    joined = re.sub(r" \\\n +", " ", shown)
    assert "\n    nlpseq evaluate -m checkpoints/translation --source test.en --target test.de\n" in joined
    assert joined != shown
