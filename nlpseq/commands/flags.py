"""Flags of commands: a field of an options dataclass is a flag, its help, its default and its allowed values.

A command is a function. A parameter whose type is an options dataclass is replaced by the dataclass' fields, which
become flags under a heading with the parameter's name; Typer handles all other parameters. A long help shows the
fields that are marked as usual, and the other parameters; a parameter annotated with RARE is left out:

    @command(app)
    def lm(corpus: Corpora = None, *, model: LanguageModelOptions, training: TrainingOptions) -> None:

The dataclass checks the values, on the command line as in a program. Flags that several commands share are the aliases
below, so that each is spelled the same and means the same everywhere. parsing.py turns a flag's text into a value and
lays out the help.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nlpseq import tasks
from nlpseq.commands.parsing import Command, Group
from nlpseq.commands.settings.declared import Without as Without
from nlpseq.commands.settings.declared import declare
from nlpseq.commands.settings.defaults import CONFIG, naming_places
from nlpseq.errors import OptionError
from nlpseq.options import flag
from nlpseq.text.display import quoted

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


def _model(*usual: tasks.Task, more: str = "", by: str = "") -> Any:
    """The flag of the model to run; `usual` are the tasks whose model is the default, and `by` says which of them."""
    bundled = ", ".join(task.bundled for task in tasks.TASKS.values())
    default = ", ".join(f"{task.folder} or else {task.bundled}" for task in usual)
    help = f"Run folder, model file, or else a bundled model: {bundled}{more}. [default: {default}{by}]"
    return typer.Option("--model", "-m", metavar="PATH", help=help)


ModelPath = Annotated[Path | None, _model(tasks.LANGUAGE_MODEL)]
ClassifierPath = Annotated[Path | None, _model(tasks.CLASSIFIER)]
ModelPaths = Annotated[list[Path] | None, _model(tasks.TRANSLATOR, more="; repeat it for models that work together")]
ModelOrDefault = Annotated[Path | None, _model(*tasks.TASKS.values(), by="; by the other options")]
AnyModel = Annotated[Path | None, _model(tasks.CLASSIFIER, by="; or what was trained here")]
ScoringModel = Annotated[Path | None, _model(tasks.LANGUAGE_MODEL, tasks.TRANSLATOR, by=" with --source")]
Device = Annotated[
    Literal["cpu", "cuda"],
    typer.Option(help="Compute on the processor or on a GPU; a GPU is for many texts at once, and imports torch."),
]
Precision = Annotated[
    Literal["fp32", "bf16", "int8"],
    typer.Option(help="Type of the model's matrices; bf16 halves the memory that each token reads, int8 quarters it."),
]
Corpora = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CORPUS", help="Text files and folders, as train lm reads them, bundled corpora, or hf:NAME[:CONFIG]."
    ),
]

Take = Annotated[
    int | None, typer.Option("--take", metavar="N", min=1, help="Read only the first N lines, or rows, of each corpus.")
]
PairColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="SOURCE,TARGET",
        help="A table's columns, keys or languages, by name or number. [default: by header, else the first two]",
    ),
]

SourceFile = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="Source texts, one for each line.")]
TargetFile = Annotated[Path | None, typer.Option("--target", metavar="FILE", help="Their targets, line by line.")]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", metavar="NAME", help="The label's column, by name or number. [default: by header]"),
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="The text's column, by name or number. [default: by header]"),
]
LabelSeparator = Annotated[
    str | None,
    typer.Option(
        "--label-separator", metavar="TEXT", help="Characters between the labels of a text, which may have any number."
    ),
]

Function = Callable[..., Any]
RARE = "rare"  # in `Annotated[int, typer.Option(), RARE]`: a flag that only --help-all shows if the help is long
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Take the options that are not set here from a file in TOML."),
    RARE,
]
Like = Annotated[
    Path | None,
    typer.Option("--like", metavar="RUN", help="Repeat the options of a run; those that are set here replace its own."),
    RARE,
]
CONTEXT = "context_of_command"  # the parameter in which Typer passes the parsed command line


def read_columns(text: str | None) -> tuple[str, str] | None:
    """The two names of a PairColumns flag. Raises OptionError unless there are two."""
    if text is None:
        return None
    first, comma, second = text.partition(",")
    if not (first and comma and second) or "," in second:
        raise OptionError(
            "--columns", f"must be two names or numbers with a comma between them, was {quoted(text)}", "--columns 1,2"
        )
    return first, second


def two_files(source: Path | None, target: Path | None) -> tuple[str, str] | None:
    """The names of a SourceFile and a TargetFile, or None without them. Raises OptionError if only one is given."""
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
    """Make a function a command of `app`; see the module's docstring."""

    def register(function: Function) -> Function:
        made = expanded(function)
        kind: Any = functools.partial(Command, usual=_usual(made), declared=declare(function))
        app.command(name, cls=kind, context_settings=SETTINGS)(made)
        return function

    return register


