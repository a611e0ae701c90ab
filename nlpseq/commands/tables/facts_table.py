"""The facts of a model file on a screen: a heading for each section, and a line for each fact.

Lines have at most WIDTH characters as far as that is possible; longer values go on in the next lines.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from nlpseq.commands.output import printable
from nlpseq.commands.tables.score_table import INDENT, WIDTH, score_lines
from nlpseq.evaluation.scores import Score
from nlpseq.text.display import quoted

TYPED = ("options", "training")  # sections whose values can be typed after a flag
BUDGETS = ("epochs", "steps", "minutes")  # a run has one of them
OF_LABELS = ("label", "text", "separator")  # what the columns of labelled texts are, if they have a separator
UNSET = {  # by option: the words for a value that was left open
    "batch_size": "by batch_tokens",
    "columns": "by header",
    "learning_rate": "by optimiser",
    "minutes": "5 (default)",
    "ngram_buckets": "no n-grams",
    "save_every": "each 30 s",
    "validations": "by budget",
    "weight_decay": "by optimiser",
}


def facts_lines(facts: Mapping[str, Any]) -> list[str]:
    """The lines of `nlpseq.insight.facts.model_facts`."""
    lines: list[str] = []
    for section, value in facts.items():
        lines += ["", section] if lines else [section]
        if section == "scores":
            lines += score_lines([Score(**score) for score in value], INDENT) if value else []
        elif section == "tensors":
            lines += _rows({name: " x ".join(map(str, shape)) for name, shape in value.items()})
        else:
            number = "" if section in TYPED else ","
            lines += _rows({name: _spelled(name, fact, number) for name, fact in _chosen(value).items()})
    return lines


def _chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """The facts, without the budgets that a run did not have."""
    unused = [name for name in BUDGETS if name in values and values[name] is None]
    if len(unused) == len(BUDGETS):
        unused.remove("minutes")
    return {name: value for name, value in values.items() if name not in unused}


def _rows(values: Mapping[str, str]) -> list[str]:
    """A line for each name and value, or more if the value is long."""
    width = len(INDENT) + max(map(len, values), default=0) + 2
    if any(width + len(value) == WIDTH + 1 for value in values.values()):  # a hash just fills the line
        width -= 1
    lines = []
    for name, value in values.items():
        start, others = (INDENT + name).ljust(width), " " * width
        lines += textwrap.wrap(
            value, WIDTH, initial_indent=start, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
        ) or [start.rstrip()]
    return lines


def _spelled(name: str, value: Any, number: str) -> str:
    """A value in words; `number` is the format of whole numbers."""
    if value is None or (isinstance(value, list) and value and not any(item is not None for item in value)):
        return UNSET.get(name, "not set")
    if name == "columns" and len(value) == len(OF_LABELS):
        *columns, separator = ["by header" if item is None else item for item in value]
        return ", ".join(map(" ".join, zip(OF_LABELS, [*columns, quoted(separator)], strict=True)))
    if isinstance(value, list):
        return ", ".join(_spelled(name, item, number) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_spelled(key, item, number)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return format(value, number) if is_number else printable(str(value))
