"""Options dataclasses as flags: one field is a flag, its help, its default and what values make sense.

A command is a function. Parameters of its own are Typer's; a parameter whose type is an options dataclass
stands for all fields of it, which become flags under a heading of the parameter's name:

    @command(app)
    def lm(corpus: Corpora = None, *, model: LanguageModelOptions, training: TrainingOptions) -> None:

A value that makes no sense is found by the dataclass itself, on the command line as in a program. The flags
that several commands share are the aliases below, so that a flag means the same and is spelled the same
everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import typing
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from nlpseq.commands import output
from nlpseq.errors import OptionError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
ModelPath = Annotated[Path, typer.Option("--model", "-m", metavar="PATH", help="Run folder or model file.")]
ModelPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="PATH",
        help="Run folder or model file; more than once: models that work together. [default: checkpoints/translation]",
    ),
]
ModelOrDefault = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        metavar="PATH",
        help="Run folder or model file. [default: checkpoints/lm, translation or sentiment, by what else is given]",
    ),
]
Device = Annotated[
    Literal["cpu", "cuda"],
    typer.Option(help="Compute on the processor, or on a GPU, which is for many texts at once and imports torch."),
]
RandomSeed = Annotated[
    int | None, typer.Option("--random-seed", metavar="N", min=0, help="Draw the same again. [default: by chance]")
]
Precision = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="Numbers of the model's matrices; bf16 halves what each token of a text has to read."),
]
Corpora = Annotated[
    list[str] | None,
    typer.Argument(metavar="CORPUS", help="Text files (.gz and .xz too), bundled corpora, or hf:NAME[:CONFIG]."),
]

PairColumns = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="SOURCE,TARGET", help="A table's columns, keys or languages. [default: the first two]"
    ),
]

JsonLines = Annotated[
    bool, typer.Option("--jsonl", help="Objects in, the line under `text`; objects out, fields added.")
]

SourceFile = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="Source texts, one a line.")]
TargetFile = Annotated[Path | None, typer.Option("--target", metavar="FILE", help="Their targets, in step.")]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", metavar="NAME", help="The label's column, by name or number. [default: by header]"),
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="The text's column, by name or number. [default: by header]"),
]

LANGUAGE_MODEL = Path("checkpoints/lm")
SENTIMENT = Path("checkpoints/sentiment")
TRANSLATION = Path("checkpoints/translation")

Function = Callable[..., Any]


def read_columns(text: str | None) -> tuple[str, str] | None:
    """The two names of a PairColumns flag. Raises OptionError where there are not two."""
    if text is None:
        return None
    first, comma, second = text.partition(",")
    if not (first and comma and second) or "," in second:
        raise OptionError("--columns", f"must be two names with a comma between them, was {text!r}", "--columns en,de")
    return first, second


def two_files(source: Path | None, target: Path | None) -> tuple[str, str] | None:
    """The names of a SourceFile and a TargetFile, or None for neither. Raises OptionError for one alone."""
    if (source is None) != (target is None):
        raise OptionError("--source and --target", "go together", "--source FILE --target FILE")
    return None if source is None else (str(source), str(target))


def application(help: str) -> typer.Typer:
    """A group of commands, or a single one, without rich and without a traceback of its own."""
    return typer.Typer(
        cls=Group,
        help=help,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=SETTINGS,
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
        _check_settings()
        return function(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _check_settings() -> None:
    """Raises BackendError where the environment asks for what this machine cannot do, before anything is begun."""
    if os.environ.get("NLPSEQ_INSTRUCTIONS"):
        from nlpseq.native import extension

        extension.kind()


def _field_parameters(options: Any, heading: str) -> list[inspect.Parameter]:
    """One keyword parameter for each field of a dataclass made with `nlpseq.options.option`."""
    types = typing.get_type_hints(options)
    parameters = []
    for field in dataclasses.fields(options):
        choices = field.metadata["choices"]
        shown = typer.Option(
            help=_sentence(field.metadata["help"]),
            show_default=field.default is not False and "[default" not in field.metadata["help"],
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
    first = text[0] if text.split()[0].endswith(":") else text[0].upper()
    return f"{first}{text[1:]}.{bracket}{default}"


def _metavar(kind: Any) -> str | None:
    for one in typing.get_args(kind) or (kind,):
        if one in (int, float, str):
            return {int: "N", float: "X", str: "NAMES"}[one]
    return None


class PlainValue:
    """Turns a flag's text into its value.

    It stands in for Typer's own way, which from 0.26 on imports pydantic and builds a validator for each flag:
    a tenth of a second for a few numbers. Older versions, which do not ask for it, are left alone.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a flag or an argument; typer.BadParameter where the text does not spell one."""
        if param.multiple or param.nargs == -1:
            (kind,) = typing.get_args(param.type_descriptor.annotation)
            return tuple(self._one(kind, one, param, ctx) for one in value or ())
        return None if value is None else self._one(param.type_descriptor.annotation, value, param, ctx)

    def _one(self, kind: Any, value: Any, param: Any, ctx: Any) -> Any:
        if typing.get_origin(kind) is Literal:
            return self._choice(typing.get_args(kind), value, param, ctx)
        try:
            converted = kind(value)
        except ValueError:
            name = {int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
            raise typer.BadParameter(f"{value!r} is not {name}", ctx=ctx, param=param) from None
        least = param.min
        if least is not None and converted < least:
            raise typer.BadParameter(f"must be at least {least}, was {value}", ctx=ctx, param=param)
        return converted

    def _choice(self, choices: tuple[str, ...], value: str, param: Any, ctx: Any) -> str:
        if value not in choices:
            same = SAME.get(value.lower(), value.lower())
            near = [same] if same in choices else get_close_matches(value, choices, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}{meant}", ctx=ctx, param=param)
        return value


SAME = {"gpu": "cuda"}  # words for a choice that are spelled otherwise


class PlainValues:
    """A command or group, mixed in before Typer's class, whose flags and arguments are read by PlainValue."""

    def get_params(self, ctx: Any) -> Any:
        """Its flags and arguments, that for help among them."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if hasattr(parameter, "get_runtime_param"):
                parameter.get_runtime_param = PlainValue
        return parameters


class Group(PlainValues, TyperGroup):
    """A group of commands."""


class Command(PlainValues, TyperCommand):
    """A command whose help shows its flags under headings, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, the command's own flags, then one section for each options dataclass."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            usual = "Options"
            if parameter.param_type_name == "argument":
                usual, record = "Arguments", (parameter.metavar, parameter.help)
            heading = getattr(parameter, "rich_help_panel", None) or usual
            sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(output.heading(heading)):
                    formatter.write_dl(records, col_max=34)
