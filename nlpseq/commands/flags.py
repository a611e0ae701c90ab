"""Options dataclasses as flags: one field is a flag, its help, its default and what values make sense.

A command is a function. Parameters of its own are Typer's; a parameter whose type is an options dataclass stands for all
fields of it, which become flags under a heading of the parameter's name:

    @command(app)
    def lm(corpus: Corpora = None, *, model: LanguageModelOptions, training: TrainingOptions) -> None:

A value that makes no sense is found by the dataclass itself, on the command line as in a program. The flags that several
commands share are the aliases below, so that a flag means the same and is spelled the same everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from nlpseq.commands import output

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
ModelPath = Annotated[Path, typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file.")]
RandomSeed = Annotated[int, typer.Option("--random-seed", metavar="N", min=0, help="Seed of what is drawn by chance.")]
Corpora = Annotated[
    list[str] | None,
    typer.Argument(metavar="CORPUS", help="Text files (.gz and .xz too), bundled corpora, or hf:NAME[:CONFIG]."),
]

LANGUAGE_MODEL = Path("checkpoints/lm")

Function = Callable[..., Any]


def application(help: str) -> typer.Typer:
    """A group of commands, or a single one, without rich and without a traceback of its own."""
    return typer.Typer(
        help=help,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=SETTINGS,
        no_args_is_help=True,
    )


def command(app: typer.Typer, name: str | None = None) -> Callable[[Function], Function]:
    """Make a command of `app` of a function; see the module's docstring."""

    def register(function: Function) -> Function:
        app.command(name, cls=Command, context_settings=SETTINGS)(expanded(function))
        return function

    return register


def expanded(function: Function) -> Function:
    """The function with every parameter that is an options dataclass replaced by one parameter a field."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    classes: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind):
            classes[parameter.name] = kind
            parameters += _field_parameters(kind, parameter.name.replace("_", " ").capitalize())
        else:
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def run(**values: Any) -> Any:
        for name, kind in classes.items():
            fields = [field.name for field in dataclasses.fields(kind)]
            values[name] = kind(**{field: values.pop(field) for field in fields})
        return function(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _field_parameters(options: Any, heading: str) -> list[inspect.Parameter]:
    """One keyword parameter for each field of a dataclass made with `nlpseq.options.option`."""
    types = typing.get_type_hints(options)
    parameters = []
    for field in dataclasses.fields(options):
        choices = field.metadata["choices"]
        shown = typer.Option(
            help=_sentence(field.metadata["help"]),
            hidden=field.metadata["hidden"],
            rich_help_panel=heading,
            metavar=None if choices else _metavar(types[field.name]),
        )
        kind = Annotated[Literal[choices] if choices else types[field.name], shown]  # type: ignore[valid-type]
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kind)
        )
    return parameters


def _sentence(help: str) -> str:
    """A field's help as the sentence that a flag shows."""
    text, bracket, default = help.partition(" [default")
    return f"{text[0].upper()}{text[1:]}.{bracket}{default}"


def _metavar(kind: Any) -> str | None:
    for one in typing.get_args(kind) or (kind,):
        if one in (int, float):
            return "N" if one is int else "X"
    return None


class Command(TyperCommand):
    """A command whose help shows its flags under headings, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, the command's own flags, then one section for each options dataclass."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            heading = getattr(parameter, "rich_help_panel", None) or usual
            sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(output.heading(heading)):
                    formatter.write_dl(records, col_max=34)
