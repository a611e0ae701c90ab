"""Wrong usage of a command in our own words: `WHERE: WHAT` and a hint, whichever version of Typer found the fault."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from nlpseq.errors import NlpseqError
from nlpseq.tasks import TASKS
from nlpseq.text.display import quoted
from nlpseq.text.lines import has_unread

UsageError: Any = typer.BadParameter.__base__  # Typer carries Click's under a private name

FILTERS = ("translate", "classify", "score", "embed", "nearest", "encode", "decode", "check")
SYNONYMS = {  # other words for a choice
    "gpu": "cuda",
    "half": "fp16",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float": "fp32",
    "float32": "fp32",
    "character": "char",
    "characters": "char",
    "words": "word",
    "subword": "bpe",
    "bytes": "byte",
    **{task.name: task.command for task in TASKS.values()},
}

ALIKE = 0.75  # how alike two words are of which the one is meant by the other; 1: equal


class WrongUsage(NlpseqError):
    """A command line that does not fit the command; `where` is the command."""

    exit_status = 2


def explained(error: Any, context: Any, args: Sequence[str] = ()) -> WrongUsage:
    """A fault that Typer found in the arguments of the command of `context`."""
    path = context.command_path if context else "nlpseq"
    option: Any = getattr(error, "option_name", None)
    help = f"{path} --help"
    if hasattr(error, "possibilities"):
        return _corrected(option, args, context) or _no_option(option, context, error.possibilities or (), args)
    if option is not None:
        takes_none = "does not take" in error.message
        return WrongUsage(path, f"{option} {'takes no value' if takes_none else 'needs a value'}", help)
    if hasattr(error, "param_type"):
        if label(error.param) == "CORPUS" and has_unread():
            from nlpseq.commands.help.arguments import input_line

            help = input_line(path, args)
        return WrongUsage(path, f"{label(error.param)} is missing", help)
    if isinstance(error, typer.BadParameter):
        return WrongUsage(label(error.param), error.message, help)
    extra = re.search(r"unexpected extra argument.* \((.+)\)$", error.message)
    if extra:
        if path == "nlpseq generate":
            from nlpseq.commands.help.arguments import seed_line

            help = seed_line(args, context)
        elif _takes_model(context) and Path(extra[1]).exists():
            help = f"{path} -m {shlex.quote(extra[1])}"
        return WrongUsage(path, f"unexpected argument {extra[1]}", help)
    if error.message == "Missing command.":
        names = ", ".join(context.command.list_commands(context))
        return WrongUsage(path, f"a command is missing: one of {names}", help)
    return WrongUsage(path, error.message, help)


def _takes_model(context: Any) -> bool:
    return context is not None and any("--model" in parameter.opts for parameter in context.command.params)


def check_dashes(args: Sequence[str], context: Any) -> None:
    """Raises WrongUsage for a known name with a single dash, as `-model`, which would be read as `-m odel`."""
    is_group = hasattr(context.command, "list_commands")
    for arg in args:
        if arg == "--" or (is_group and not arg.startswith("-")):
            return
        if arg.startswith("-") and arg[1:3].isalpha() and len(arg) > 2:
            fault = _corrected(arg.partition("=")[0], args, context)
            if fault is not None:
                raise fault


def _corrected(option: str, args: Sequence[str], context: Any) -> WrongUsage | None:
    """What to say of an option that is a guess of the table."""
    from nlpseq.commands.help.corrections import correct_option

    correction = correct_option(option, args, context) if context else None
    if correction is None:
        return None
    return WrongUsage(context.command_path, f"there is no option {option}: {correction.words}", correction.line)


def _no_option(option: str, context: Any, possibilities: Iterable[str], args: Sequence[str]) -> WrongUsage:
    from nlpseq.commands.help.page import is_whole

    path = context.command_path if context else "nlpseq"
    if path == "nlpseq train":
        from nlpseq.commands.help.arguments import training_line

        if line := training_line(args):
            return WrongUsage(path, f"there is no option {option} before the task", line)
    texts = (arg for arg in args if arg.startswith(option) and " " in arg.partition("=")[0])
    text = next(texts, None) if path.split()[-1] in FILTERS else None
    as_text = "" if text is None else f"{path} -- {shlex.quote(text)}"
    help = f"{path} --help" if context is None or is_whole(context.command, context) else f"{path} --help-all"
    hint = did_you_mean(option, possibilities) or as_text or help
    return WrongUsage(path, f"there is no option {option}", hint)


def no_command(context: Any, names: Iterable[str], args: Sequence[str]) -> WrongUsage:
    """There is no command `args[0]` among the `names` of the group of `context`."""
    from nlpseq.commands.help.corrections import correct_command

    path, what = context.command_path, f"there is no command {quoted(args[0])}"
    correction = correct_command(args, context)
    if correction is not None:
        return WrongUsage(path, f"{what}: {correction.words}", correction.line)
    if path == "nlpseq train":
        from nlpseq.commands.help.arguments import training_line

        if line := training_line(args):
            return WrongUsage(path, f"{what}, and a corpus comes after one", line)
    return WrongUsage(path, what, did_you_mean(args[0], names) or f"{path} --help")


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
