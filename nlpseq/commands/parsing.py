"""Classes of commands: they parse the text of a flag into its value, and lay out the help in sections.

From version 0.26 Typer's own parsing imports pydantic and builds a validator for each flag, which takes a tenth of a
second. `ValueParser` replaces it. Older versions of Typer do not call it and do their own parsing.
"""

from __future__ import annotations

import typing
from collections import Counter
from typing import Any, Literal

from typer.core import TyperCommand, TyperGroup

from nlpseq.commands import output
from nlpseq.commands.usage import UsageError, did_you_mean, explained, label, no_command
from nlpseq.errors import OptionError

LABEL_WIDTH = 34  # characters: the widest left column of the help
UNCUT = 10_000  # characters: no sentence is that long


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
        try:
            converted = kind(value)
        except ValueError:
            name = {int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
            raise OptionError(label(param), f"must be {name}, was {value!r}") from None
        if param.min is not None and converted < param.min:
            raise OptionError(label(param), f"must be at least {param.min}, was {value}")
        return converted

    def _choose(self, choices: tuple[str, ...], value: str, param: Any) -> str:
        if value in choices:
            return value
        what = f"must be one of {', '.join(choices)}, was {value!r}"
        raise OptionError(label(param), what, did_you_mean(value, choices))


class ParsesValues:
    """A command or group that parses its flags and arguments with ValueParser; it precedes Typer's base class."""

    def get_params(self, ctx: Any) -> Any:
        """Its flags and arguments, `--help` among them."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if hasattr(parameter, "get_runtime_param"):
                parameter.get_runtime_param = ValueParser
        return parameters

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the command line. Raises WrongUsage, or OptionError if a flag is repeated that takes one value."""
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)  # type: ignore[misc]
        except UsageError as error:
            if ctx.resilient_parsing:
                raise
            raise explained(error, ctx) from None
        if not ctx.resilient_parsing:
            self._refuse_repeats(ctx, given)
        return rest

    def _refuse_repeats(self, ctx: Any, args: list[str]) -> None:
        parser = self.make_parser(ctx)  # type: ignore[attr-defined]
        _, _, order = parser.parse_args(args=args)
        for parameter, count in Counter(order).items():
            single = parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag)
            if single and count > 1:
                raise OptionError(
                    label(parameter), f"takes one value, was set {count} times", f"{ctx.command_path} --help"
                )


class Group(ParsesValues, TyperGroup):
    """A group of commands, each with the first sentence of its help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names. Raises WrongUsage if no command has that name."""
        names = self.list_commands(ctx)
        if args[0] not in names and not ctx.resilient_parsing:
            raise no_command(args[0], ctx.command_path, names)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands; a long sentence is wrapped, not cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section(output.heading("Commands")):
            formatter.write_dl([(name, found.get_short_help_str(UNCUT)) for name, found in commands.items() if found])


class Command(ParsesValues, TyperCommand):
    """A command whose help shows its flags under headings, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the command's own flags, then one section for each options dataclass."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            section = getattr(parameter, "rich_help_panel", None)
            if parameter.param_type_name == "argument":
                section, record = section or "Arguments", (parameter.metavar, parameter.help)
            sections.setdefault(section or "Options", []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(output.heading(heading)):
                    formatter.write_dl(records, col_max=LABEL_WIDTH)
