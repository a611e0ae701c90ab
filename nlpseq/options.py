"""One dataclass field is a flag, its help text, its default, an attribute and a key of the model file.

Options live in frozen dataclasses beside the code that reads them, and the command line is made from their fields. So
no default and no range is written twice. The cost is that a help text has to fit in one line.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import typing
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from nlpseq.errors import OptionError

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    hidden: bool = False,
    metavar: str | None = None,
    argument: bool = False,
    switch: bool = False,
    usual: bool = False,
) -> Any:
    """A field of an options dataclass: its default, one line of help, and its allowed values.

    `metavar` is shown for the value. An `argument` has no flag; a `switch` can only be turned on. A long help shows the
    options that are `usual`, and --help-all shows all.
    """
    limits = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    shown = {"help": help, "hidden": hidden, "metavar": metavar, "usual": usual or argument}
    kind = {"argument": argument, "switch": switch}
    return dataclasses.field(default=default, metadata={"choices": choices, "limits": limits, **shown, **kind})


def flag(name: str) -> str:
    """The flag of a field: `hidden_size` -> `--hidden-size`."""
    return "--" + name.replace("_", "-")


def as_flags(where: str) -> str:
    """Parameter names as flags: `steps and minutes` -> `--steps and --minutes`; any other text is unchanged."""
    names = where.split(" and ")
    return " and ".join(map(flag, names)) if all(map(_is_parameter, names)) else where


def _is_parameter(name: str) -> bool:
    return name.isidentifier() and name == name.lower()


def check(options: Any) -> None:
    """Compare every field with its type, choices and limits.

    Raises OptionError for the first field whose value is not allowed; the message says which values are.
    """
    types = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if "limits" not in field.metadata or (value is None and NoneType in typing.get_args(types[field.name])):
            continue
        if choices := field.metadata["choices"]:
            check_choice(field.name, value, choices)
        _check_kind(field.name, value, types[field.name])
        _check_limits(field.name, value, field.metadata["limits"])


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raises OptionError for a value that is not among the choices, with the one that was probably meant."""
    if value not in choices:
        what = f"must be one of {', '.join(choices)}, was {value!r}"
        raise OptionError(name, what, _did_you_mean(str(value), choices))


def refuse_unknown(names: Iterable[str], known: Collection[str], owner: str, hint: str) -> None:
    """Raises OptionError for the first name that is no option of `owner`; `hint` is for one that resembles none."""
    for name in names:
        if name not in known:
            raise OptionError(name, f"is no option of {owner}", _did_you_mean(name, known) or hint)


def _did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint with the choice most like a word, or an empty one."""
    near = get_close_matches(word, list(choices), 1)
    return f"did you mean {near[0]}?" if near else ""


def _check_kind(name: str, value: Any, kind: Any) -> None:
    """Raises OptionError if a value does not have the type of its field."""
    members = typing.get_args(kind) if isinstance(kind, UnionType) else (kind,)
    kinds = [member for member in members if member in KINDS]
    allowed = tuple(kinds) + ((int,) if float in kinds else ())
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds)
    if kinds and wrong:
        raise OptionError(name, f"must be {' or '.join(KINDS[member] for member in kinds)}, was {value!r}")


def _check_limits(name: str, value: Any, limits: dict[str, float | None]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise OptionError(name, f"must be a finite number, was {value}")
    rules = (
        ("minimum", "at least", operator.ge),
        ("maximum", "at most", operator.le),
        ("above", "above", operator.gt),
        ("below", "below", operator.lt),
    )
    for rule, words, holds in rules:
        limit = limits[rule]
        if limit is not None and not holds(value, limit):
            raise OptionError(name, f"must be {words} {limit:g}, was {value}", _as_fraction(name, value, limit))


def _as_fraction(name: str, value: float, limit: float) -> str:
    """A hint with a fraction if its limit is 1 and the value looks like a percentage, or an empty one."""
    return f"{flag(name)} {value / 100:g}" if limit == 1 and 5 <= value <= 100 else ""
