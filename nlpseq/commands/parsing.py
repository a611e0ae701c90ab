"""Classes of commands: they parse the text of a flag into its value, and answer --help and --help-all.

Typer's own parsing imports pydantic and builds a validator for each flag, which takes a tenth of a second.
`ValueParser` replaces it.
"""

from __future__ import annotations

import copy
import re
import typing
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from nlpseq.commands.help.page import HELP_ALL, UNCUT, Row, page
from nlpseq.commands.help.usage import UsageError, check_dashes, did_you_mean, explained, label, no_command
from nlpseq.commands.settings.declared import Declared
from nlpseq.commands.settings.defaults import set_arguments, set_defaults
from nlpseq.errors import OptionError
from nlpseq.text.display import quoted

WHOLE = re.compile(r"([+-]?\d+)(?:\.(\d*))?[eE]\+?(\d{1,2})")  # 1e3, 1.5e3


def whole_number(text: str) -> int:
    """The whole number of a text such as 1000, 1_000, 1e3 or 1.5e3. Raises ValueError for other texts."""
    match = WHOLE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return int(text)
    digits, decimals, zeros = match[1], match[2] or "", int(match[3]) - len(match[2] or "")
    if zeros < 0:
        raise ValueError(text)
    return int(digits + decimals + "0" * zeros)


class ValueParser:
    """Parses the text of a flag or an argument as the type of its annotation."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a flag or an argument. Raises OptionError if its text is not a valid value."""
        if param.multiple or param.nargs == -1:
            (kind,) = typing.get_args(param.type_descriptor.annotation)
            return tuple(self._parse(kind, item, param) for item in value or ())
        return None if value is None else self._parse(param.type_descriptor.annotation, value, param)

    def _parse(self, kind: Any, value: Any, param: Any) -> Any:
        if typing.get_origin(kind) is Literal:
            return self._choose(typing.get_args(kind), value, param)
        if kind is Path and value == "":
            raise OptionError(label(param), "must be a path, was empty")
        try:
            converted = whole_number(value) if kind is int else kind(value)
        except ValueError:
            name = {int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
            raise OptionError(label(param), f"must be {name}, was {quoted(value)}") from None
        if param.min is not None and converted < param.min:
            raise OptionError(label(param), f"must be at least {param.min}, was {value}")
        if param.max is not None and converted > param.max:
            raise OptionError(label(param), f"must be at most {param.max}, was {value}", f"{label(param)} {param.max}")
        return converted

    def _choose(self, choices: tuple[str, ...], value: str, param: Any) -> str:
        if value in choices:
            return value
        what = f"must be one of {', '.join(choices)}, was {quoted(value)}"
        raise OptionError(label(param), what, did_you_mean(value, choices))


class ParsesValues:
    """A command or group that parses its flags and arguments with ValueParser; it precedes Typer's base class."""

    usual: Collection[str] = ()  # the names of the options that a long help shows
    _help_all: Any = None

    def get_params(self, ctx: Any) -> Any:
        """Its flags and arguments, `--help` and `--help-all` among them."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if hasattr(parameter, "get_runtime_param"):
                parameter.get_runtime_param = ValueParser
        return [*parameters, self._help_all_option(parameters[-1])]

    def _help_all_option(self, help_option: Any) -> Any:
        """The flag `--help-all`, always the same object, as the order of processing requires."""
        if self._help_all is None:
            self._help_all = copy.copy(help_option)
            self._help_all.name, self._help_all.opts = HELP_ALL, ["--help-all"]
            self._help_all.help, self._help_all.callback = "Show every option and exit.", _show_everything
        return self._help_all

    def get_help(self, ctx: Any) -> str:
        """The help for this terminal: whole if it fits on a screen and a half, else the usual options."""
        return page(self, ctx, everything=False)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the command line. Raises WrongUsage, or OptionError if a flag is repeated that takes one value."""
        given = list(args)
        try:
            if not ctx.resilient_parsing:
                check_dashes(given, ctx)
            rest = super().parse_args(ctx, args)  # type: ignore[misc]
        except UsageError as error:
            if ctx.resilient_parsing:
                raise
            raise explained(error, ctx, given) from None
        if not ctx.resilient_parsing:
            self._refuse_repeats(ctx, given)
            if "corpus" in ctx.params:
                from nlpseq.commands.help.arguments import check_corpora

                check_corpora(given, ctx)
        return rest

    def _refuse_repeats(self, ctx: Any, args: list[str]) -> None:
        parser = self.make_parser(ctx)  # type: ignore[attr-defined]
        _, _, order = parser.parse_args(args=list(args))
        for parameter, count in Counter(order).items():
            single = parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag)
            if single and count > 1:
                raise OptionError(
                    label(parameter), f"takes one value, was set {count} times", f"{ctx.command_path} --help"
                )


def _show_everything(ctx: Any, param: Any, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        typer.echo(page(ctx.command, ctx, everything=True))
        ctx.exit()


class Group(ParsesValues, TyperGroup):
    """A group of commands, each with the first sentence of its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the command line; without a command the help is shown, and `help COMMAND` is `COMMAND --help`."""
        if args[:1] == ["help"] and "help" not in self.list_commands(ctx):
            args = [*args[1:], "--help"]
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names. Raises WrongUsage if no command has that name."""
        names = self.list_commands(ctx)
        if args[0] not in names and not ctx.resilient_parsing:
            raise no_command(ctx, names, args)
        return super().resolve_command(ctx, args)

    def command_rows(self, ctx: Any) -> list[Row]:
        """The commands, each with a sentence."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return [(name, found.get_short_help_str(UNCUT)) for name, found in commands.items() if found]


class Command(ParsesValues, TyperCommand):
    """A command; `usual` names the options that its help shows if it is long, `declared` all that files may set."""

    def __init__(
        self, *args: Any, usual: Collection[str] = (), declared: Declared | None = None, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.usual = usual
        self.declared = declared

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the command line; what it does not set is taken from variables and files."""
        given = None if ctx.resilient_parsing else self._given(ctx, args)
        if self.declared is None or given is None:
            return super().parse_args(ctx, args)
        set_defaults(ctx, self.declared, given)
        rest = super().parse_args(ctx, args)
        set_arguments(ctx, self.declared, given)
        return rest

    def _given(self, ctx: Any, args: list[str]) -> dict[str, Any] | None:
        """The texts of what the command line sets, by parameter; None if it is wrong, or asks for help."""
        try:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        except UsageError:
            return None
        if any(parameter.is_eager for parameter in order):
            return None
        texts = {parameter.name: values.get(parameter.name) for parameter in order}
        return {
            name: text
            for name, text in texts.items()
            if isinstance(text, str | bool | int | list | tuple) and text != ()
        }
