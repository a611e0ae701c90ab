"""Guesses of users of other programs, and the command lines that answer them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

from nlpseq.commands import cli
from nlpseq.commands.help import guesses
from nlpseq.commands.help.page import choices_of
from nlpseq.commands.settings import variables
from nlpseq.errors import NlpseqError

Run = Callable[..., Result]

VALUES = {"N": "300", "X": "0.5"}  # by what stands for the value in the help
PLAIN = ("--flag", guesses.ARGUMENT, guesses.READ, guesses.WRITE, guesses.LEAVE_OUT)
OF_THE_PROGRAM = "nlpseq"


def _commands() -> Iterator[tuple[str, Any]]:
    """The words of every command, and of the program itself, each with its command."""
    program: Any = typer.main.get_command(cli.app)
    yield OF_THE_PROGRAM, program
    for name in cli.COMMANDS:
        found = program.get_command(None, name)
        inner = getattr(found, "commands", None)
        if inner is None:
            yield f"nlpseq {name}", found
        else:
            yield from ((f"nlpseq {name} {word}", made) for word, made in inner.items())


COMMANDS = dict(_commands())


def _parse(line: str) -> str:
    """Parse a command line without running it; returns the words of its command. Raises what the program raises."""
    line = re.sub(r" [<>] \S+$", "", line)
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    path = max((path for path in COMMANDS if words[: len(path.split())] == path.split()), key=len)
    with suppress(typer.Exit):  # of --help and --version
        COMMANDS[path].make_context(path, words[len(path.split()) :])
    return path


def _flags(path: str) -> dict[str, Any]:
    command = COMMANDS[path]
    parameters = command.get_params(command.make_context(path, [], resilient_parsing=True))
    return {flag: parameter for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}


def _dashed(guess: str) -> str:
    return f"-{guess}" if len(guess) == 1 else f"--{guess}"


def _value(parameter: Any) -> str:
    """A value that a flag accepts."""
    choices = choices_of(parameter)
    return choices[0] if choices else VALUES.get(parameter.metavar, "some.txt")


@pytest.mark.parametrize("path", COMMANDS)
def test_every_answer_is_a_command_line_that_parses(path: str) -> None:
    Path("some.txt").touch()
    flags = _flags(path)
    for guess, answers in guesses.FLAGS.items():
        if _dashed(guess) in flags:
            continue
        answer = next((answer for answer in answers if answer in flags), None)
        takes_value = answer is not None and not flags[answer].is_flag
        value = _value(flags[answer]) if takes_value else "true"
        arguments = [parameter for parameter in flags.values() if parameter.param_type_name == "argument"]
        rest = ["some.txt"] if any(found.required for found in arguments) and guesses.ARGUMENT not in answers else []
        hint = _hint(path, [_dashed(guess), value, *rest])
        if hint.startswith("did you mean"):
            assert hint.removeprefix("did you mean ").removesuffix("?") in flags
        else:
            assert _parse(hint) == path or hint == "nlpseq --version"
        assert answer is None or hint == " ".join([path, answer, *[value] * takes_value, *rest])


def _hint(path: str, arguments: list[str]) -> str:
    with pytest.raises(NlpseqError) as raised:
        COMMANDS[path].make_context(path, arguments)
    assert raised.value.exit_status == 2
    return raised.value.hint


@pytest.mark.parametrize("answer", sorted({answer for answers in guesses.FLAGS.values() for answer in answers}))
def test_every_answer_exists_in_some_command(answer: str) -> None:
    flag, _, value = answer.partition(" ")
    if answer.endswith("="):
        assert answer.removesuffix("=") in variables.KNOWN
    elif flag.startswith("--"):
        takers = [parameters[flag] for parameters in map(_flags, COMMANDS) if flag in parameters]
        assert takers and all(value == "" or not parameter.is_flag for parameter in takers)
    elif answer not in PLAIN:
        _parse(answer)


@pytest.mark.parametrize(
    ("group", "guess", "answer"),
    [(group, guess, words[0]) for group, table in guesses.COMMANDS.items() for guess, words in table.items()],
)
def test_every_command_that_answers_a_guess_exists(nlpseq: Run, group: str, guess: str, answer: str) -> None:
    done = nlpseq(*group.split()[1:], guess, prog_name="nlpseq")
    hint = f"{group} {answer}"
    assert done.exit_code == 2
    assert done.stderr == f"error: {group}: there is no command '{guess}': use {answer}\nhint:  {hint}\n"
    assert nlpseq(*hint.split()[1:], *[] if answer.startswith("-") else ["--help"]).exit_code == 0


def test_no_guess_is_a_command_itself() -> None:
    for group, table in guesses.COMMANDS.items():
        names = cli.COMMANDS if group == OF_THE_PROGRAM else [path.split()[-1] for path in COMMANDS if group in path]
        assert set(table) & set(names) == set()


@pytest.mark.parametrize(
    ("typed", "use", "hint"),
    [
        ("train lm book.txt --lr 0.1", "use --learning-rate", "train lm book.txt --learning-rate 0.1"),
        ("train lm --lr=0.1 book.txt", "use --learning-rate", "train lm --learning-rate 0.1 book.txt"),
        ("train lm book.txt --lr", "use --learning-rate", "train lm book.txt --learning-rate X"),
        ("generate --temp 0.5", "use --temperature", "generate --temperature 0.5"),
        ("train lm --gpu book.txt", "use --device cuda", "train lm --device cuda book.txt"),
        ("train lm --gpu 0", "use --device cuda", "train lm --device cuda"),
        ("generate --cuda", "use --device cuda", "generate --device cuda"),
        ("generate --cpu", "use --device cpu", "generate --device cpu"),
        ("generate --prompt 'Once upon'", "use --seed", "generate --seed 'Once upon'"),
        ("generate --max-tokens 30", "use --length", "generate --length 30"),
        ("generate --max-length 30", "use --length", "generate --length 30"),
        ("translate --max-length 30", "use --longest", "translate --longest 30"),
        ("generate --n 3", "use --samples", "generate --samples 3"),
        ("train lm -o folder", "use --out", "train lm --out folder"),
        ("train lm --output folder", "use --out", "train lm --out folder"),
        ("classify in.txt --output out.tsv", "use > FILE", "classify in.txt > out.tsv"),
        ("-V", "use --version", "--version"),
        ("-v", "use --version", "--version"),
        ("generate -V", "use nlpseq --version", "--version"),
        ("generate --verbose", "leave it out", "generate"),
        ("train lm --input book.txt", "name CORPUS without an option", "train lm book.txt"),
        ("train lm --train book.txt --dev b.txt", "name CORPUS without an option", "train lm book.txt --dev b.txt"),
        ("train lm --early-stopping", "use --patience 3", "train lm --patience 3"),
        ("train lm --early-stopping 5", "use --patience 5", "train lm --patience 5"),
        ("train lm --early_stopping=true", "use --patience 3", "train lm --patience 3"),
        ("train lm --fp16 book.txt", "use --precision fp16", "train lm --precision fp16 book.txt"),
        ("train lm --layer-normalization true", "use --layer-normalisation", "train lm --layer-normalisation"),
        ("train lm --force book.txt", "use --overwrite", "train lm --overwrite book.txt"),
        ("train lm --force --overwrite book.txt", "use --overwrite", "train lm --overwrite book.txt"),
        ("train lm --out=a --output b", "use --out", "train lm --out=a"),
        ("train lm --valid a.txt --dev b.txt", "use --valid", "train lm --valid a.txt --valid b.txt"),
        ("generate -n5 --num-samples 3", "use --samples", "generate -n5"),
        ("generate -p 'Once upon'", "use --seed", "generate --seed 'Once upon'"),
        ("generate -t 0.5 -q", "use --temperature", "generate --temperature 0.5 -q"),
        ("train lm --seed 3", "use --random-seed", "train lm --random-seed 3"),
        ("train lm --Random_Seed 3", "use --random-seed", "train lm --random-seed 3"),
        ("generate --top_k 3", "use --top-k", "generate --top-k 3"),
        ("train lm -lr 0.1 -epoch 3", "use --learning-rate", "train lm --learning-rate 0.1 -epoch 3"),
        ("train lm -rnn_size 128", "use --hidden-size", "train lm --hidden-size 128"),
        ("generate -model here", "use --model", "generate --model here"),
        ("translate --greedy", "use --beam 1", "translate --beam 1"),
        ("predict 'a dull film'", "use classify", "classify 'a dull film'"),
        ("train classification a.tsv", "use sentiment", "train sentiment a.tsv"),
        ("train translator", "use translation", "train translation"),
    ],
)
def test_guesses_are_answered_with_a_command_line(nlpseq: Run, typed: str, use: str, hint: str) -> None:
    done = nlpseq(*shlex.split(typed), prog_name="nlpseq")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith(f": {use}\nhint:  nlpseq {hint}\n")


def test_a_variable_of_the_environment_comes_before_the_command(nlpseq: Run) -> None:
    done = nlpseq("train", "lm", "--threads", "4", prog_name="nlpseq")
    assert done.stderr.endswith("\nhint:  NLPSEQ_THREADS=4 nlpseq train lm\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "--beam-size", "5"], "hint:  nlpseq generate --help-all\n"),
        (["corpus", "list", "--lr", "5"], "hint:  nlpseq corpus list --help\n"),
        (["generate", "--temperatur", "5"], "hint:  did you mean --temperature?\n"),
    ],
)
def test_a_guess_that_the_command_has_nothing_for_is_left_to_its_help(
    nlpseq: Run, arguments: list[str], said: str
) -> None:
    done = nlpseq(*arguments)
    assert done.exit_code == 2
    assert done.stderr.endswith(said)


@pytest.mark.parametrize("arguments", [["-mstories"], ["-qh"], ["--seed", "-lm", "--help"], ["--help", "--", "-lr"]])
def test_short_flags_are_still_short_flags(nlpseq: Run, arguments: list[str]) -> None:
    done = nlpseq("generate", *arguments, "--help")
    assert done.exit_code == 0
