"""A wrong flag or command corrected: what it is called here, and the whole command line to type instead.

The table of guesses is imported when something is wrong, so that no other command pays for it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from nlpseq.commands.help.guesses import ARGUMENT, COMMANDS, FLAGS, LEAVE_OUT, READ, WRITE
from nlpseq.commands.help.page import choices_of

SWITCH_VALUES = ("true", "false", "yes", "no", "on", "off", "auto", "all", "none")  # dropped after a switch


class Correction(NamedTuple):
    """What to use, in words, and the command line with it."""

    words: str
    line: str


def correct_option(option: str, args: Sequence[str], context: Any) -> Correction | None:
    """What a wrong option among the arguments of a command is called; None if it is no guess of the table."""
    place = next((index for index, arg in enumerate(args) if arg == option or arg.startswith(f"{option}=")), None)
    if place is None:
        return None
    name = option.lstrip("-")
    key = name if len(name) == 1 else name.lower().replace("_", "-")
    typed = _Typed(context, list(args), place)
    for answer in (f"--{key}", *FLAGS.get(key, ())):
        if correction := typed.replaced_by(answer):
            return correction
    return None


class _Typed:
    """A command line with a wrong option at one place."""

    def __init__(self, context: Any, args: list[str], place: int) -> None:
        self.path, parameters = context.command_path, context.command.get_params(context)
        self.flags = {flag: parameter for parameter in parameters for flag in parameter.opts}
        self.arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
        self.before, (option, *after) = args[:place], args[place:]
        _, equals, attached = option.partition("=")
        self.attached = bool(equals)
        self.value: str | None = attached if equals else None
        self.after = after
        if not equals and after and not after[0].startswith("-"):
            self.value, self.after = after[0], after[1:]

    def replaced_by(self, answer: str) -> Correction | None:
        """The command line with an answer of the table for the option; None if the command has no such thing."""
        flag, _, fixed = answer.partition(" ")
        if flag.startswith("--"):
            parameter = self.flags.get(flag)
            return None if parameter is None else self._with_flag(flag, fixed, parameter)
        if answer == LEAVE_OUT:
            return Correction("leave it out", self._line([], keeps_value=not self._is_switch_value()))
        if answer == ARGUMENT:
            return self._as_argument()
        if answer == READ:
            from nlpseq.commands.help.usage import FILTERS

            return self._redirected(READ) if self.path.split()[-1] in FILTERS else None
        if answer == WRITE:
            return self._redirected(WRITE)
        if answer.endswith("="):
            setting = f"{answer}{shlex.quote(self.value or 'N')}"
            return Correction(f"use {answer}N before the command", f"{setting} {self._line([])}")
        return Correction(f"use {answer}", answer)

    def _with_flag(self, flag: str, fixed: str, parameter: Any) -> Correction | None:
        if self._has(parameter):
            return Correction(f"use {flag}", self._line([]))
        if parameter.is_flag:
            return Correction(f"use {flag}", self._line([flag], keeps_value=not self._is_switch_value()))
        choices = choices_of(parameter)
        if not fixed:
            value = self.value if self.value is not None else parameter.metavar or (choices or ["VALUE"])[0]
            return Correction(f"use {flag}", self._line([flag, value]))
        if choices and fixed not in choices:
            return None
        is_open, fixed = not fixed.startswith("="), fixed.removeprefix("=")
        fits = (
            is_open
            and self.value is not None
            and (self.value in choices or (_is_number(fixed) and _is_number(self.value)))
        )
        used = self.value if fits and self.value is not None else fixed
        keeps_value = not fits and not self._is_switch_value()
        return Correction(f"use {flag} {used}", self._line([flag, used], keeps_value=keeps_value))

    def _has(self, parameter: Any) -> bool:
        """Whether the line has an option already that may be set only once."""
        if parameter.multiple:
            return False
        return any(_spells(arg, flag) for arg in (*self.before, *self.after) for flag in _spellings(parameter))

    def _as_argument(self) -> Correction | None:
        """The value without a flag, if the command has an argument."""
        if not self.arguments:
            return None
        shown = str(self.arguments[0].metavar).strip("[]")
        return Correction(f"name {shown} without an option", self._line([self.value or shown]))

    def _redirected(self, sign: str) -> Correction:
        file = shlex.quote(self.value or "FILE")
        return Correction(f"use {sign} FILE", f"{self._line([])} {sign} {file}")

    def _is_switch_value(self) -> bool:
        """Whether the value only says that the option is on or off, or which of several devices it is."""
        value = self.value or ""
        return self.attached or _is_number(value) or value.lower() in SWITCH_VALUES

    def _line(self, middle: list[str], *, keeps_value: bool = False) -> str:
        kept = [self.value] if keeps_value and self.value is not None else []
        return " ".join([self.path, *map(shlex.quote, [*self.before, *middle, *kept, *self.after])])


def _spellings(parameter: Any) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def _spells(arg: str, flag: str) -> bool:
    """Whether an argument is a flag, or a flag and its value, as `--out=here` or `-n5`."""
    is_short = len(flag) == 2 and arg.startswith(flag)
    return arg == flag or arg.startswith(f"{flag}=") or is_short


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def correct_command(args: Sequence[str], context: Any) -> Correction | None:
    """What the wrong command that is the first argument of a group is called; None if it is no guess of the table."""
    name, *rest = args
    for answer in COMMANDS.get(context.command_path, {}).get(name.lower(), ()):
        if answer.startswith("-"):
            return Correction(f"use {answer}", f"{context.command_path} {answer}")
        if _is_command(answer.split(), context):
            return Correction(f"use {answer}", " ".join([context.command_path, answer, *map(shlex.quote, rest)]))
    return None


def _is_command(words: Sequence[str], context: Any) -> bool:
    group = context.command
    for index, word in enumerate(words):
        if word not in group.list_commands(context):
            return False
        if index < len(words) - 1:
            group = group.get_command(context, word)
    return True
