"""The program's commands, arguments and options, as the pages and their tests need them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer

from nlpseq.commands.cli import app
from nlpseq.commands.help.page import entries

DEFAULT = re.compile(r"\s*\[default: (.*)\]$", re.DOTALL)

OWN = ("--version", "--help", "--help-all", "--install-completion", "--show-completion")  # flags of the program itself


class Option(NamedTuple):
    """An option or argument: heading of its group, spelling, what it does, and its default in words."""

    heading: str
    spelling: str
    help: str
    default: str


class Verb(NamedTuple):
    """A command: its words, how it is called, what it does, and its options."""

    name: str
    usage: str
    help: str
    options: list[Option]
    command: Any


def verbs() -> Iterator[Verb]:
    """Every command that can be run, in the order of the help pages."""
    yield from _walk(typer.main.get_command(app), "nlpseq", None)


def _walk(command: Any, name: str, parent: Any) -> Iterator[Verb]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    if hasattr(command, "list_commands"):
        for word in command.list_commands(context):
            yield from _walk(command.get_command(context, word), f"{name} {word}", None)
        return
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    help = inspect.cleandoc(command.help or "")
    yield Verb(name, usage, help, list(_options(command, context)), command)


def _options(command: Any, context: Any) -> Iterator[Option]:
    for entry in entries(command, context):
        if entry.name not in ("help", "help_all"):
            default = DEFAULT.search(entry.text)
            yield Option(entry.heading, entry.spelling, DEFAULT.sub("", entry.text), default[1] if default else "")


def flags() -> set[str]:
    """Every flag that some command knows."""
    found = set(OWN)
    for verb in verbs():
        for parameter in verb.command.params:
            found.update(parameter.opts)
            found.update(parameter.secondary_opts)
    return found


def parse(words: list[str]) -> None:
    """Parse the words of one command of `nlpseq`, without running it.

    Raises what Typer, or the program's own parser, raises for wrong usage.
    """
    command, context = typer.main.get_command(app), None
    name, rest = words[0], words[1:]
    if rest and rest[0] in OWN:  # such a flag would do its work while it is parsed
        return
    while hasattr(command, "list_commands") and rest and not rest[0].startswith("-"):
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
        name, rest = rest[0], rest[1:]
        found = command.get_command(context, name)
        if found is None:
            raise typer.BadParameter(f"there is no command {name!r}", ctx=context)
        command = found
    try:
        command.make_context(name, list(rest), parent=context)
    except typer.Exit:
        return