def _usual(function: Function) -> frozenset[str]:
    """The names of the parameters that a long help shows."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(
        parameter.name for parameter in parameters if RARE not in typing.get_args(parameter.annotation)[1:]
    )


def expanded(function: Function) -> Function:
    """The function with each options dataclass among its parameters replaced by one parameter for each field."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    classes: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        kind = hints[parameter.name]
        options, *marks = typing.get_args(kind) if typing.get_origin(kind) is Annotated else (kind,)
        if dataclasses.is_dataclass(options):
            classes[parameter.name] = options
            left_out = {mark.field for mark in marks if isinstance(mark, Without)}
            fields = [field for field in _field_parameters(options, parameter.name) if field.name not in left_out]
            parameters += [_rare(field) for field in fields] if RARE in marks else fields
        else:
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def run(**values: Any) -> Any:
        with naming_places(values[CONTEXT]):
            for name, kind in classes.items():
                values[name] = _built(kind, values)
            values.pop(CONTEXT)
            values.pop(CONFIG, None)
            _check_settings()
            return function(**values)

    if classes or "model" in hints:
        parameters.append(
            inspect.Parameter(CONFIG, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigFile)
        )
    parameters.append(inspect.Parameter(CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _built(kind: Any, values: dict[str, Any]) -> Any:
    """An options dataclass, and those nested in it, built from the flags' values, which are removed from `values`."""
    types = typing.get_type_hints(kind)
    fields = {}
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(types[field.name]):
            fields[field.name] = _built(types[field.name], values)
        elif field.name == "given":
            fields["given"] = _given(values[CONTEXT])
        elif field.name in values:
            value = values.pop(field.name)
            fields[field.name] = tuple(value or ()) if types[field.name] == tuple[str, ...] else value
    return kind(**fields)


def _given(context: Any) -> frozenset[str]:
    """The names of the options that were set: on the command line, by a variable or by a file."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    set_ones = (name for name, source in sources.items() if source is not None and source.name != "DEFAULT")
    return frozenset(
        name for name in set_ones if context.params[name] not in ((), None)
    )  # an argument without values is not set


def _check_settings() -> None:
    """Raises BackendError if the environment asks for instructions that this machine does not have."""
    if os.environ.get("NLPSEQ_INSTRUCTIONS"):
        from nlpseq.native import extension

        extension.kind()


def _field_parameters(options: Any, name: str) -> list[inspect.Parameter]:
    """One keyword parameter for each field of a dataclass made with `nlpseq.options.option`, nested ones included.

    A dataclass with nested ones is a command's own request: its fields have no heading.
    """
    types = typing.get_type_hints(options)
    nests = any(map(dataclasses.is_dataclass, types.values()))
    heading = None if nests else name.replace("_", " ").capitalize()
    parameters = []
    for field in dataclasses.fields(options):
        kind = types[field.name]
        if dataclasses.is_dataclass(kind):
            parameters += _field_parameters(kind, field.name)
        elif field.metadata:
            parameters.append(_field_parameter(field, kind, heading))
    return parameters


def _field_parameter(field: Any, kind: Any, heading: str | None) -> inspect.Parameter:
    """A field's keyword parameter, annotated for Typer."""
    choices, help, default = field.metadata["choices"], _sentence(field.metadata["help"]), field.default
    if kind == tuple[str, ...]:
        kind, default = list[str] | None, None
    if field.metadata["argument"]:
        shown: Any = typer.Argument(metavar=field.metadata["metavar"], help=help)
    else:
        names = (flag(field.name),) if field.metadata["switch"] else ()
        shown = typer.Option(
            *names,
            help=help,
            show_default=default is not False and "[default" not in help,
            hidden=field.metadata["hidden"],
            rich_help_panel=heading,
            metavar=field.metadata["metavar"] or (None if choices else _metavar(kind)),
        )
    annotation: Any = Annotated[Literal[choices] if choices else kind, shown]
    made = inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    return made if field.metadata["usual"] else _rare(made)


def _rare(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter that a long help leaves out."""
    return parameter.replace(annotation=Annotated[parameter.annotation, RARE])


def _sentence(help: str) -> str:
    """A field's help as a sentence for its flag."""
    text, bracket, default = help.partition(" [default")
    first = text[0] if text.split()[0].endswith(":") else text[0].upper()
    return f"{first}{text[1:]}.{bracket}{default}"


def _metavar(kind: Any) -> str | None:
    names: dict[Any, str] = {int: "N", float: "X", str: "NAMES"}
    return next((names[member] for member in typing.get_args(kind) or (kind,) if member in names), None)
