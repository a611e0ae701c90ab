"""Classes of commands: they parse the text of a flag into its value, and lay out the help in sections.

From version 0.26 Typer's own parsing imports pydantic and builds a validator for each flag, which takes a tenth of a
second. `ValueParser` replaces it. Older versions of Typer do not call it and do their own parsing.
"""

from __future__ import annotations

import typing
from difflib import get_close_matches
from typing import Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from nlpseq.commands import output

SYNONYMS = {"gpu": "cuda"}  # other words for a choice
LABEL_WIDTH = 34  # characters: the widest left column of the help


class ValueParser:
    """Parses the text of a flag or an argument as the type of its annotation."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a flag or an argument. Raises typer.BadParameter if its text is not a valid value."""
        if param.multiple or param.nargs == -1:
            (kind,) = typing.get_args(param.type_descriptor.annotation)
            return tuple(self._parse(kind, item, param, ctx) for item in value or ())
        return None if value is None else self._parse(param.type_descriptor.annotation, value, param, ctx)

    def _parse(self, kind: Any, value: Any, param: Any, ctx: Any) -> Any:
        if typing.get_origin(kind) is Literal:
            return self._choose(typing.get_args(kind), value, param, ctx)
        try:
            converted = kind(value)
        except ValueError:
            name = {int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
            raise typer.BadParameter(f"{value!r} is not {name}", ctx=ctx, param=param) from None
        if param.min is not None and converted < param.min:
            raise typer.BadParameter(f"must be at least {param.min}, was {value}", ctx=ctx, param=param)
        return converted

    def _choose(self, choices: tuple[str, ...], value: str, param: Any, ctx: Any) -> str:
        if value in choices:
            return value
        synonym = SYNONYMS.get(value.lower(), value.lower())
        near = [synonym] if synonym in choices else get_close_matches(value, choices, 1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}{suggestion}", ctx=ctx, param=param)


class ParsesValues:
    """A command or group that parses its flags and arguments with ValueParser; it precedes Typer's base class."""

    def get_params(self, ctx: Any) -> Any:
        """Its flags and arguments, `--help` among them."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if hasattr(parameter, "get_runtime_param"):
                parameter.get_runtime_param = ValueParser
        return parameters


class Group(ParsesValues, TyperGroup):
    """A group of commands."""


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
