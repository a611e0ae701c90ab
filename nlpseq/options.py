"""One dataclass field is a flag, its help text, its default, an attribute and a key of the model file.

Options live in frozen dataclasses beside what they steer; the command line is made from their fields, so there is no
second place where a default or a range could disagree. The cost is that a help text has to say all in one line.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

from nlpseq.errors import OptionError


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
) -> Any:
    """A field of an options dataclass: its default, one line of help, and what values make sense."""
    limits = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    return dataclasses.field(
        default=default, metadata={"help": help, "choices": choices, "limits": limits, "hidden": hidden}
    )


def flag(name: str) -> str:
    """The flag of a field: `hidden_size` -> `--hidden-size`."""
    return "--" + name.replace("_", "-")


def check(options: Any) -> None:
    """Hold every field against its choices and limits.

    Raises OptionError for the first value that makes no sense, with what would.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value is None or "limits" not in field.metadata:
            continue
        choices = field.metadata["choices"]
        if choices and value not in choices:
            raise OptionError(flag(field.name), f"must be one of {', '.join(choices)}, was {value!r}")
        _check_limits(flag(field.name), value, field.metadata["limits"])


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
            raise OptionError(name, f"must be {words} {limit:g}, was {value}")
