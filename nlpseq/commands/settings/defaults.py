"""The values that a command takes if the command line does not set them: from variables, a run file, another run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nlpseq.commands import output
from nlpseq.commands.settings.declared import Declared
from nlpseq.commands.settings.layers import Layer, Value, merged, placed, without_corpus
from nlpseq.commands.settings.variables import misspelled, read_variables
from nlpseq.errors import NlpseqError, OptionError
from nlpseq.options import flag

CONFIG, LIKE = "config", "like"  # the parameters that name a run file and a run
KEY = "nlpseq.defaults"  # in the context of a command: its Layer


def set_defaults(context: Any, command: Declared, given: Mapping[str, Any]) -> None:
    """Give the parser of a command its defaults; `given` are the texts of the command line by parameter.

    Raises ConfigError, OptionError or RunError for what cannot be.
    """
    variables = read_variables(command)
    file: Layer = {}
    if CONFIG in given:
        from nlpseq.commands.settings.config_file import read_config

        if not str(given[CONFIG]):
            raise OptionError(CONFIG, "must be a path, was empty")
        file = read_config(Path(given[CONFIG]), command, f"{context.command_path} --help-all")
    run = given.get(LIKE) or (file[LIKE].value if LIKE in file else None)
    layers = [variables, file]
    if run is not None:
        layers.append(_run_layer(context, command, str(run), {*given, *file}))
    values = merged(given, layers)
    context.default_map = {name: value.value for name, value in values.items()}
    context.meta[KEY] = values
    quiet = "quiet" in given or ("quiet" in values and values["quiet"].value)
    if run is not None:
        _note_parts(Path(str(run)), quiet=quiet)
    for name, meant in misspelled().items():
        output.note(f"note: the variable {name} is not known: {meant} is", quiet=quiet)


def _run_layer(context: Any, command: Declared, run: str, named: Collection[str]) -> Layer:
    if "resume" in named:
        what = "exclude each other: the first starts a run, the second continues one"
        raise OptionError("like and resume", what, "leave out --resume, or --like")
    from nlpseq.commands.settings.run_options import read_run

    return without_corpus(read_run(Path(run), str(context.info_name), command), named)


def _note_parts(run: Path, *, quiet: bool) -> None:
    """Say that the options of a run which was trained on in parts do not repeat it."""
    from nlpseq.training.run_list import find_run, read_config

    if read_config(find_run(run, "--like")).get("continued"):
        output.note(f"note: {run} was trained on with --resume: its options do not make the same model", quiet=quiet)


def set_arguments(context: Any, command: Declared, given: Collection[str]) -> None:
    """Set the arguments that take several values: the parser takes no values for a value, not for a default."""
    values: Layer = context.meta.get(KEY, {})
    for name in values.keys() - set(given):
        setting = command.settings[name]
        if setting.many and context.params.get(name) in ((), [], None):
            context.params[name] = tuple(map(setting.kind, values[name].value))


@contextmanager
def naming_places(context: Any) -> Iterator[None]:
    """Inside, an error about an option names the file or variable that set it, or the flag that turned it off."""
    values: Mapping[str, Value] = context.meta.get(KEY, {})
    try:
        yield
    except NlpseqError as error:
        told = placed(_as_turned_off(error, context), values)
        if told is error:
            raise
        raise told from error


def _as_turned_off(error: NlpseqError, context: Any) -> NlpseqError:
    """An error about an option that the command line turned off, with `--no-OPTION` as its place."""
    source = context.get_parameter_source(error.where)
    if not isinstance(error, OptionError) or source is None or source.name != "COMMANDLINE":
        return error
    if context.params.get(error.where) is not False:
        return error
    return OptionError(flag(error.where).replace("--", "--no-", 1), error.what, error.hint)
