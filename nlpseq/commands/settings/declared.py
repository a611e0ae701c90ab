"""What a command declares: its options, the keys and the tables of a run file that set them, and their values.

A table is called like the parameter of the command that an options dataclass fills, or like the dataclass: `[training]`
or `[LanguageModelTraining]`. A flag that belongs to no dataclass is a key above the first table. Every command that is
imported is in `COMMANDS`, so that a file may serve several of them.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union

from nlpseq.commands.help.usage import did_you_mean

TOP = ""  # the name of the table above the first one
LARGEST = 2**63  # no option is a number as large as that
LONGEST_SHOWN = 60  # characters of a value in a message
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}

Keys = dict[str, "Setting | None"]  # by key; None for a field of the dataclass that the command leaves out


class Without(NamedTuple):
    """In `Annotated[Options, Without("n_best")]`: a field of an options dataclass that is no option of the command."""

    field: str


class WrongValue(ValueError):
    """A value that an option cannot have: what is wrong, and a hint."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True)
class Setting:
    """An option of a command: the parameter's name, its key and its table, and the values that it takes."""

    name: str
    key: str  # as its flag is spelled, with underscores
    table: str
    kind: Any  # bool, int, float, str or Path
    choices: tuple[str, ...] = ()
    many: bool = False
    minimum: float | None = None

    @property
    def place(self) -> str:
        """The key as it is named in messages."""
        return f"[{self.table}] {self.key}" if self.table else self.key

    def read(self, value: Any) -> Any:
        """The value of a run file for the command line's parser. Raises WrongValue if it is not of the right type."""
        if self.many:
            return [self._read_one(item) for item in (value if isinstance(value, list) else [value])]
        return self._read_one(value)

    def _read_one(self, value: Any) -> Any:
        if self.choices and value not in self.choices:
            what = f"must be one of {', '.join(self.choices)}, was {spelled(value)}"
            raise WrongValue(what, did_you_mean(str(value), self.choices))
        if not _is_of(self.kind, value):
            raise WrongValue(f"must be {KINDS.get(self.kind, 'a text')}, was {spelled(value)}", self._nearest(value))
        if self.minimum is not None and value < self.minimum:
            raise WrongValue(f"must be at least {self.minimum:g}, was {spelled(value)}")
        return float(value) if self.kind is float else value

    def _nearest(self, value: Any) -> str:
        """A hint with the value that was probably meant, or an empty one."""
        if isinstance(value, str) and self.kind is bool and value.lower() in ("true", "false"):
            return f"{self.key} = {value.lower()}"
        if isinstance(value, str) and self.kind in (int, float):
            try:
                return f"{self.key} = {self.kind(value)}"
            except ValueError:
                return ""
        if isinstance(value, float) and self.kind is int and value.is_integer():
            return f"{self.key} = {value:.0f}"
        if isinstance(value, int) and not isinstance(value, bool) and self.kind in (str, Path):
            return f'{self.key} = "{value}"'
        return ""


def _is_of(kind: Any, value: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and abs(value) < LARGEST
    if kind is float:
        small = not isinstance(value, int) or abs(value) < LARGEST
        return isinstance(value, int | float) and small and math.isfinite(value)
    return isinstance(value, str) and "\0" not in value


def spelled(value: Any) -> str:
    """A value of a run file in a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= LARGEST:
        return "a number of more than 18 digits"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value.isoformat()}"
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "..."


@dataclass(frozen=True)
class Declared:
    """The options of a command, and the tables that set them."""

    settings: dict[str, Setting] = field(default_factory=dict)  # by the parameter's name
    tables: dict[str, Keys] = field(default_factory=lambda: {TOP: {}})  # of two names for a table, the last one counts
    classes: dict[str, str] = field(default_factory=dict)  # the dataclass of a table that is called like a parameter

    def add(self, setting: Setting) -> None:
        """Add an option, in its table."""
        self.settings[setting.name] = setting
        self.tables[setting.table][setting.key] = setting

    def add_options(self, options: Any, name: str, left_out: frozenset[str] = frozenset()) -> None:
        """Add the fields of an options dataclass.

        Those of a command's own dataclass, which nests others or has an argument, are keys above the first table.
        """
        types = typing.get_type_hints(options)
        nested = {item.name for item in dataclasses.fields(options) if dataclasses.is_dataclass(types[item.name])}
        own = bool(nested) or any(item.metadata.get("argument") for item in dataclasses.fields(options))
        table = TOP if own else name
        keys = self.tables.setdefault(table, {})
        for item in dataclasses.fields(options):
            if item.name in nested:
                self.add_options(types[item.name], item.name, left_out)
            elif item.name in left_out:
                keys[item.name] = None
            elif item.metadata:
                kind, many = plain_kind(types[item.name])
                self.add(Setting(item.name, item.name, table, kind, item.metadata["choices"] or (), many))
        classes = [base for base in reversed(options.__mro__) if hasattr(base, "__dataclass_fields__")]
        names = [str(base.__name__) for base in classes if base is options or not own]
        self.tables.update(dict.fromkeys(names, keys))
        self.classes[table] = str(options.__name__)

    def add_parameter(self, name: str, kind: Any) -> None:
        """Add a parameter that Typer handles, with the annotation `kind`, if it is a flag or an argument."""
        if typing.get_origin(kind) is not Annotated:
            return
        kind, mark = typing.get_args(kind)[:2]
        flags = [part for text in mark.param_decls or () for part in text.split("/") if part.startswith("--")]
        key = flags[0].removeprefix("--").replace("-", "_") if flags else name
        plain, many = plain_kind(kind)
        choices = typing.get_args(plain) if typing.get_origin(plain) is Literal else ()
        self.add(Setting(name, key, TOP, str if choices else plain, choices, many, mark.min))

    def named(self) -> Iterator[tuple[str, Keys]]:
        """The tables, the one above the first table left out."""
        return ((name, keys) for name, keys in self.tables.items() if name != TOP)

    def home(self, key: str) -> str:
        """The name of the table that a key belongs in, or an empty one."""
        return next((name for name, keys in self.named() if key in keys), "")


def plain_kind(kind: Any) -> tuple[Any, bool]:
    """The type of a value, and whether there are several: `list[Path] | None` is (Path, True)."""
    if typing.get_origin(kind) in (UnionType, Union):
        kind = next(member for member in typing.get_args(kind) if member is not type(None))
    many = typing.get_origin(kind) in (list, tuple)
    return (typing.get_args(kind)[0] if many else kind), many


COMMANDS: list[Declared] = []  # of every command that is imported


def declare(function: Callable[..., Any]) -> Declared:
    """What a command's function declares, which is added to COMMANDS."""
    found = Declared()
    for name, kind in typing.get_type_hints(function, include_extras=True).items():
        options, *marks = typing.get_args(kind) if typing.get_origin(kind) is Annotated else (kind,)
        if dataclasses.is_dataclass(options):
            found.add_options(options, name, frozenset(mark.field for mark in marks if isinstance(mark, Without)))
        elif name != "return":
            found.add_parameter(name, kind)
    COMMANDS.append(found)
    return found
