"""`--config FILE`: the options of a command from a file in TOML.

One file may serve several commands. What belongs to another command is skipped; what belongs to none is refused, with
the name that was probably meant. A key above the first table, such as `device`, also counts for a command that has this
option in a table. Values have TOML's types: a text is no number, and 1.5 is no whole number.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from nlpseq.commands.help.usage import ALIKE, did_you_mean
from nlpseq.commands.settings import declared
from nlpseq.commands.settings.declared import TOP, Declared, Keys, WrongValue, spelled
from nlpseq.commands.settings.layers import Layer, Value
from nlpseq.errors import ConfigError

LARGEST_FILE = 1_000_000  # bytes


def read_config(path: Path, command: Declared, help: str) -> Layer:
    """The values that a file sets for a command; `help` is a hint for a key that resembles none.

    Raises ConfigError if the file cannot be read, or says what cannot be.
    """
    tables, top = _split(path, parse(path))
    reader = _Reader(path, command, help)
    values = reader.read_table(TOP, command.tables[TOP], top)
    for name in tables.keys() - command.tables.keys():
        reader.refuse_unknown_table(name)
    for name, keys in command.named():
        if name in tables:
            values |= reader.read_table(name, keys, tables[name])
    return values


def parse(path: Path) -> dict[str, Any]:
    """The contents of a file in TOML. Raises ConfigError if it cannot be read."""
    where = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(where, "no such file", _neighbour(path)) from None
    except IsADirectoryError:
        files = sorted(path.glob("*.toml"))
        raise ConfigError(where, "is a folder, not a file", f"--config {files[0]}" if files else "") from None
    except (OSError, ValueError) as error:
        raise ConfigError(where, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > LARGEST_FILE:
        raise ConfigError(where, f"is no run file: it has more than {LARGEST_FILE:,} bytes")
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        raise ConfigError(where, "is no text in UTF-8, and a run file is one") from None
    except (ValueError, RecursionError) as error:
        what = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(where, f"is not valid TOML: {what[:1].lower()}{what[1:]}", _quoted(what)) from None


def _neighbour(path: Path) -> str:
    """A hint at a file with a similar name, or an empty one."""
    try:
        names = [found.name for found in path.absolute().parent.iterdir()]
    except (OSError, ValueError):
        return ""
    near = get_close_matches(path.name, names, 1, ALIKE)
    return f"did you mean {path.with_name(near[0])}?" if near else ""


def _quoted(what: str) -> str:
    return 'a text has quotes: cell = "gru"' if what.startswith("Invalid value") else ""


def _split(path: Path, contents: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The tables of a file, and the keys above the first one. Raises ConfigError for a table in a table."""
    tables = {name: value for name, value in contents.items() if isinstance(value, dict)}
    for name, table in tables.items():
        for key, value in table.items():
            if isinstance(value, dict):
                raise ConfigError(str(path), f"[{name}.{key}] is a table in a table, and a run file has none")
    return tables, {name: value for name, value in contents.items() if name not in tables}


def cli_commands() -> list[str]:
    """The names of all commands."""
    from nlpseq.commands import cli  # which imports this file

    return list(cli.COMMANDS)


class _Reader:
    """Reads the tables of one file for one command."""

    def __init__(self, path: Path, command: Declared, help: str) -> None:
        self.path = path
        self.command = command
        self.help = help

    def read_table(self, table: str, keys: Keys, contents: Mapping[str, Any]) -> Layer:
        """The values of a table. Raises ConfigError for an unknown key, or a value of the wrong type."""
        values: Layer = {}
        for written, value in contents.items():
            key = written.replace("-", "_")
            place = f"[{table}] {key}" if table else key
            if key not in keys and (table or not self._is_elsewhere(key)):
                self._refuse_unknown_key(table, key, keys, value)
            home = keys if key in keys else self.command.tables[self.command.home(key)]
            setting = home.get(key)
            if setting is None:  # an option that this command does not have and another has
                continue
            if setting.name in values:
                raise ConfigError(str(self.path), f"{place} is set twice, as {key} and {key.replace('_', '-')}")
            try:
                values[setting.name] = Value(setting.read(value), str(self.path), place)
            except WrongValue as wrong:
                raise ConfigError(str(self.path), f"{place} {wrong}", wrong.hint or self.help) from None
        return values

    def refuse_unknown_table(self, name: str) -> None:
        """Raises ConfigError for a table of no command."""
        if setting := self.command.tables[TOP].get(name.replace("-", "_")):
            try:
                setting.read({})
            except WrongValue as wrong:
                if name not in self._other_tables():
                    raise ConfigError(str(self.path), f"{name} {wrong}", self.help) from None
        if name in cli_commands():
            what = f"[{name}] is no table: the options of a command itself are keys above the first table"
            raise ConfigError(str(self.path), what, self.help)
        if name not in self._other_tables():
            hint = did_you_mean(name, [own for own, _ in self.command.named()])
            names = ", ".join(f"[{own}]" for own in self.command.classes if own)
            what = f"[{name}] is a table of no command" + (f": this one has {names}" if names else "")
            raise ConfigError(str(self.path), what, hint or did_you_mean(name, self._other_tables()) or self.help)

    def _refuse_unknown_key(self, table: str, key: str, keys: Keys, value: Any) -> None:
        if not table and any(key == name for name, _ in self.command.named()):
            raise ConfigError(str(self.path), f"{key} must be a table, was {spelled(value)}", f"[{key}]")
        where, place = str(self.path), f"[{table}] {key}" if table else key
        if home := self.command.home(key):
            raise ConfigError(where, f"{place} is a key of the table [{home}]", f"write [{home}] above {key}")
        hint = did_you_mean(key, [name for name, setting in keys.items() if setting])
        other = "" if hint else self._other_table(table, key)
        if other:
            what = f"{place} is no option of {self.help.removesuffix(' --help-all')}"
            raise ConfigError(where, what, f"[{other}] is for the command that has it")
        known = "key" if table else "key above the first table"
        raise ConfigError(where, f"{place} is no {known} of a run file", hint or self.help)

    def _others(self) -> list[Declared]:
        for name in cli_commands():
            import_module(f"nlpseq.commands.{name}")
        return declared.COMMANDS

    def _other_tables(self) -> list[str]:
        return sorted({name for other in self._others() for name, _ in other.named()})

    def _is_elsewhere(self, key: str) -> bool:
        """Whether a key above the first table is a flag of another command."""
        return any(key in other.tables[TOP] for other in self._others())

    def _other_table(self, table: str, key: str) -> str:
        """The dataclass of another command's table of the same name that has a key, or an empty name."""
        owners = (other for other in self._others() if key in other.tables.get(table, {}) and table in other.classes)
        return next((other.classes[table] for other in owners), "")
