"""Wrong usage of a command in our own words: `WHERE: WHAT` and a hint, whichever version of Typer found the fault."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import typer

from nlpseq.errors import NlpseqError
from nlpseq.tasks import TASKS

UsageError: Any = typer.BadParameter.__base__  # Typer carries Click's under a private name

FILTERS = ("translate", "classify", "score", "encode", "decode", "check")
SYNONYMS = {"gpu": "cuda", **{task.name: task.command for task in TASKS.values()}}  # other words for a choice

ALIKE = 0.75  # how alike two words are of which the one is meant by the other; 1: equal


class WrongUsage(NlpseqError):
    """A command line that does not fit the command; `where` is the command."""

    exit_status = 2


def explained(error: Any, context: Any) -> WrongUsage:
    """A fault that Typer found on the command line of `context`."""
    path = context.command_path if context else "nlpseq"
    option: Any = getattr(error, "option_name", None)
    help = f"{path} --help"
    if hasattr(error, "possibilities"):
        return WrongUsage(path, f"there is no option {option}", did_you_mean(option, error.possibilities or ()) or help)
    if option is not None:
        takes_none = "does not take" in error.message
        return WrongUsage(path, f"{option} {'takes no value' if takes_none else 'needs a value'}", help)
    if hasattr(error, "param_type"):
        return WrongUsage(path, f"{label(error.param)} is missing", help)
    if isinstance(error, typer.BadParameter):
        return WrongUsage(label(error.param), error.message, help)
    extra = re.search(r"unexpected extra argument.* \((.+)\)$", error.message)
    if extra:
        reads_input = path.split()[-1] in FILTERS
        return WrongUsage(
            path, f"unexpected argument {extra[1]}", f"{path} < {extra[1].split()[0]}" if reads_input else help
        )
    if error.message == "Missing command.":
        names = ", ".join(context.command.list_commands(context))
        return WrongUsage(path, f"a command is missing: one of {names}", help)
    return WrongUsage(path, error.message, help)


def no_command(name: str, path: str, names: Iterable[str]) -> WrongUsage:
    """There is no command `name` among the `names` of the group `path`."""
    hint = did_you_mean(name, names) if name != "help" else ""
    return WrongUsage(path, f"there is no command {name!r}", hint or f"{path} --help")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint with the choice that was probably meant, or an empty one."""
    choices = list(choices)
    synonym = SYNONYMS.get(word.lower(), word.lower())
    longer = [choice for choice in choices if choice.startswith(word)]
    near = (
        [synonym] if synonym in choices else longer if len(longer) == 1 else get_close_matches(word, choices, 1, ALIKE)
    )
    return f"did you mean {near[0]}?" if near else ""


def label(parameter: Any) -> str:
    """What a parameter is called on the command line: its long flag, or the word for an argument."""
    if parameter is None:
        return "nlpseq"
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))
